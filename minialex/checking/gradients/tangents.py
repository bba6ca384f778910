"""A jvp as a function of tangents: called along the moves of its inputs, it gives the Jacobian's columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from minialex.checking.constraints import Constraint, Move, free
from minialex.checking.gradients.check import Arrays
from minialex.checking.gradients.returned import as_array, described, is_number_array
from minialex.checking.report import GradcheckError
from minialex.checking.reproduction import Reproduction


@dataclass
class Product:
    """A jvp, and what belongs to it: called with a tangent for each input that is differentiated.

    Attributes
    ----------
    jvp : callable
    wrt : tuple of int
        The inputs that have tangents.
    dtype : dtype
    name, reproduce : str
        For messages.
    results : list of array
        What forward gives.
    single : bool
        Whether it gives an array, and no tuple.
    """

    jvp: Callable
    wrt: tuple[int, ...]
    dtype: np.dtype
    name: str
    reproduce: str | Reproduction
    results: list[np.ndarray] = field(default_factory=list)
    single: bool = True

    @property
    def size(self) -> int:
        return sum(y.size for y in self.results)

    def fail(self, check: str, summary: str, *, cause: Exception | None = None, **details) -> NoReturn:
        details |= {"operation": self.name, "reproduce": self.reproduce}
        raise GradcheckError(check, summary, **details) from cause

    def __call__(self, tangents: Arrays, inputs: Arrays) -> list[np.ndarray]:
        """J v, an array for each result of forward; their shapes and dtypes are not looked at."""
        whole: list[np.ndarray | None] = [None] * len(inputs)
        for i, tangent in zip(self.wrt, tangents, strict=True):
            whole[i] = tangent
        before = [tangent.tobytes() for tangent in tangents]
        found = self.jvp(tuple(whole), *inputs)
        for i, tangent, bits in zip(self.wrt, tangents, before, strict=True):
            if tangent.tobytes() != bits:
                self.fail("changed input", f"jvp changes tangent {i}")
        if self.single:
            found = (found,)
        elif not isinstance(found, tuple | list) or len(found) != len(self.results):
            several = isinstance(found, tuple | list)
            given = f"{len(found)} arrays" if several else described(as_array(found, self.dtype))
            self.fail(
                "result",
                f"jvp gives {given}; it should give a tuple of {len(self.results)} arrays, as the function",
            )
        return [self._array(i, each) for i, each in enumerate(found)]

    def _array(self, i: int, given) -> np.ndarray:
        array = None if isinstance(given, tuple) else as_array(given, self.dtype)
        if not is_number_array(array):
            what = "a tuple" if isinstance(given, tuple) else described(array)
            which = "" if self.single else f" for result {i}"
            shape = self.results[i].shape
            self.fail("result", f"jvp gives {what}{which}; it should give an array of shape {shape}")
        return array

    def vector(self, tangents: Arrays, inputs: Arrays) -> np.ndarray:
        """J v as one vector of float64."""
        found = self(tangents, inputs)
        for i, (array, y) in enumerate(zip(found, self.results, strict=True)):
            if array.shape != y.shape:
                which = "" if self.single else f" for result {i}"
                self.fail("shape", f"jvp gives an array of shape {array.shape}{which}, not {y.shape}")
        return np.concatenate([array.ravel().astype(np.float64) for array in found])


class Columns:
    """The Jacobian along the moves of each input, column by column, and the vjp that it makes.

    Along moves d₁, d₂, ... of an input, which need not be its elements, a jvp gives only J dₖ. A gradient g
    of the input that has the products <g, dₖ> = <u, J dₖ> is all that a comparison along them needs: the
    smallest.
    """

    def __init__(self, product: Product, constraints: Sequence[Constraint]):
        self.product, self.constraints = product, constraints
        self._inverses: dict[int, np.ndarray] = {}
        self._kept: tuple[tuple, list[np.ndarray]] | None = None

    def is_free(self, i: int) -> bool:
        """Whether the elements of input i move one by one."""
        return self.constraints[i] is free

    def moves_freely(self, i: int) -> bool:
        """Whether no constraint keeps input i where it is, whatever it is moved along."""
        constraint = self.constraints[i]
        base = constraint.base if isinstance(constraint, FewDirections) else constraint
        return base is free

    def tangents(self, i: int, x: np.ndarray) -> Iterator[np.ndarray]:
        """The moves of input i, one tangent after another."""
        for k in range(self.constraints[i].count(x)):
            move = self.constraints[i].move(x, k)
            tangent = np.zeros(x.shape, self.product.dtype)
            tangent.flat[move.indices] = move.weights
            yield tangent

    def at(self, inputs: Arrays) -> list[np.ndarray]:
        """The derivatives (M, K) of all outputs along the moves of each input; kept for the last inputs."""
        key = tuple((a.dtype.str, a.shape, a.tobytes()) for a in inputs)
        if self._kept is None or self._kept[0] != key:
            self._kept = key, [self._columns(i, inputs) for i in self.product.wrt]
        return self._kept[1]

    def _columns(self, i: int, inputs: Arrays) -> np.ndarray:
        at = self.product.wrt.index(i)
        tangents = [np.zeros(inputs[j].shape, self.product.dtype) for j in self.product.wrt]
        whole = np.empty((self.product.size, self.constraints[i].count(inputs[i])))
        for k, tangent in enumerate(self.tangents(i, inputs[i])):
            tangents[at] = tangent
            whole[:, k] = self.product.vector(tangents, inputs)
        return whole

    def slopes(self, upstream: np.ndarray, inputs: Arrays) -> list[np.ndarray]:
        """<u, J dₖ> for the moves of each input, arrays (K,)."""
        return [upstream @ columns for columns in self.at(inputs)]

    def vjp(self, upstream, *inputs: np.ndarray) -> tuple[np.ndarray | None, ...]:
        """The gradients that have these slopes, as a vjp gives them; None for what is not differentiated."""
        parts = (upstream,) if self.product.single else upstream
        joined = np.concatenate([np.ravel(part).astype(np.float64) for part in parts])
        found: list[np.ndarray | None] = [None] * len(inputs)
        for i, slopes in zip(self.product.wrt, self.slopes(joined, inputs), strict=True):
            gradient = self._gradient(i, slopes, inputs[i])
            found[i] = gradient.reshape(inputs[i].shape).astype(self.product.dtype)
        return tuple(found)

    def _gradient(self, i: int, slopes: np.ndarray, x: np.ndarray) -> np.ndarray:
        if self.is_free(i):
            return slopes
        if not slopes.size:
            return np.zeros(x.size)
        if i not in self._inverses:
            moves = np.array([tangent.ravel() for tangent in self.tangents(i, x)], np.float64)
            # Moves may be of very different sizes; those of one size are far from parallel.
            sizes = np.linalg.norm(moves, axis=1)
            self._inverses[i] = np.linalg.pinv(moves / sizes[:, None]) / sizes
        return self._inverses[i] @ slopes


class FewDirections(Constraint):
    """A few moves in place of all: each joins a random share of them, and every element moves along one."""

    def __init__(self, base: Constraint, x: np.ndarray, count: int, random: np.random.Generator):
        self.base, self.moves = base, list(_joined_moves(base, x, count, random))

    @property
    def name(self) -> str:
        return f"{len(self.moves)} random directions"

    def violation(self, x):
        return self.base.violation(x)

    def count(self, x):
        return len(self.moves)

    def move(self, x, k):
        return self.moves[k]

    def reach(self, x, move):
        return self.base.reach(x, move)


def _joined_moves(base: Constraint, x: np.ndarray, count: int, random: np.random.Generator) -> Iterator[Move]:
    total = base.count(x)
    group = random.permutation(total) % count
    weights = random.uniform(0.25, 1, total) * random.choice([-1.0, 1.0], total)
    if base is free:
        # In proportion to the elements, so that small ones are not moved by a multiple of themselves.
        flat = np.abs(x.ravel().astype(np.float64))
        typical = float(np.sqrt(np.mean(flat**2))) if flat.any() else 1.0
        weights *= np.where(flat > 0, flat, typical)
        for g in range(min(count, total)):
            indices = np.flatnonzero(group == g)
            yield Move(indices, weights[indices])
        return
    for g in range(min(count, total)):
        direction = np.zeros(x.size)
        for k in np.flatnonzero(group == g):
            move = base.move(x, int(k))
            direction[move.indices] += weights[k] * move.weights
        indices = np.flatnonzero(direction)
        yield Move(indices, direction[indices])


def along_tangents(tangents: Iterator[np.ndarray], coefficients: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The tangent at x that has these coefficients along others."""
    total = np.zeros(x.shape, x.dtype)
    for coefficient, tangent in zip(coefficients, tangents, strict=True):
        total += coefficient * tangent
    return total
