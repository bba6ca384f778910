"""The datasheets of some GPUs: what their manufacturer says they can do at best.

FLOP/s count a multiply-add as two. Those of tensor cores are for dense matrices; on Hopper and on the B200
only instructions of those architectures (wgmma, tcgen05) reach them, not the ``mma`` that runs on all.
"""

from __future__ import annotations

from dataclasses import dataclass

from minialex.errors import KernelError


@dataclass(frozen=True)
class Gpu:
    """A GPU by its datasheet.

    Attributes
    ----------
    name, architecture : str
        Such as ``"H100"``, ``"sm_90"``.
    multiprocessors : int
    clock : float
        The boost clock, in Hz.
    float32, tf32 : float
        FLOP/s of float32 multiply-adds, and of the tensor cores on TF32; 0.0 where they have none.
    bandwidth : float
        Bytes/s of the memory.
    source : str
        Where the figures are published.
    """

    name: str
    architecture: str
    multiprocessors: int
    clock: float
    float32: float
    tf32: float
    bandwidth: float
    source: str


_GA102 = "NVIDIA Ampere GA102 whitepaper (2020), table 2"
_ADA = "NVIDIA Ada architecture whitepaper (2022), table 2"
_BLACKWELL = "NVIDIA RTX Blackwell architecture whitepaper (2025)"

_ALL = (
    Gpu("T4", "sm_75", 40, 1.590e9, 8.1e12, 0.0, 320e9, "NVIDIA T4 datasheet (2019)"),
    Gpu("A100", "sm_80", 108, 1.410e9, 19.5e12, 156e12, 2039e9, "NVIDIA A100 datasheet, 80 GB (2021)"),
    Gpu("RTX 3090", "sm_86", 82, 1.695e9, 35.6e12, 35.6e12, 936e9, _GA102),
    Gpu("RTX 4090", "sm_89", 128, 2.520e9, 82.6e12, 82.6e12, 1008e9, _ADA),
    Gpu("H100", "sm_90", 132, 1.980e9, 67e12, 494.5e12, 3350e9, "NVIDIA H100 datasheet, SXM (2023)"),
    Gpu("B200", "sm_100", 148, 1.980e9, 75e12, 1125e12, 7700e9, "NVIDIA HGX B200 datasheet (2025)"),
    Gpu("RTX 5090", "sm_120", 170, 2.407e9, 104.8e12, 104.8e12, 1792e9, _BLACKWELL),
)
GPUS = {gpu.name: gpu for gpu in _ALL}


def find_gpu(name: str) -> Gpu:
    """The GPU of that name, in any case, with or without spaces; `KernelError` if it is not in `GPUS`."""
    for gpu in GPUS.values():
        if _plain(gpu.name) == _plain(name):
            return gpu
    raise KernelError(f"no datasheet of a GPU {name!r}; there are: {', '.join(GPUS)}")


def _plain(name: str) -> str:
    return "".join(name.split()).lower()
