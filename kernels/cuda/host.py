"""The device ``cuda-host``: NumPy arrays, and CUDA sources compiled by g++ for the processor."""

from __future__ import annotations

import functools
from types import ModuleType

import numpy as np

from minialex.errors import KernelError
from minialex.kernels import cuda_host
from minialex.kernels.cuda.device import CudaDevice
from minialex.kernels.cuda.launcher import Launch
from minialex.kernels.cuda.source import Source, SourceKernel, compiler_options
from minialex.kernels.runtime import memory


class HostDevice(CudaDevice):
    """Launches run by `minialex.kernels.cuda_host`."""

    name = "cuda-host"

    @property
    def xp(self) -> ModuleType:
        return np

    def empty(self, shape, dtype):
        return memory.empty(shape, dtype)

    def array(self, values, dtype):
        return self.contiguous(np.asarray(values, dtype))

    def run(self, kernel: SourceKernel, launch: Launch) -> None:
        compiled(kernel.source, launch.real)[kernel.name](launch.grid, launch.block, launch.args)

    def why_not_here(self, array) -> str | None:
        if isinstance(array, np.ndarray):
            return None
        return f"a {type(array).__module__.partition('.')[0]} {type(array).__name__}"

    def address(self, array) -> int:
        return array.__array_interface__["data"][0]

    def is_writeable(self, array) -> bool:
        return array.flags.writeable


@functools.cache
def compiled(source: Source, real: np.dtype):
    """The compiled module of a source for one type of `real`: compiled, or read from the cache, once."""
    try:
        return cuda_host.load(source_text=source.text, options=compiler_options(real))
    except KernelError as error:
        raise KernelError(f"{source.path.name}: {error}") from None
