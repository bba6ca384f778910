"""Dropout with a mask from a counter-based generator."""

from __future__ import annotations

from minialex.autograd import Operation
from minialex.checks import require_number
from minialex.errors import ShapeError
from minialex.kernels.dropout import FORWARD
from minialex.random import next_stream
from minialex.tensor import Tensor, require_tensor


class Dropout(Operation):
    """A product with a mask that is a pure function of (seed, offset): linear, its own gradient."""

    def __init__(self, p: float, seed: int, offset: int):
        self.parameters = {"p": p, "seed": seed, "offset": offset}

    def forward(self, x):
        return self.kernel(FORWARD, x, **self.parameters)

    def backward(self, g):
        return (Dropout(**self.parameters)(g),)


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
    require_tensor("dropout", x)
    require_number("dropout: p", p, 0, 1, error=ShapeError)
    if not training or p == 0:
        return x
    if p == 1:
        return Dropout(1.0, 0, 0)(x)
    return Dropout(p, *next_stream())(x)
