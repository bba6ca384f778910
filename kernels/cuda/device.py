"""What a CUDA kernel's Python function may ask of the device that it runs on.

The two devices, `HostDevice` and `GpuDevice`, differ in the array library, in where an array is, and in who
runs a launch. Everything else is here or in `launcher`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import ModuleType
from typing import Any

import numpy as np

from minialex.errors import DeviceError
from minialex.kernels.contract.call import as_taken
from minialex.kernels.contract.registry import Kernel
from minialex.kernels.cuda.launcher import ALIGNMENT, Launch, blocks_for, prepare
from minialex.kernels.cuda.source import SourceKernel

THREADS = 256
"""Of a block, for kernels whose threads share nothing."""


class CudaDevice(ABC):
    """Arrays and launches of one device.

    Attributes
    ----------
    name : str
        ``"cuda"`` or ``"cuda-host"``.
    """

    name: str

    @property
    @abstractmethod
    def xp(self) -> ModuleType:
        """The array library: cupy or numpy."""

    @abstractmethod
    def empty(self, shape, dtype) -> Any:
        """A C-contiguous array whose contents are undefined."""

    def zeros(self, shape, dtype):
        """A C-contiguous array of zeros."""
        array = self.empty(shape, dtype)
        array.fill(0)
        return array

    @abstractmethod
    def array(self, values, dtype) -> Any:
        """An array on the device from a list or a NumPy array, such as a table that a kernel reads."""

    def contiguous(self, x):
        """The array as a launch takes it: itself, or a copy of a view that is not C-contiguous or aligned.

        Raises
        ------
        DeviceError
            If it lives elsewhere.
        """
        elsewhere = self.why_not_here(x)
        if elsewhere is not None:
            raise DeviceError(f"a kernel of device {self.name!r} was given {elsewhere}; move it there first")
        if x.flags.c_contiguous and (x.size == 0 or self.address(x) % ALIGNMENT == 0):
            return x
        copy = self.empty(x.shape, x.dtype)
        copy[...] = x
        return copy

    def launch(self, kernel: SourceKernel, grid, block, *args) -> None:
        """Run a kernel of a source file.

        Parameters
        ----------
        kernel : SourceKernel
            ``SOURCE["name"]``.
        grid, block : int, or a tuple of up to three ints
            Blocks, and threads in a block. A grid with 0 blocks along an axis runs nothing.
        *args
            What the kernel declares; see `minialex.kernels.cuda.launcher.prepare`, which checks it.

        Raises
        ------
        KernelError
            If an argument does not fit, or the source does not compile.
        DeviceError
            If an array lives elsewhere, or the compiler is not there.
        """
        launch = prepare(kernel, grid, block, args, self)
        if not launch.is_empty:
            self.run(kernel, launch)

    def launch_over(self, kernel: SourceKernel, n: int, *args) -> None:
        """Run a kernel whose threads take an element each, of n, in a loop over the grid."""
        self.launch(kernel, blocks_for(n, THREADS), THREADS, *args)

    def call(self, kernel: Kernel, *args, **parameters):
        """Run what `cuda_kernel` registered on this device, whichever it was registered for; its result."""
        # The registered function is a wrapper that puts its own device before the arguments.
        parameters = as_taken(kernel.operation, args, parameters)
        return kernel.function.__wrapped__(self, *args, **parameters)

    @abstractmethod
    def run(self, kernel: SourceKernel, launch: Launch) -> None:
        """Compile the kernel's source, unless that has been done, and run a checked launch."""

    @abstractmethod
    def why_not_here(self, array) -> str | None:
        """What the array is instead of one of this device's; None if it is one."""

    @abstractmethod
    def address(self, array) -> int:
        """Where the array's first element is."""

    @abstractmethod
    def is_writeable(self, array) -> bool:
        """Whether the array may be written."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def to_numpy(array) -> np.ndarray:
    """The values of any device's array as a NumPy array; itself if it is one."""
    return array if isinstance(array, np.ndarray) else array.get()
