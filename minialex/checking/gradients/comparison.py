"""The derivatives of one input from both sides, and what became of each of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from minialex.checking.gradients.differences import Derivative, largest
from minialex.checking.gradients.noise import ROUNDING

# Beside others, a derivative of this share of them need not be known as well as they are.
_SMALL = {np.dtype(np.float64): 1e-3, np.dtype(np.float32): 1e-2}
# What is below this many last bits of the largest term of an output is 0 but for rounding.
NOTHING = 64


class Kind(IntEnum):
    """What became of one derivative.

    It is 0 on both sides; compared; too small beside others of its output and by its element to be known as
    well as they are, or than the slopes beside it; at a kink; or not known well enough to compare with.
    """

    ZERO = 0
    COMPARED = 1
    SMALL = 2
    KINK = 3
    UNCERTAIN = 4

    @property
    def figure(self) -> str:
        """What the report calls the number of those."""
        return ("zeros", "compared", "small", "skipped", "uncertain")[self]


@dataclass
class Comparison:
    """The derivatives of all M outputs along the K moves of one input, from both sides.

    Attributes
    ----------
    input : int
        Its position.
    analytic : float64 (M, K)
        What vjp computes, row by row.
    found : Derivative
        What the differences give, column by column.
    scatter : float64 (M, K)
        What analytic ones may be off by through cancellation in vjp, where that was looked for.
    nothing : float64 (M, K)
        The size that is 0 but for rounding.
    dtype, max_tolerance
        Those of the check.
    """

    input: int
    analytic: np.ndarray
    found: Derivative
    nothing: np.ndarray
    dtype: np.dtype
    max_tolerance: float
    scatter: np.ndarray = field(init=False)

    def __post_init__(self):
        self.scatter = np.zeros_like(self.analytic)

    @property
    def share_of_small(self) -> float:
        """Which share of others a derivative is small beside."""
        return _SMALL[self.dtype]

    @property
    def size(self) -> np.ndarray:
        return np.maximum(np.abs(self.analytic), np.abs(np.where(self.known, self.found.value, 0)))

    @property
    def known(self) -> np.ndarray:
        return np.isfinite(self.found.error)

    @property
    def tolerance(self) -> np.ndarray:
        """How far apart the two may be; infinite where there is nothing to compare with."""
        value = np.abs(np.where(self.known, self.found.value, 0))
        return 4 * self.found.error + ROUNDING * float(np.finfo(self.dtype).eps) * value + self.scatter

    @property
    def distance(self) -> np.ndarray:
        """How far apart they are; 0 where there is nothing to compare with."""
        distance = np.abs(self.analytic - np.where(self.known, self.found.value, self.analytic))
        return np.where(np.isnan(distance), np.inf, distance)

    @property
    def wrong(self) -> np.ndarray:
        return self.distance > self.tolerance

    def kinds(self) -> np.ndarray:
        """The `Kind` of each, as integers (M, K)."""
        size, tolerance = self.size, self.tolerance
        zero = (np.abs(self.analytic) <= self.nothing) & (self.distance <= tolerance) & self.known
        zero &= np.abs(np.where(self.known, self.found.value, np.inf)) <= tolerance
        # What is not known of it must be little beside the slopes of the output, or it does not move at all.
        scale = np.maximum(self.nothing / (NOTHING * float(np.finfo(self.dtype).eps)), self.found.secant)
        zero &= ~self.found.moves | (tolerance <= self.max_tolerance * scale)
        compared = ~zero & (tolerance <= self.max_tolerance * size)
        largest = np.where(compared, size, 0)
        rows, columns = (largest.max(axis=axis, keepdims=True, initial=0) for axis in (1, 0))
        # Small only if what it is by is known from another output.
        small = ~zero & ~compared & self.known & (columns > 0)
        small &= size + tolerance <= self.share_of_small * np.maximum(rows, columns)
        # Or if the function is steeper on both sides of x, nearly a minimum, by more than what is not known.
        smooth = self.known & (2 * self.found.jump <= self.found.error)
        small |= ~zero & ~compared & smooth & (size + tolerance <= self.share_of_small * self.found.secant)
        kinds = np.where(zero, Kind.ZERO, np.where(compared, Kind.COMPARED, Kind.UNCERTAIN))
        kinds = np.where(small, Kind.SMALL, kinds)
        return np.where((kinds == Kind.UNCERTAIN) & ~smooth, Kind.KINK, kinds)


def index_in(shape: tuple[int, ...], element: int) -> tuple[int, ...]:
    """The index of an element that is counted in C order."""
    return tuple(int(k) for k in np.unravel_index(element, shape))


def euclidean_norm(array: np.ndarray) -> float:
    """The Euclidean norm, which does not overflow where the numbers do not."""
    size = largest(array)
    return size * float(np.linalg.norm(array / size)) if size else 0.0
