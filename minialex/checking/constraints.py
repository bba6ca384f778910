"""Inputs that may not move freely: positive ones, symmetric matrices, points of a simplex.

A derivative by one element of a symmetric matrix means nothing to a function that reads one triangle only,
and x - h may lie where a logarithm is not defined. A constraint says along which directions an input may
move, and how far; a check then compares the derivatives along these.

    ma.check_vjp(np.linalg.cholesky, vjp, [a], constraints=[constraints.positive_definite])

Along a direction d the analytic derivative is the gradient's product with d: of a gradient of a symmetric
matrix only the symmetric part is compared, however it is divided between the two triangles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from minialex.checks import in_words, is_int, is_number
from minialex.errors import MiniAlexError


@dataclass(frozen=True)
class Move:
    """A direction in which an input moves.

    Attributes
    ----------
    indices : int (K,)
        The elements that move, in C order.
    weights : float64 (K,)
        By how much, for each unit of the step.
    """

    indices: np.ndarray
    weights: np.ndarray


class Constraint:
    """Which moves of an input stay in its domain. By itself it constrains nothing."""

    name = "free"

    def violation(self, x: np.ndarray) -> str | None:
        """What is wrong with x itself; None if it lies in the domain."""
        return None

    def count(self, x: np.ndarray) -> int:
        """How many moves there are."""
        return x.size

    def move(self, x: np.ndarray, k: int) -> Move:
        """The k-th of them."""
        return Move(np.array([k]), np.ones(1))

    def reach(self, x: np.ndarray, move: Move) -> float:
        """How far x may move along it, forth and back, without leaving the domain."""
        return math.inf

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, repr=False)
class _Bounded(Constraint):
    low: float
    high: float
    name: str

    def violation(self, x):
        outside = x[~((x > self.low) & (x < self.high))]
        return f"{outside[0]!s} is not between {self.low:g} and {self.high:g}" if outside.size else None

    def reach(self, x, move):
        here, size = x.flat[move.indices].astype(float), np.abs(move.weights)
        room = np.minimum(here - self.low, self.high - here)[size > 0] / size[size > 0]
        return float(room.min(initial=math.inf))


class _Matrices(Constraint):
    """Of square matrices, in the last two axes."""

    def violation(self, x):
        if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
            return f"its shape {x.shape} is not that of square matrices"
        if not np.array_equal(x, np.swapaxes(x, -1, -2)):
            return "it is not symmetric to the last bit: take (a + a.T) / 2"
        return None

    def count(self, x):
        n = x.shape[-1]
        return math.prod(x.shape[:-2]) * (n * (n + 1) // 2)

    def move(self, x, k):
        n = x.shape[-1]
        matrix, k = divmod(k, n * (n + 1) // 2)
        rows, columns = np.tril_indices(n)
        i, j = int(rows[k]), int(columns[k])
        first = matrix * n * n
        indices = [first + i * n + j] if i == j else [first + i * n + j, first + j * n + i]
        return Move(np.array(indices), np.ones(len(indices)))


class _Symmetric(_Matrices):
    name = "symmetric"


class _PositiveDefinite(_Matrices):
    name = "positive_definite"

    def violation(self, x):
        wrong = super().violation(x)
        if wrong is None and x.size and float(np.linalg.eigvalsh(x).min()) <= 0:
            return f"its smallest eigenvalue is {float(np.linalg.eigvalsh(x).min()):.3g}, not above 0"
        return wrong

    def reach(self, x, move):
        # An eigenvalue moves by the spectral norm of what is added, at most; half of the way keeps it
        # regular.
        norm = float(np.linalg.norm(move.weights))
        return float(np.linalg.eigvalsh(x).min()) / norm / 2 if norm else math.inf


class _Simplex(Constraint):
    name = "simplex"

    def violation(self, x):
        if x.ndim < 1 or not x.size:
            return f"its shape {x.shape} has no last axis with elements"
        if (x <= 0).any():
            return f"{float(x.min())!r} is not above 0: a point inside the simplex is needed"
        worst = float(np.abs(x.sum(axis=-1) - 1).max())
        limit = 16 * x.shape[-1] * float(np.finfo(x.dtype).eps)
        return f"its last axis does not add up to 1: {worst:.3g} off" if worst > limit else None

    def count(self, x):
        return x.size // x.shape[-1] * (x.shape[-1] - 1)

    def move(self, x, k):
        line, i = divmod(k, x.shape[-1] - 1)
        first = line * x.shape[-1] + i
        return Move(np.array([first, first + 1]), np.array([1.0, -1.0]))

    def reach(self, x, move):
        size = np.abs(move.weights)
        return float((x.flat[move.indices][size > 0] / size[size > 0]).min(initial=math.inf))


@dataclass(frozen=True, repr=False)
class _DependentColumns(Constraint):
    columns: Mapping[int, Mapping[int, float]]
    name: str = "dependent_columns"

    def violation(self, x):
        if x.ndim < 2:
            return f"its shape {x.shape} is not that of matrices"
        n = x.shape[-1]
        for k, terms in self.columns.items():
            if not all(0 <= c < n for c in (k, *terms)):
                return f"it has {n} columns, and columns {sorted((k, *terms))} are named"
            expected = sum(c * x[..., j] for j, c in terms.items())
            size = sum(np.abs(c * x[..., j]) for j, c in terms.items())
            if np.any(np.abs(x[..., k] - expected) > 16 * np.finfo(x.dtype).eps * size):
                return f"its column {k} is not the combination {dict(terms)} of other columns"
        return None

    def _free(self, x) -> list[int]:
        return [j for j in range(x.shape[-1]) if j not in self.columns]

    def count(self, x):
        return x.size // x.shape[-1] * len(self._free(x))

    def move(self, x, k):
        free = self._free(x)
        row, at = divmod(k, len(free))
        j, first = free[at], row * x.shape[-1]
        moving = {j: 1.0} | {d: float(terms[j]) for d, terms in self.columns.items() if j in terms}
        return Move(np.array([first + c for c in moving]), np.array(list(moving.values())))


@dataclass(frozen=True, repr=False, eq=False)
class _Along(Constraint):
    directions: tuple[np.ndarray, ...]
    name: str = "along"

    def violation(self, x):
        wrong = [d.shape for d in self.directions if d.shape != x.shape]
        return f"its shape is {x.shape}, and that of a direction {wrong[0]}" if wrong else None

    def count(self, x):
        return len(self.directions)

    def move(self, x, k):
        flat = self.directions[k].ravel()
        indices = np.flatnonzero(flat)
        return Move(indices, flat[indices])


free = Constraint()
positive: Constraint = _Bounded(0.0, math.inf, "positive")
"""Every element above 0."""
symmetric: Constraint = _Symmetric()
"""Symmetric matrices, in the last two axes: the two elements of a pair move together."""
positive_definite: Constraint = _PositiveDefinite()
"""Symmetric positive definite matrices, in the last two axes."""
simplex: Constraint = _Simplex()
"""Positive numbers that add up to 1 along the last axis: what one gains, its neighbour loses."""


def bounded(low: float, high: float) -> Constraint:
    """Every element between two numbers, neither of which it may be.

    Raises
    ------
    MiniAlexError
        If these are not two numbers, the smaller one first.
    """
    if not (is_number(low) and is_number(high) and low < high):
        raise MiniAlexError(
            f"bounded: low and high must be two numbers, the smaller one first, not {in_words(low)} and "
            f"{in_words(high)}"
        )
    return _Bounded(float(low), float(high), f"bounded({low!r}, {high!r})")


def dependent_columns(columns: Mapping[int, Mapping[int, float]]) -> Constraint:
    """Matrices some of whose columns are combinations of others: ``{2: {0: 1.0, 1: -2.0}}``.

    They move with the columns that they are made of, so that the rank stays what it is: where it changes,
    pseudo-inverses and projections have no derivative.

    Raises
    ------
    MiniAlexError
        If a column depends on one that depends on others itself.
    """
    good = isinstance(columns, Mapping) and all(
        is_int(k, 0)
        and isinstance(terms, Mapping)
        and all(is_int(j, 0) and is_number(c) for j, c in terms.items())
        for k, terms in columns.items()
    )
    if not good or any(j in columns for terms in columns.values() for j in terms):
        raise MiniAlexError(
            "dependent_columns: columns must be {column: {other column: coefficient}}, where the other "
            f"columns depend on none, not {columns!r}"
        )
    return _DependentColumns(
        {k: dict(terms) for k, terms in columns.items()}, f"dependent_columns({columns!r})"
    )


def along(directions: Sequence[np.ndarray]) -> Constraint:
    """Only along given directions, arrays of the input's shape: the tangents of any other set.

    Raises
    ------
    MiniAlexError
        If there is none, or one is 0 or not finite.
    """
    try:
        arrays = tuple(np.asarray(d, float) for d in directions)
    except (TypeError, ValueError):  # no sequence, or none of numbers
        arrays = ()
    if not arrays or not all(d.any() and np.isfinite(d).all() for d in arrays):
        raise MiniAlexError(
            "along: directions must be arrays of finite numbers, none of which is 0 everywhere, "
            f"not {in_words(directions)}"
        )
    return _Along(arrays)
