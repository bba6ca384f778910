"""Who takes part: MiniAlex, PyTorch in four modes and, for inference, ONNX Runtime and OpenVINO."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np

from minialex.benchmarking.tasks import Task
from minialex.errors import MiniAlexError

OURS = "minialex"

TORCH_MODES = {
    "torch": (False, False),
    "torch_channels_last": (True, False),
    "torch_compile": (False, True),
    "torch_compile_channels_last": (True, True),
}
"""PyTorch's contestants, each with whether it is in channels_last and whether it is compiled."""

INFERENCE_PEERS = ("onnxruntime", "openvino")

_PACKAGES = dict.fromkeys(TORCH_MODES, ("torch",)) | {
    "onnxruntime": ("onnxruntime", "onnx"),
    "openvino": ("openvino", "onnx"),
}


class Contestant(ABC):
    """One library, ready to do a task."""

    @abstractmethod
    def results(self) -> list[np.ndarray]:
        """What the task computes, for the comparison with the truth, float32.

        For training the loss, then the gradient of each parameter in the order of ours, of a step
        without dropout that changes no parameter; for inference the logits.
        """

    @abstractmethod
    def run(self) -> object:
        """Do the task once, in full: what is timed. Dropout is on in training."""

    def forward(self) -> object:
        """Compute the output, keeping what a backward pass needs."""
        raise NotImplementedError(f"{type(self).__name__} has no passes of its own")

    def forward_and_backward(self) -> None:
        """The same, then the gradients of parameters and images, with the output as upstream gradient."""
        raise NotImplementedError(f"{type(self).__name__} has no passes of its own")


class Absent(MiniAlexError):
    """A contestant cannot take part; the message says why."""


def peers_of(training: bool, device: str = "cpu") -> list[str]:
    """Every peer that there is for training or for inference on a device.

    On ``cuda-host`` there is none: no other library executes CUDA kernels on a processor.
    """
    if device == "cuda-host":
        return []
    return [*TORCH_MODES, *(() if training or device == "cuda" else INFERENCE_PEERS)]


def choose_peers(wanted: str | None, training: bool, device: str = "cpu") -> tuple[list[str], dict[str, str]]:
    """Read a comma-separated list of peers.

    Parameters
    ----------
    wanted : str or None
        Names of `peers_of`; ``"torch"`` stands for its four modes, ``"torch_eager"`` for the first
        alone, ``"none"`` for nobody. None takes whoever is installed.
    training : bool
    device : str

    Returns
    -------
    names : list of str
    absent : dict of str
        For those that are not installed, where none was asked for by name: why not.

    Raises
    ------
    MiniAlexError
        If a name is unknown, or a peer that was asked for is not installed.
    """
    known = peers_of(training, device)
    if wanted is None:
        reasons = {name: missing_package(name, device) for name in known}
        absent = {name: reason for name, reason in reasons.items() if reason}
        return [name for name in known if name not in absent], absent
    names: list[str] = []
    for name in (part.strip() for part in wanted.split(",")):
        if name == "none":
            continue
        modes = {"torch": list(TORCH_MODES), "torch_eager": ["torch"]}.get(name, [name])
        if not set(modes) <= set(known):
            what = f"{'training' if training else 'inference'}{'' if device == 'cpu' else f' on {device}'}"
            there = f"torch (its four modes), torch_eager, {', '.join(known[1:])}, " if known else ""
            raise MiniAlexError(f"peer {name!r} is unknown for {what}; there are: {there}none")
        names += [mode for mode in modes if mode not in names]
    for name in names:
        reason = missing_package(name, device)
        if reason:
            raise MiniAlexError(f"peer {name!r} cannot take part: {reason}")
    return names, {}


def missing_package(name: str, device: str = "cpu") -> str | None:
    """Which package a peer lacks, and how to install it; None if it has what it needs."""
    missing = [package for package in _PACKAGES[name] if importlib.util.find_spec(package) is None]
    if not missing and device == "cuda":
        import torch

        return None if torch.cuda.is_available() else f"PyTorch {torch.__version__} cannot use a GPU"
    if not missing:
        return None
    return f"{' and '.join(missing)} not installed; pip install 'minialex[bench]'"


def make_contestant(name: str, task: Task, threads: int) -> Contestant:
    """Build a contestant, its libraries imported only now."""
    if name == OURS:
        from minialex.benchmarking.ours import make

        return make(task, threads)
    if name in TORCH_MODES:
        from minialex.benchmarking.torch_peer import TorchInference, TorchTraining

        channels_last, compiled = TORCH_MODES[name]
        kind = TorchTraining if task.training else TorchInference
        return kind(task, threads, channels_last=channels_last, compiled=compiled)
    from minialex.benchmarking.inference_peers import OnnxRuntime, OpenVino

    return {"onnxruntime": OnnxRuntime, "openvino": OpenVino}[name](task, threads)


def packages_of(names: Iterable[str]) -> set[str]:
    """The packages that some peers need."""
    return {package for name in names for package in _PACKAGES.get(name, ())}
