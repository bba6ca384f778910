"""Elementwise comparisons and logic of tensors: tensors of bools, outside the graph.

Like NumPy, and unlike arithmetic here, a comparison takes operands of two dtypes: it rounds nothing.
"""

from __future__ import annotations

import operator

import numpy as np

from minialex.checks import in_words, require_flag
from minialex.devices import array_module, array_of, is_array, to_device_array
from minialex.errors import DeviceError, ShapeError
from minialex.kernels.elementwise.shape import broadcast_shape
from minialex.kernels.reduction.shape import reduced_axes
from minialex.operations.axes import takes_dim
from minialex.operations.constants import constant
from minialex.tensor import Tensor, require_tensor


def is_operand(value) -> bool:
    """Whether a tensor can be compared with a value: a tensor, an array, a number, or a list of these."""
    return isinstance(value, Tensor | bool | int | float | complex | np.generic | list | tuple) or is_array(
        value
    )


def equal(a, b) -> Tensor:
    """Where a == b."""
    return _compare("equal", a, b)


def not_equal(a, b) -> Tensor:
    """Where a != b."""
    return _compare("not_equal", a, b)


def less(a, b) -> Tensor:
    """Where a < b."""
    return _compare("less", a, b)


def less_equal(a, b) -> Tensor:
    """Where a <= b."""
    return _compare("less_equal", a, b)


def greater(a, b) -> Tensor:
    """Where a > b."""
    return _compare("greater", a, b)


def greater_equal(a, b) -> Tensor:
    """Where a >= b."""
    return _compare("greater_equal", a, b)


def bitwise_and(a, b) -> Tensor:
    """Where a and b are true, both of bools."""
    return _combine("bitwise_and", a, b)


def bitwise_or(a, b) -> Tensor:
    """Where a or b is true, both of bools."""
    return _combine("bitwise_or", a, b)


def bitwise_xor(a, b) -> Tensor:
    """Where exactly one of a and b is true, both of bools."""
    return _combine("bitwise_xor", a, b)


def invert(x: Tensor) -> Tensor:
    """Where x, of bools, is not true."""
    require_tensor("invert", x)
    _require_bools("invert", x.data)
    return constant(operator.invert, x)


@takes_dim
def any(x: Tensor, axis=None, keepdims: bool = False) -> Tensor:
    """Whether any element over an axis, a tuple of axes, or all is true (not 0)."""
    require_tensor("any", x)
    keepdims = require_flag("keepdims", keepdims, error=ShapeError)
    axes = reduced_axes(x.shape, axis)
    return constant(lambda values: values.any(axis=axes, keepdims=keepdims), x)


@takes_dim
def all(x: Tensor, axis=None, keepdims: bool = False) -> Tensor:
    """Whether all elements over an axis, a tuple of axes, or all are true (not 0)."""
    require_tensor("all", x)
    keepdims = require_flag("keepdims", keepdims, error=ShapeError)
    axes = reduced_axes(x.shape, axis)
    return constant(lambda values: values.all(axis=axes, keepdims=keepdims), x)


def _combine(name: str, a, b) -> Tensor:
    like = a if isinstance(a, Tensor) else b
    for value in (a, b):
        _require_bools(name, _values(value, like))
    return _compare(name, a, b)


def _require_bools(name: str, value) -> None:
    dtype = np.asarray(value).dtype if isinstance(value, bool | int | float) else value.dtype
    if dtype.kind != "b":
        raise TypeError(f"{name} combines bools, not {dtype}; compare first, as in t != 0")


def _compare(name: str, a, b) -> Tensor:
    like = a if isinstance(a, Tensor) else b
    values = [_values(value, like) for value in (a, b)]
    broadcast_shape(name, *map(np.shape, values))
    compare = getattr(array_module(like.device), name)
    if not isinstance(b, Tensor):
        return constant(lambda x: compare(x, values[1]), a)
    if not isinstance(a, Tensor):
        return constant(lambda x: compare(values[0], x), b)
    return constant(compare, a, b)


def _values(value, like: Tensor):
    """What NumPy compares: an array, or a Python number, which adapts to the other operand's dtype."""
    if isinstance(value, Tensor):
        if value.device != like.device:
            raise DeviceError(
                f"tensors on {value.device!r} and {like.device!r} meet; move one with .to(device)"
            )
        return value.data
    if isinstance(value, bool | int | float) and not isinstance(value, np.generic):
        return value
    array = value if is_array(value) else array_of(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"a tensor of {like.dtype} cannot be compared with {in_words(value)}")
    if array.ndim == 0 and not is_array(value):
        return array.item()
    if array.dtype.kind == like.dtype.kind == "f" and not is_array(value):
        array = array.astype(like.dtype)  # a list has no dtype of its own
    return to_device_array(array, like.device)
