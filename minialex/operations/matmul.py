"""The matrix product, of two matrices or of two stacks of them."""

from __future__ import annotations

import math

import numpy as np

from minialex.autograd import Operation
from minialex.errors import ShapeError
from minialex.kernels import output_shape
from minialex.kernels.matmul import FORWARD
from minialex.operations.joining import stack
from minialex.operations.layout import reshape, transpose
from minialex.operations.reduction import broadcast_to
from minialex.tensor import Tensor, as_tensor


class MatMul(Operation):
    saved_inputs = (0, 1)

    def forward(self, a, b):
        output_shape("matmul", a.shape, b.shape)
        return self.kernel(FORWARD, a, b)

    def backward(self, g):
        a, b = self.saved
        ga = matmul(g, transpose(b)) if self.needs(0) else None
        gb = matmul(transpose(a), g) if self.needs(1) else None
        return ga, gb


def matmul(a, b) -> Tensor:
    """a @ b, of which one may be an array; NumPy's and PyTorch's rules.

    Two matrices (M, K) and (K, N) give (M, N). A vector is a row on the left and a column on the right, and
    its axis is left out of the result. With more axes, those before the last two are broadcast: a product of
    matrices for each, one after the other.

    Raises
    ------
    ShapeError
        If the inner lengths differ, or an operand has no axes.
    """
    like = a if isinstance(a, Tensor) else b
    a, b = as_tensor(a, like), as_tensor(b, like)
    if a.ndim == b.ndim == 2:
        return MatMul()(a, b)
    if not a.ndim or not b.ndim:
        raise ShapeError(f"matmul: {a.shape} @ {b.shape}: both must have axes; multiply by a number with *")
    rows = reshape(a, (1, -1)) if a.ndim == 1 else a
    columns = reshape(b, (-1, 1)) if b.ndim == 1 else b
    y = _stacked(rows, columns)
    shape = y.shape[:-2] + (() if a.ndim == 1 else y.shape[-2:-1]) + (() if b.ndim == 1 else y.shape[-1:])
    return reshape(y, shape)


def _stacked(a: Tensor, b: Tensor) -> Tensor:
    """The products of two stacks of matrices (..., M, K) and (..., K, N)."""
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"matmul: {a.shape} @ {b.shape}: the inner lengths {a.shape[-1]} and {b.shape[-2]} differ"
        )
    if b.ndim == 2:
        # One matrix for all: the stack is a tall matrix.
        y = MatMul()(reshape(a, (math.prod(a.shape[:-1]), a.shape[-1])), b)
        return reshape(y, (*a.shape[:-1], b.shape[-1]))
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ShapeError(
            f"matmul: {a.shape} @ {b.shape}: the axes before the matrices do not broadcast"
        ) from None
    count = math.prod(batch)
    pairs = (reshape(broadcast_to(x, (*batch, *x.shape[-2:])), (count, *x.shape[-2:])) for x in (a, b))
    if not count:
        return reshape(a, (0,)).sum() + broadcast_to(
            reshape(b, (0,)).sum(), (*batch, a.shape[-2], b.shape[-1])
        )
    products = [MatMul()(left, right) for left, right in zip(*pairs, strict=True)]
    return reshape(stack(products), (*batch, a.shape[-2], b.shape[-1]))
