"""Where arrays live: the only place where NumPy's and CuPy's are told apart, made and moved.

    cpu         NumPy arrays; kernels on whole arrays and in compiled loops
    cuda        CuPy arrays; the CUDA kernels on a GPU
    cuda-host   NumPy arrays; the CUDA kernels on the processor, compiled by g++
    meta        stand-ins: shapes and dtypes without values, for whoever asks only for those

The rest of the engine knows no array library but NumPy. `minialex.availability` knows whether a device can be
used on this machine.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from minialex.errors import DeviceError
from minialex.stand_ins import StandInModule, is_stand_in

META = "meta"


def array_module(device: str) -> Any:
    """The library of a device's arrays: cupy for ``cuda``, that of stand-ins for ``meta``, else numpy."""
    if device == META:
        return StandInModule
    if device != "cuda":
        return np
    import cupy

    return cupy


def is_array(value) -> bool:
    """Whether a value is an array of any device."""
    if isinstance(value, np.ndarray):
        return True
    # Whoever has a CuPy array has imported CuPy.
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(value, cupy.ndarray)


def is_on_gpu(array) -> bool:
    """Whether an array is CuPy's."""
    return is_array(array) and not isinstance(array, np.ndarray)


def is_read_only(array) -> bool:
    """Whether an array is read-only; CuPy has no such arrays."""
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
    """A NumPy array of numbers, lists or whatever else NumPy takes, in the machine's byte order.

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
    """The values of any device's array, or of a list, as a NumPy array; itself if it is one.

    Raises
    ------
    DeviceError
        If it is a stand-in, which has none.
    """
    require_unmasked(array)
    if is_stand_in(array):
        raise DeviceError(f"an array on 'meta' has a shape, {array.shape}, and no values")
    return array.get() if is_array(array) and not isinstance(array, np.ndarray) else np.asarray(array)


def to_device_array(array, device: str):
    """The array on a device; the same object if it is already there."""
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
