"""The baselines: PyTorch in four modes and, for inference, ONNX Runtime and OpenVINO.

Their libraries are imported when a contestant is made.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field

from minialex.benchmarking.contestant import Contestant
from minialex.benchmarking.tasks import Task
from minialex.errors import MiniAlexError

OURS = "minialex"

TORCH_MODES = {
    "torch": (False, False),
    "torch_channels_last": (True, False),
    "torch_compile": (False, True),
    "torch_compile_channels_last": (True, True),
}
"""PyTorch's modes, each with whether it is in channels_last and whether it is compiled."""

INFERENCE_ONLY = ("onnxruntime", "openvino")

_PACKAGES = dict.fromkeys(TORCH_MODES, ("torch",)) | {
    OURS: ("numba",),
    "onnxruntime": ("onnxruntime", "onnx"),
    "openvino": ("openvino", "onnx"),
}


@dataclass(frozen=True)
class Baselines:
    """Who takes part beside MiniAlex, and who cannot."""

    names: list[str]
    # For those that are not installed, where none was asked for by name: why not.
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def absences(self) -> list[dict]:
        """The rows of a result for those that are not installed."""
        return [
            {"contestant": name, "status": "absent", "reason": reason} for name, reason in self.absent.items()
        ]


def baselines_of(training: bool, device: str = "cpu") -> list[str]:
    """Every baseline for training or for inference on a device.

    On ``cuda-host`` there is none: no other library executes CUDA kernels on a processor.
    """
    if device == "cuda-host":
        return []
    return [*TORCH_MODES, *(() if training or device == "cuda" else INFERENCE_ONLY)]


def choose_baselines(wanted: str | None, training: bool, device: str = "cpu") -> Baselines:
    """Read a comma-separated list of baselines.

    Parameters
    ----------
    wanted : str or None
        Names of `baselines_of`; ``"torch"`` stands for its four modes, ``"torch_eager"`` for the first
        of them, ``"none"`` for nobody. None takes whatever is installed.
    training : bool
    device : str

    Raises
    ------
    MiniAlexError
        If a name is unknown, or a baseline that was asked for is not installed.
    """
    known = baselines_of(training, device)
    if wanted is None:
        reasons = {name: missing_package(name, device) for name in known}
        absent = {name: reason for name, reason in reasons.items() if reason}
        return Baselines([name for name in known if name not in absent], absent)
    names: list[str] = []
    for name in (part.strip() for part in wanted.split(",")):
        if name == "none":
            continue
        modes = {"torch": list(TORCH_MODES), "torch_eager": ["torch"]}.get(name, [name])
        if not set(modes) <= set(known):
            what = f"{'training' if training else 'inference'}{'' if device == 'cpu' else f' on {device}'}"
            there = f"torch (its four modes), torch_eager, {', '.join(known[1:])}, " if known else ""
            raise MiniAlexError(f"baseline {name!r} is unknown for {what}; there are: {there}none")
        names += [mode for mode in modes if mode not in names]
    for name in names:
        if reason := missing_package(name, device):
            raise MiniAlexError(f"baseline {name!r} cannot take part: {reason}")
    return Baselines(names)


def missing_package(name: str, device: str = "cpu") -> str | None:
    """Which package a baseline lacks, and how to install it; None if it has what it needs."""
    missing = [package for package in _PACKAGES[name] if importlib.util.find_spec(package) is None]
    if missing:
        return f"{' and '.join(missing)} not installed; pip install 'minialex[bench]'"
    if device != "cuda":
        return None
    import torch

    return None if torch.cuda.is_available() else f"PyTorch {torch.__version__} cannot use a GPU"


def make_contestant(name: str, task: Task, threads: int) -> Contestant:
    """Prepare MiniAlex or a baseline for a task."""
    if name == OURS:
        from minialex.benchmarking.ours import make

        return make(task, threads)
    if name in TORCH_MODES:
        from minialex.benchmarking.torch_baseline import TorchInference, TorchTraining

        channels_last, compiled = TORCH_MODES[name]
        kind = TorchTraining if task.training else TorchInference
        return kind(task, threads, channels_last=channels_last, compiled=compiled)
    from minialex.benchmarking.inference_baselines import OnnxRuntime, OpenVino

    return {"onnxruntime": OnnxRuntime, "openvino": OpenVino}[name](task, threads)


def packages_of(name: str) -> tuple[str, ...]:
    """The packages that a contestant needs."""
    return _PACKAGES.get(name, ())
