"""Sums, means and maxima of tensors over axes."""

from __future__ import annotations

import math

from minialex.autograd import Operation
from minialex.kernels import output_shape
from minialex.kernels.reduction.shape import reduced_axes
from minialex.operations.layout import broadcast_to, reshape
from minialex.tensor import Tensor, require_tensor


class Sum(Operation):
    def __init__(self, axis: tuple[int, ...], keepdims: bool):
        self.axis, self.keepdims = axis, keepdims

    def forward(self, x):
        return self.kernel("sum.forward", x, axis=self.axis, keepdims=self.keepdims)

    def backward(self, g):
        (shape,) = self.shapes
        kept = output_shape("sum", shape, axis=self.axis, keepdims=True)
        return (broadcast_to(reshape(g, kept), shape),)


class Amax(Operation):
    """The gradient is shared evenly by equal maxima (PyTorch's amax), by the NaNs where the result is one."""

    saved_inputs = (0,)
    saved_outputs = (0,)

    def __init__(self, axis: tuple[int, ...], keepdims: bool):
        self.axis, self.keepdims = axis, keepdims

    def forward(self, x):
        return self.kernel("amax.forward", x, axis=self.axis, keepdims=self.keepdims)

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


def sum(x: Tensor, axis=None, keepdims: bool = False) -> Tensor:
    """The sum over an axis, a tuple of axes, or all."""
    require_tensor("sum", x)
    return Sum(reduced_axes(x.shape, axis), keepdims)(x)


def mean(x: Tensor, axis=None, keepdims: bool = False) -> Tensor:
    """The mean over an axis, a tuple of axes, or all."""
    require_tensor("mean", x)
    count = math.prod(x.shape[i] for i in reduced_axes(x.shape, axis))
    return sum(x, axis, keepdims) / count


def amax(x: Tensor, axis=None, keepdims: bool = False) -> Tensor:
    """The maximum over an axis, a tuple of axes, or all."""
    require_tensor("amax", x)
    output_shape("amax", x.shape, axis=axis, keepdims=keepdims)
    return Amax(reduced_axes(x.shape, axis), keepdims)(x)


def sum_to(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Sum over the axes along which `shape` was broadcast to the shape of x: broadcasting undone."""
    if x.shape == shape:
        return x
    added = x.ndim - len(shape)
    stretched = (i + added for i, n in enumerate(shape) if n == 1 and x.shape[i + added] != 1)
    return reshape(sum(x, (*range(added), *stretched)), shape)
