"""What a call of a CUDA kernel would launch: the launch code runs, the kernels do not."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minialex.kernels.contract.registry import Kernel
from minialex.kernels.cuda.host import HostDevice
from minialex.kernels.cuda.launcher import ALIGNMENT, Launch
from minialex.kernels.cuda.source import SourceKernel


@dataclass(frozen=True)
class RecordedLaunch:
    """A launch that was not run.

    Attributes
    ----------
    kernel : SourceKernel
    blocks, threads : int
        Of the grid, and of a block.
    moved : int
        The bytes of the arrays that it was given, each counted once.
    """

    kernel: SourceKernel
    blocks: int
    threads: int
    moved: int


class RecordingDevice(HostDevice):
    """Notes each launch, and gives arrays that nobody fills: the system gives them no memory."""

    def __init__(self):
        self.launches: list[RecordedLaunch] = []

    def empty(self, shape, dtype):
        return np.empty(shape, dtype)

    def zeros(self, shape, dtype):
        return np.zeros(shape, dtype)

    def contiguous(self, x):
        aligned = x.size == 0 or self.address(x) % ALIGNMENT == 0
        return x if x.flags.c_contiguous and aligned else np.empty(x.shape, x.dtype)

    def run(self, kernel: SourceKernel, launch: Launch) -> None:
        arrays = {id(each): each.nbytes for each in launch.args if isinstance(each, np.ndarray)}
        self.launches.append(
            RecordedLaunch(kernel, math.prod(launch.grid), math.prod(launch.block), sum(arrays.values()))
        )


def launches_of(entry: Kernel, *args, **parameters) -> list[RecordedLaunch]:
    """The launches of a kernel that `cuda_kernel` registered, in their order, for these arguments."""
    device = RecordingDevice()
    device.call(entry, *args, **parameters)
    return device.launches
