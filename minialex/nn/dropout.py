"""Dropout, active only in training.

``inplace=True`` is accepted and without effect, as with the activations.
"""

from __future__ import annotations

from minialex import functional as F
from minialex.checks import require_number
from minialex.errors import ShapeError
from minialex.nn.layer import InPlace
from minialex.tensor import Tensor


class Dropout(InPlace):
    """Dropout, active only in training; see `minialex.functional.dropout`.

    Parameters
    ----------
    p : float
        The probability of zero.
    inplace : bool
        Without effect.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__(inplace)
        require_number("p", p, 0, 1, error=ShapeError)
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}" + (", inplace=True" if self.inplace else "")


class Dropout2d(Dropout):
    """Dropout of whole channels (Tompson et al. 2015); see `minialex.functional.dropout2d`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout2d(x, self.p, self.training)
