"""Dropout with a mask from a counter-based generator."""

from __future__ import annotations

from minialex.autograd import Operation
from minialex.checks import require_flag, require_number
from minialex.devices import array_module
from minialex.errors import ShapeError
from minialex.kernels.dropout import FORWARD
from minialex.operations.inputs import require_floats
from minialex.operations.layout import reshape
from minialex.random import next_stream
from minialex.tensor import Tensor


class Dropout(Operation):
    """A product with a mask that is a pure function of (seed, offset): linear, its own gradient."""

    def __init__(self, p: float, seed: int, offset: int):
        self.parameters = {"p": p, "seed": seed, "offset": offset}

    def forward(self, x):
        return self.kernel(FORWARD, x, **self.parameters)

    def backward(self, g):
        return (Dropout(**self.parameters)(g),)


def dropout2d(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Set whole channels (N, C) to zero with probability p, and scale the others; see `dropout`."""
    require_floats("dropout2d", x)
    if x.ndim < 3:
        raise ShapeError(f"dropout2d: the input must be (N, C, ...) with an axis of cells, not {x.shape}")
    if p == 0 or not require_flag("dropout2d: training", training, error=ShapeError):
        return dropout(x, p, training)
    mask = dropout(Tensor(array_module(x.device).ones(x.shape[:2], x.dtype), device=x.device), p)
    return x * reshape(mask, (*x.shape[:2], *(1,) * (x.ndim - 2)))


def dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Set each element to zero with probability p, and scale the others by 1 / (1 - p).

    The mask follows from `minialex.manual_seed` and the number of dropout calls since: the same on
    every device and for any number of threads. See `minialex.kernels.dropout`.

    Parameters
    ----------
    x : Tensor, any shape
    p : float
        0 <= p <= 1.
    training : bool
        False leaves x as it is.
    """
    require_floats("dropout", x)
    require_number("dropout: p", p, 0, 1, error=ShapeError)
    if not require_flag("dropout: training", training, error=ShapeError) or p == 0:
        return x
    if p == 1:
        return Dropout(1.0, 0, 0)(x)
    return Dropout(p, *next_stream())(x)
