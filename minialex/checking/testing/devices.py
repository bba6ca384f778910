"""Calls on any device: arrays that are drawn as NumPy's, brought to the device of a kernel as they are."""

from __future__ import annotations

import ctypes
from types import ModuleType

import numpy as np

from minialex.checking.testing.calls import Call
from minialex.devices import array_module


def on_device(drawn: Call, device: str) -> Call:
    """The call with its arrays on a device, in the memory layouts that they have; itself on a processor."""
    xp = array_module(device)
    if xp is np:
        return drawn
    arrays = tuple(None if a is None else with_layout(a, xp) for a in drawn.arrays)
    return Call(drawn.operation, arrays, drawn.parameters)


def with_layout(array: np.ndarray, xp: ModuleType):
    """A copy of an array by another library, with the same strides.

    A library copies a view to a contiguous array. Here all bytes from the view's first to its last are
    copied, and a view is taken of the copy.
    """
    if array.size == 0:
        return xp.empty(array.shape, array.dtype)
    ends = [(n - 1) * stride for n, stride in zip(array.shape, array.strides, strict=True)]
    before, after = -sum(min(end, 0) for end in ends), sum(max(end, 0) for end in ends) + array.itemsize
    first = array.__array_interface__["data"][0] - before
    memory = np.frombuffer((ctypes.c_uint8 * (before + after)).from_address(first), np.uint8)
    return xp.ndarray(array.shape, array.dtype, xp.asarray(memory).data + before, strides=array.strides)
