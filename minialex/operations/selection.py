"""Choosing between numbers: by a condition, or by their order. Indices are int64, outside of the graph."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minialex.autograd import Operation
from minialex.checks import is_int, is_number, require_flag
from minialex.devices import array_module, is_array, to_device_array, to_numpy
from minialex.errors import ShapeError
from minialex.kernels.contract.shapes import require_axis
from minialex.kernels.elementwise.shape import broadcast_shape
from minialex.operations.axes import takes_dim
from minialex.operations.constants import constant
from minialex.operations.elementwise import maximum, minimum
from minialex.operations.layout import along, getitem
from minialex.operations.reduction import amax, sum_to
from minialex.tensor import Tensor, as_tensor, require_tensor


class Where(Operation):
    """Each element from one of two arrays, in which it is linear; the other one gets a gradient of 0."""

    def __init__(self, condition):
        self.condition = condition

    def forward(self, a, b):
        return array_module(self.device).where(self.condition, a, b)

    def branch(self, inputs, results):
        return self.condition

    def backward(self, g):
        nothing = as_tensor(0, g)
        of_a = sum_to(Where(self.condition)(g, nothing), self.shapes[0]) if self.needs(0) else None
        of_b = sum_to(Where(self.condition)(nothing, g), self.shapes[1]) if self.needs(1) else None
        return of_a, of_b


class Clamp(Operation):
    """The gradient passes where low <= x <= high, the limits included (PyTorch's convention)."""

    saved_inputs = (0,)

    def __init__(self, low, high):
        self.low, self.high = low, high

    def forward(self, x):
        return self.kernel("clamp.forward", x, low=self.low, high=self.high)

    def branch(self, inputs, results):
        return self._inside(inputs[0])

    def _inside(self, x):
        return (x >= self.low) & (x <= self.high)

    def backward(self, g):
        (x,) = self.saved
        return (Where(self._inside(x.data))(g, as_tensor(0, g)),)


def where(condition, a, b) -> Tensor:
    """a where the condition is true, else b; the three are broadcast (PyTorch's and NumPy's ``where``).

    Parameters
    ----------
    condition : Tensor or array of bools
    a, b : Tensor, or one of them a number or an array
    """
    like = a if isinstance(a, Tensor) else b
    a, b = as_tensor(a, like), as_tensor(b, like)
    mask = _mask("where", condition, a.device)
    broadcast_shape("where", mask.shape, broadcast_shape("where", a.shape, b.shape))
    return Where(mask)(a, b)


def masked_fill(x: Tensor, mask, value) -> Tensor:
    """x with a number where the mask is true."""
    require_tensor("masked_fill", x)
    return where(mask, value, x)


def _mask(name: str, condition, device: str):
    # A copy: backward needs what it holds now.
    if isinstance(condition, Tensor):
        mask = constant(lambda values: values.copy(), condition).data
    else:
        mask = condition.copy() if is_array(condition) else np.asarray(condition)
    if mask.dtype.kind != "b":
        raise TypeError(
            f"{name}: the condition must be of bools, not {mask.dtype}; compare first, as in t != 0"
        )
    return to_device_array(mask, device)


def clamp(x: Tensor, min=None, max=None) -> Tensor:
    """x, but no less than `min` and no more than `max`: numbers, tensors, or None for no limit.

    A NaN stays one. Where a limit is a tensor and x equals it, each gets half of the gradient, as `maximum`
    gives it.

    Raises
    ------
    TypeError
        If there is no limit, or one is neither a number nor a tensor.
    """
    require_tensor("clamp", x)
    if min is None and max is None:
        raise TypeError("clamp: min or max must be given; both are None")
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        x = x if min is None else maximum(x, min)
        return x if max is None else minimum(x, max)
    for name, limit in (("min", min), ("max", max)):
        if limit is not None and not is_number(limit):
            raise TypeError(f"clamp: {name} must be a number or a tensor, not {type(limit).__name__}")
    low = -np.inf if min is None else float(min)
    high = np.inf if max is None else float(max)
    return Clamp(low, high)(x)


class Extremes(NamedTuple):
    """Values and their places, as PyTorch's ``max(dim)`` and ``topk`` return them."""

    values: Tensor
    indices: Tensor


@takes_dim
def argmax(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The place of the first maximum along an axis, or in row-major order. NaN is the largest."""
    return _place("argmax", x, axis, keepdims)


@takes_dim
def argmin(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The place of the first minimum along an axis, or in row-major order. NaN is the smallest."""
    return _place("argmin", x, axis, keepdims)


def _place(name: str, x: Tensor, axis, keepdims: bool) -> Tensor:
    require_tensor(name, x)
    if axis is not None:
        axis = require_axis(f"{name}: dim", axis, x.shape)
    if not (x.size if axis is None else x.shape[axis]):
        raise ShapeError(f"{name}: shape {x.shape} has no elements along dim={axis}")
    require_flag("keepdims", keepdims, error=ShapeError)

    def places(values):
        found = np.asarray(getattr(np, name)(to_numpy(values), axis=axis), np.int64)
        if keepdims:
            found = found.reshape([1] * x.ndim) if axis is None else np.expand_dims(found, axis)
        return to_device_array(found, x.device)

    return constant(places, x)


def max(x: Tensor, *arguments, **named):
    """The maximum in each of PyTorch's ways.

    ``max(x)`` of all elements; ``max(x, dim)`` the pair (values, indices) along an axis, whose values have
    their gradient at the first maximum; ``max(x, other)`` element by element. ``max(x, axis=...)`` is
    NumPy's: values only, as `amax` gives them.
    """
    return _extreme("max", x, arguments, named)


def min(x: Tensor, *arguments, **named):
    """The minimum in each of PyTorch's ways; see `max`."""
    return _extreme("min", x, arguments, named)


def _extreme(name: str, x: Tensor, arguments: tuple, named: dict):
    require_tensor(name, x)
    reduce, between, place = (amax, maximum, argmax) if name == "max" else (amin, minimum, argmin)
    if not arguments and not named.keys() & {"dim", "keepdim", "other"}:
        return reduce(x, **named)
    first = named.pop("other", arguments[0] if arguments else None)
    if isinstance(first, Tensor):
        return between(x, first)
    return _pair(x, place, *arguments, **named)


@takes_dim
def _pair(x: Tensor, place, axis: int, keepdims: bool = False) -> Extremes:
    axis = require_axis(f"{place.__name__[3:]}: dim", axis, x.shape)
    indices = place(x, axis, keepdims=True)
    values = gather(x, axis, indices)
    if require_flag("keepdims", keepdims, error=ShapeError):
        return Extremes(values, indices)
    kept = tuple(n for i, n in enumerate(indices.shape) if i != axis)
    return Extremes(values.reshape(kept), Tensor(indices.data.reshape(kept), device=x.device))


@takes_dim
def amin(x: Tensor, axis=None, keepdims: bool = False) -> Tensor:
    """The minimum over an axis, a tuple of axes, or all; equal minima share the gradient."""
    require_tensor("amin", x)
    return -amax(-x, axis, keepdims)


@takes_dim
def topk(x: Tensor, k: int, axis: int = -1, largest: bool = True, sorted: bool = True) -> Extremes:
    """The k largest (or smallest) elements along an axis and their places; equal ones as they stand."""
    require_tensor("topk", x)
    axis = require_axis("topk: dim", axis, x.shape)
    if not is_int(k, 0, x.shape[axis]):
        raise ShapeError(
            f"topk: k must be an integer from 0 to {x.shape[axis]}, not {k!r}, for shape {x.shape}"
        )

    def places(values):
        values = to_numpy(values)
        if largest:
            # Backwards through the array and through its order: equal elements stay in their order, a NaN,
            # sorted to the end, comes first, and nothing is negated, which unsigned integers cannot be.
            backwards = np.argsort(np.flip(values, axis), axis=axis, kind="stable")
            order = x.shape[axis] - 1 - np.flip(backwards, axis)
        else:
            order = np.argsort(values, axis=axis, kind="stable")
        found = np.take(order, np.arange(k), axis=axis).astype(np.int64)
        return to_device_array(found, x.device)

    indices = constant(places, x)
    return Extremes(gather(x, axis, indices), indices)


def gather(x: Tensor, dim: int, index) -> Tensor:
    """The element that the index names along an axis: ``y[i][j] = x[index[i][j]][j]`` for dim 0."""
    require_tensor("gather", x)
    dim = require_axis("gather: dim", dim, x.shape)
    places = _integers("gather", index)
    if places.ndim != x.ndim:
        raise ShapeError(f"gather: index {places.shape} must have as many axes as the input {x.shape}")
    everywhere: list[Any] = list(np.ogrid[tuple(slice(n) for n in places.shape)])
    everywhere[dim] = _index(index, places)
    return getitem(x, tuple(everywhere))


def index_select(x: Tensor, dim: int, index) -> Tensor:
    """The slices that a list of ints names along an axis."""
    require_tensor("index_select", x)
    dim = require_axis("index_select: dim", dim, x.shape)
    places = _integers("index_select", index)
    return getitem(x, along(dim, _index(index, places)))


def _integers(name: str, index) -> np.ndarray:
    places = to_numpy(index.data if isinstance(index, Tensor) else index)
    if places.dtype.kind not in "iu" and places.size:
        raise TypeError(f"{name}: index must be of integers, not {places.dtype}")
    return places.astype(np.intp, copy=False)


def _index(index, places: np.ndarray):
    """The index itself where it is a tensor: a recorded run computes it again."""
    return index if isinstance(index, Tensor) and index.dtype.kind in "iu" else places
