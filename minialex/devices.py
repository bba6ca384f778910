"""Devices: where a tensor's array lives and whose kernels work on it.

    cpu         NumPy arrays; kernels in NumPy and Numba
    cuda        CuPy arrays; the CUDA kernels on a GPU
    cuda-host   NumPy arrays; the CUDA kernels on the processor, compiled by g++

A device is known if kernels are registered for it (`minialex.kernels.devices`). An explicit device
that cannot be used is an error that says why; nothing falls back to another one.
"""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np

from minialex import kernels
from minialex.errors import DeviceError
from minialex.kernels.runtime import memory

# Asked for each new tensor, and dear to find out.
_found_usable: set[str] = set()


def why_not_usable(name: str) -> str | None:
    """Why a device cannot be used on this machine, in one line; None if it can."""
    if name not in kernels.devices():
        return "no kernels are installed for it"
    if name == "cuda":
        from minialex.kernels.cuda import availability

        return availability.why_not_usable()
    if name == "cuda-host":
        return _why_no_host()
    return None


def _why_no_host() -> str | None:
    from minialex.kernels.cuda_host.compiler import find_compiler

    try:
        find_compiler()
    except DeviceError as error:
        return str(error)
    return None


def usable_devices() -> list[str]:
    """The devices that can be used on this machine."""
    return [name for name in kernels.devices() if why_not_usable(name) is None]


def require_device(name: str) -> str:
    """Return the name of a device that can be used; `DeviceError` says why it cannot, and what can."""
    if name not in _found_usable:
        reason = why_not_usable(name)
        if reason is not None:
            raise DeviceError(
                f"device={name!r} is not available: {reason}; available: {', '.join(usable_devices())}"
            )
        _found_usable.add(name)
    return name


def choose_device(name: str) -> tuple[str, str]:
    """Resolve ``"auto"``: a GPU if one can be used, else the cpu.

    Returns
    -------
    (str, str)
        The device, and a sentence that says what was chosen and why.
    """
    if name != "auto":
        return require_device(name), f"device {name}"
    reason = why_not_usable("cuda")
    if reason is None:
        return "cuda", "device cuda (auto: a GPU can be used)"
    return "cpu", f"device cpu (auto: not cuda, as {reason})"


# Arrays: the engine makes and moves them here alone, and so knows no array library but NumPy


def array_module(device: str) -> ModuleType:
    """The library of a device's arrays: cupy for ``cuda``, else numpy."""
    if require_device(device) != "cuda":
        return np
    import cupy

    return cupy


def is_array(value) -> bool:
    """Whether a value is an array of some device."""
    if isinstance(value, np.ndarray):
        return True
    # Whoever has an array of CuPy has imported it.
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(value, cupy.ndarray)


def is_on_gpu(array) -> bool:
    """Whether an array is one of CuPy's."""
    return is_array(array) and not isinstance(array, np.ndarray)


def is_read_only(array) -> bool:
    """Whether an array must not be written; CuPy has no such arrays."""
    return isinstance(array, np.ndarray) and not array.flags.writeable


def require_unmasked(values) -> None:
    """Refuse a masked array, whose mask would be lost.

    Raises
    ------
    TypeError
        If it is one.
    """
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError("a masked array is given, and tensors have no masks; fill it first: .filled(value)")


def native(array):
    """The array in the machine's byte order; itself if it is."""
    require_unmasked(array)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def array_of(values, dtype=None) -> np.ndarray:
    """NumPy's array of numbers, lists or what else it takes, in the machine's byte order.

    Rows of unequal length give an array of objects, which every caller refuses.
    """
    require_unmasked(values)
    try:
        return native(np.asarray(values, dtype=dtype))
    except ValueError as error:
        if "setting an array element with a sequence" in str(error):
            return np.empty(0, object)
        raise


def to_numpy(array) -> np.ndarray:
    """The values of any device's array, or of a list, as a NumPy array; itself if it is one."""
    require_unmasked(array)
    return array.get() if is_array(array) and not isinstance(array, np.ndarray) else np.asarray(array)


def to_device_array(array, device: str):
    """The array on a device; the same object if it is there already."""
    xp = array_module(device)
    return to_numpy(array) if xp is np else xp.asarray(array)


def assign(array, values: np.ndarray) -> None:
    """Copy NumPy values of the same shape into any device's array, in its dtype."""
    if isinstance(array, np.ndarray):
        array[...] = values
    else:
        array.set(values.astype(array.dtype, order="C"))


def copy_to_device(array, device: str):
    """A copy of an array on a device, in memory of its own."""
    xp = array_module(device)
    return xp.array(array if xp is not np else to_numpy(array))


def empty(shape, dtype, device: str):
    """An array on a device whose contents are undefined, from the memory that the device keeps for reuse."""
    xp = array_module(device)
    return memory.empty(shape, dtype) if xp is np else xp.empty(shape, dtype)
