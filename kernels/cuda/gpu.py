"""The device ``cuda``: CuPy arrays, and CUDA sources compiled by NVRTC for a GPU.

**This file has never run on a GPU.** It is kept small for that reason. What it passes to CuPy is tested
against a stand-in that holds CuPy's own rules, every source is compiled by NVRTC with CuPy's flags, and
``pytest -m gpu`` runs it wherever a GPU is.

The current device and stream, and the memory pool, are CuPy's to decide, as its users expect.
"""

from __future__ import annotations

import functools

import numpy as np

from minialex.errors import DeviceError, KernelError
from minialex.kernels.cuda import availability
from minialex.kernels.cuda.device import CudaDevice
from minialex.kernels.cuda.launcher import Launch
from minialex.kernels.cuda.source import Source, SourceKernel, compiler_options


class GpuDevice(CudaDevice):
    """Launches run by ``cupy.RawModule`` on the current stream."""

    name = "cuda"

    def __init__(self):
        reason = availability.why_not_usable()
        if reason is not None:
            raise DeviceError(f"device 'cuda' is not available: {reason}")

    @property
    def xp(self):
        import cupy

        return cupy

    def empty(self, shape, dtype):
        return self.xp.empty(shape, dtype)

    def array(self, values, dtype):
        return self.xp.asarray(np.asarray(values, dtype), order="C")

    def run(self, kernel: SourceKernel, launch: Launch) -> None:
        compiled(kernel.source, launch.real, kernel.name)(launch.grid, launch.block, launch.args)

    def why_not_here(self, array) -> str | None:
        if not isinstance(array, self.xp.ndarray):
            return f"a {type(array).__module__.partition('.')[0]} {type(array).__name__}"
        current = self.xp.cuda.Device().id
        if array.device.id != current:
            return f"an array on GPU {array.device.id}, and the current one is GPU {current}"
        return None

    def address(self, array) -> int:
        return array.data.ptr

    def is_writeable(self, array) -> bool:
        return True  # CuPy has no read-only arrays


@functools.cache
def compiled(source: Source, real: np.dtype, name: str):
    """A kernel of a source for one type of `real`, compiled or read from CuPy's cache, once for each GPU."""
    import cupy

    try:
        return _module(source, real).get_function(name)
    except cupy.cuda.compiler.CompileException as error:
        raise KernelError(f"{source.path} does not compile with NVRTC:\n{error}") from error


@functools.cache
def _module(source: Source, real: np.dtype):
    import cupy

    # The standard is that of g++ for cuda-host. NVRTC's own differs by version, and so does CuPy's.
    return cupy.RawModule(code=source.text, options=(*compiler_options(real), "-std=c++17"))
