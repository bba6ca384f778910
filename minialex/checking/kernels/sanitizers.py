"""Kernels of ``cuda-host`` under AddressSanitizer or UndefinedBehaviorSanitizer.

A sanitizer's library has to be in a process from its start, and ends the process at the first fault. So each
run is a process of its own, which reports on its standard error.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys

import numpy as np

from minialex.checking.kernels.races import kernels_to_check, supported_calls
from minialex.errors import DeviceError
from minialex.kernels.cuda.host import HostDevice
from minialex.kernels.cuda.launcher import Launch
from minialex.kernels.cuda.source import Source, SourceKernel, compiler_options

LIBRARIES = {"address": "libasan.so", "undefined": "libubsan.so"}

_OPTIONS = {
    # NumPy and Python keep memory to the end; and the library does not know the stack of a CUDA thread.
    "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}
_CODE = "import sys; from minialex.checking.kernels import sanitizers; sanitizers.run_here(*sys.argv[1:])"


class SanitizedDevice(HostDevice):
    """Launches of kernels that are compiled with a sanitizer.

    Its arrays are separate allocations, so that the sanitizer sees where each ends.
    """

    def __init__(self, sanitizer: str):
        self.sanitizer = sanitizer

    def empty(self, shape, dtype):
        return np.empty(shape, dtype)

    def run(self, kernel: SourceKernel, launch: Launch) -> None:
        module = _sanitized(kernel.source, launch.real, self.sanitizer)
        # Copies as well: a NumPy view may lie amid other memory of the process.
        arguments = tuple(arg.copy() if isinstance(arg, np.ndarray) else arg for arg in launch.args)
        module[kernel.name](launch.grid, launch.block, arguments)
        for argument, copy in zip(launch.args, arguments, strict=True):
            if isinstance(argument, np.ndarray) and argument.flags.writeable:
                argument[...] = copy


@functools.cache
def _sanitized(source: Source, real: np.dtype, sanitizer: str):
    from minialex.kernels import cuda_host

    return cuda_host.load(source_text=source.text, options=compiler_options(real), sanitize=sanitizer)


def run_here(sanitizer: str, operation: str, algorithm: str, dtype: str) -> None:
    """Run a kernel's calls in this process, which has the sanitizer's library."""
    device = SanitizedDevice(sanitizer)
    for kernel in kernels_to_check(operation):
        if kernel.algorithm == algorithm:
            for call in supported_calls(kernel, np.dtype(dtype)):
                device.call(kernel, *call.arrays, **call.parameters)


def sanitizer_report(sanitizer: str, kernel, dtype: str = "float32") -> str | None:
    """What a sanitizer says about a kernel's calls, which are run in a process of their own.

    Parameters
    ----------
    sanitizer : str
        ``"address"`` or ``"undefined"``.
    kernel : Kernel
    dtype : str

    Returns
    -------
    str or None
        Its report; None if it found nothing.

    Raises
    ------
    DeviceError
        If the sanitizer is not installed, or the process failed in another way.
    """
    environment = {**os.environ, **_OPTIONS, "LD_PRELOAD": _library(sanitizer)}
    answer = subprocess.run(
        [sys.executable, "-c", _CODE, sanitizer, kernel.operation, kernel.algorithm, dtype],
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if answer.returncode == 0:
        return None
    if "Sanitizer" in answer.stderr or "runtime error:" in answer.stderr:
        return answer.stderr.strip()
    raise DeviceError(
        f"{kernel.name} could not be run with -fsanitize={sanitizer}: {answer.stderr.strip()[-2000:]}"
    )


def _library(sanitizer: str) -> str:
    """Where the compiler keeps the sanitizer's library."""
    from minialex.kernels.cuda_host import compiler

    command, _ = compiler.find_compiler()
    name = LIBRARIES[sanitizer]
    answer = subprocess.run(
        [*command, f"-print-file-name={name}"], capture_output=True, text=True, check=True
    )
    path = answer.stdout.strip()
    if not os.path.isabs(path):
        raise DeviceError(
            f"{name}, the library of -fsanitize={sanitizer}, is not installed with the compiler"
        )
    return os.path.realpath(path)
