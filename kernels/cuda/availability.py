"""Whether this machine can run the device ``cuda``, and what is missing if it cannot."""

from __future__ import annotations

import ctypes
import importlib.util
import sys

_INSTALL = "pip install 'minialex[cuda]'"
_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def why_not_usable() -> str | None:
    """Which of driver, CuPy, NVRTC and GPU is missing, in a line that says what to do; None if none is."""
    driver, cupy = _driver_problem(), _cupy_problem()
    problems = [driver, cupy]
    if cupy is None:
        # It is CuPy that finds and loads NVRTC, and that knows whether it can work with the driver.
        problems.append(_nvrtc_problem())
        if driver is None:
            problems.append(_gpu_problem())
    return "; ".join(problem for problem in problems if problem) or None


def _driver_problem() -> str | None:
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return f"no NVIDIA driver is installed ({_DRIVER} is not found)"
    return None


def _cupy_problem() -> str | None:
    if importlib.util.find_spec("cupy") is None:
        return f"CuPy is not installed ({_INSTALL}; for a driver of CUDA 12, pip install 'cupy-cuda12x[ctk]')"
    try:
        import cupy  # noqa: F401
    except Exception as error:
        return f"CuPy cannot be imported ({_line(error)})"
    return None


def _nvrtc_problem() -> str | None:
    from cupy.cuda import nvrtc

    try:
        nvrtc.getVersion()
    except Exception as error:
        return f"NVRTC, which compiles the kernels, is not found ({_INSTALL} brings it; {_line(error)})"
    return None


def _gpu_problem() -> str | None:
    from cupy.cuda import runtime

    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        return f"CuPy cannot use the driver or finds no GPU ({_line(error)})"
    return None if count else "the driver finds no GPU"


def _line(error: Exception) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}"
