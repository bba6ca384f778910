"""Variance, standard deviation and norms: compositions of sums."""

from __future__ import annotations

import math

from minialex.checks import is_int, is_number
from minialex.errors import ShapeError
from minialex.kernels.reduction.shape import reduced_axes
from minialex.operations.axes import takes_dim
from minialex.operations.elementwise import absolute, power, sqrt
from minialex.operations.reduction import amax, mean, sum
from minialex.operations.selection import amin, where
from minialex.tensor import Tensor, require_tensor


@takes_dim
def var(
    x: Tensor, axis=None, correction: int = 1, keepdims: bool = False, *, unbiased: bool | None = None
) -> Tensor:
    """The variance over an axis, a tuple of axes, or all: sum((x - mean)**2) / (n - correction).

    PyTorch's: with Bessel's correction by default (``np.var`` has none).
    """
    require_tensor("var", x)
    if isinstance(axis, bool):
        axis, unbiased = None, axis
    correction = correction if unbiased is None else int(unbiased)
    if not is_int(correction, 0):
        raise ShapeError(f"var: correction must be an integer 0 or more, not {correction!r}")
    n = math.prod(x.shape[i] for i in reduced_axes(x.shape, axis))
    deviations = x - mean(x, axis, True)
    squares = sum(deviations * deviations, axis, keepdims)
    return squares / max(n - correction, 0)


@takes_dim
def std(x: Tensor, axis=None, correction: int = 1, keepdims: bool = False, **options) -> Tensor:
    """The standard deviation, the square root of `var`; at 0 it has no derivative."""
    return sqrt(var(x, axis, correction, keepdims, **options))


@takes_dim
def norm(x: Tensor, p: float | str = 2, axis=None, keepdims: bool = False) -> Tensor:
    """The p-norm of the elements over an axis, a tuple of axes, or all: sum(abs(x)**p)**(1 / p).

    Parameters
    ----------
    x : Tensor, any shape
    p : float, "fro", inf or -inf
        "fro" is 2; the infinities give the largest and the least absolute value.

    Notes
    -----
    The gradient of the 2-norm at 0 is 0 (PyTorch's convention).
    """
    require_tensor("norm", x)
    p = 2 if p == "fro" else p
    if isinstance(p, str) or not is_number(p) or p == 0:
        raise ShapeError(f'norm: p must be a number other than 0, or "fro", not {p!r}')
    if math.isinf(p):
        return (amax if p > 0 else amin)(absolute(x), axis, keepdims)
    if p == 1:
        return sum(absolute(x), axis, keepdims)
    total = sum(x * x if p == 2 else power(absolute(x), p), axis, keepdims)
    zero = total == 0
    # Roots have no derivative at 0: one of 1 is taken there, and thrown away.
    safe = where(zero, 1, total)
    return where(zero, 0, sqrt(safe) if p == 2 else power(safe, 1 / p))
