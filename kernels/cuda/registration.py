"""Registering one Python function as a kernel of both CUDA devices."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable

from minialex.kernels.contract.registry import kernel
from minialex.kernels.cuda.device import CudaDevice

DEVICES = ("cuda", "cuda-host")
_CLASSES = {
    "cuda": ("minialex.kernels.cuda.gpu", "GpuDevice"),
    "cuda-host": ("minialex.kernels.cuda.host", "HostDevice"),
}


@functools.cache
def cuda_device(name: str) -> CudaDevice:
    """The device of that name, ``"cuda"`` or ``"cuda-host"``."""
    module, device_class = _CLASSES[name]
    return getattr(importlib.import_module(module), device_class)()


def cuda_kernel(
    operation: str,
    *,
    algo: str,
    devices: tuple[str, ...] = DEVICES,
    dtypes: tuple[str, ...] = ("float32", "float64"),
    **options,
) -> Callable[[Callable], Callable]:
    """Register the decorated function as a kernel of the CUDA devices.

    The function takes the device (`minialex.kernels.cuda.device.CudaDevice`) before the arguments that other
    kernels of the operation take.

    Parameters
    ----------
    operation, algo, dtypes, **options
        As in `minialex.kernels.contract.registry.kernel`.
    devices : tuple of str
        ``("cuda",)`` for one that calls CuPy itself, and so has nothing to run on ``cuda-host``.

    Raises
    ------
    KernelError
        As `minialex.kernels.contract.registry.kernel` does.
    """

    def register(function: Callable) -> Callable:
        for name in devices:
            kernel(operation, algo=algo, device=name, dtypes=dtypes, **options)(_on_device(function, name))
        return function

    return register


def _on_device(function: Callable, name: str) -> Callable:
    """The function without its first argument, which is the device of that name."""

    @functools.wraps(function)
    def run(*args, **parameters):
        return function(cuda_device(name), *args, **parameters)

    return run
