"""Reductions of tensors over axes, and broadcasting: sum and broadcast are each other's gradient."""

from __future__ import annotations

import math

import numpy as np

from minialex.autograd import Operation
from minialex.checks import require_flag
from minialex.devices import array_module
from minialex.errors import ShapeError
from minialex.kernels import output_shape
from minialex.kernels.reduction import AMAX, SUM
from minialex.kernels.reduction.shape import reduced_axes
from minialex.operations.axes import takes_dim
from minialex.operations.layout import items_of, reshape
from minialex.tensor import Tensor, require_tensor


class Sum(Operation):
    def __init__(self, axis: tuple[int, ...], keepdims: bool):
        self.axis, self.keepdims = axis, keepdims

    def forward(self, x):
        return self.kernel(SUM, x, axis=self.axis, keepdims=self.keepdims)

    def backward(self, g):
        (shape,) = self.shapes
        kept = output_shape("sum", shape, axis=self.axis, keepdims=True)
        return (broadcast_to(reshape(g, kept), shape),)


class BroadcastTo(Operation):
    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape

    def forward(self, x):
        return array_module(self.device).broadcast_to(x, self.shape)

    def backward(self, g):
        return (sum_to(g, self.shapes[0]),)


class Amax(Operation):
    """The gradient is shared evenly by equal maxima (PyTorch's amax), or by the NaNs if the result is NaN."""

    saved_inputs = (0,)
    saved_outputs = (0,)

    def __init__(self, axis: tuple[int, ...], keepdims: bool):
        self.axis, self.keepdims = axis, keepdims

    def forward(self, x):
        return self.kernel(AMAX, x, axis=self.axis, keepdims=self.keepdims)

    def branch(self, inputs, results):
        return self._maxima(inputs[0], results[0])

    def _maxima(self, x, y):
        """Where x is the maximum along the reduced axes."""
        y = y.reshape(output_shape("sum", x.shape, axis=self.axis, keepdims=True))
        return (x == y) | ((x != x) & (y != y))

    def backward(self, g):
        x, y = self.saved
        kept = output_shape("sum", x.shape, axis=self.axis, keepdims=True)
        share = self._maxima(x.data, y.data).astype(x.dtype)
        share /= share.sum(axis=self.axis, keepdims=True)
        return (reshape(g, kept) * share,)


@takes_dim
def sum(x: Tensor, axis=None, keepdims: bool = False) -> Tensor:
    """The sum over an axis, a tuple of axes, or all."""
    require_tensor("sum", x)
    keepdims = require_flag("keepdims", keepdims, error=ShapeError)
    return Sum(reduced_axes(x.shape, axis), keepdims)(x)


@takes_dim
def mean(x: Tensor, axis=None, keepdims: bool = False) -> Tensor:
    """The mean over an axis, a tuple of axes, or all."""
    require_tensor("mean", x)
    count = math.prod(x.shape[i] for i in reduced_axes(x.shape, axis))
    return sum(x, axis, keepdims) / count


@takes_dim
def amax(x: Tensor, axis=None, keepdims: bool = False) -> Tensor:
    """The maximum over an axis, a tuple of axes, or all."""
    require_tensor("amax", x)
    keepdims = require_flag("keepdims", keepdims, error=ShapeError)
    output_shape("amax", x.shape, axis=axis, keepdims=keepdims)
    return Amax(reduced_axes(x.shape, axis), keepdims)(x)


def broadcast_to(x: Tensor, *shape) -> Tensor:
    """Broadcast axes of length 1 to a shape, as a view; -1 keeps an axis's length."""
    require_tensor("broadcast_to", x)
    shape = items_of("broadcast_to", shape)
    added = len(shape) - x.ndim
    shape = tuple(x.shape[i - added] if n == -1 and i >= added else n for i, n in enumerate(shape))
    try:
        fits = np.broadcast_shapes(x.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"broadcast_to: shape {x.shape} cannot be repeated to {shape}")
    return BroadcastTo(shape)(x)


def sum_to(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Undo broadcasting: sum over the axes along which `shape` was broadcast to the shape of x."""
    if x.shape == shape:
        return x
    added = x.ndim - len(shape)
    stretched = (i + added for i, n in enumerate(shape) if n == 1 and x.shape[i + added] != 1)
    return reshape(sum(x, (*range(added), *stretched)), shape)


def repeat(x: Tensor, *times) -> Tensor:
    """x repeated that many times along each axis, new axes in front (PyTorch's repeat, NumPy's tile)."""
    require_tensor("repeat", x)
    counts = items_of("repeat", times)
    if len(counts) < x.ndim or min(counts, default=0) < 0:
        raise ShapeError(f"repeat: {counts} must have a count of 0 or more for each axis of shape {x.shape}")
    shape = (1,) * (len(counts) - x.ndim) + x.shape
    spread = reshape(x, tuple(n for length in shape for n in (1, length)))
    wide = tuple(n for pair in zip(counts, shape, strict=True) for n in pair)
    return reshape(broadcast_to(spread, wide), tuple(c * n for c, n in zip(counts, shape, strict=True)))
