"""The state of a gradient check: the functions, their inputs, how these move, and the noise in results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from minialex.checking import constraints
from minialex.checking.constraints import Constraint, Move
from minialex.checking.gradients.differences import ACCURACY, typical_size, unit_of
from minialex.checking.gradients.noise import Distance, noise_at_scales, noise_scales, scatter
from minialex.checking.gradients.returned import as_array, described, one_per_input
from minialex.checking.report import GradcheckError, InputReport, Report
from minialex.checks import in_words
from minialex.errors import MiniAlexError

Arrays = Sequence[np.ndarray]

# Inputs are often drawn from the same seed: upstream gradients from the same stream would be equal to them,
# and a transposed product of the two is symmetric.
_STREAM = 1
# Random moves are multiples of a 64th of their unit: with steps that are powers of two they are exact.
_GRAIN = 64
# Points at which noise is measured, some last bits apart, or further: results that were made of larger
# numbers do not move with those. The inputs themselves are not among them: a difference only there is no
# noise.
_NOISE_POINTS = (-9, -7, -5, -3, -1, 1, 3, 5, 7, 9)
_NOISE_BITS = (2, 4, 6, 8)
# Steps, in units of the inputs, at which a gradient is said to stand still.
_STILL = (2.0**-13, 2.0**-10)
# And at which it is said to move: the terms that absorbed it are of the size of the inputs, or of one.
FAR = (0.25, 1.0, 4.0)
# How many times what it scatters by over those points a gradient may be off by.
_GRADIENT_NOISE = 32


@dataclass
class Check:
    """One check under way: the functions, how they are called, and what to say on failure."""

    forward: Callable[..., np.ndarray]
    vjp: Callable[..., Sequence[np.ndarray | None]]
    inputs: list[np.ndarray]
    wrt: tuple[int, ...]
    dtype: np.dtype
    report: Report
    method: str
    max_skipped: float
    branches: Callable[..., Sequence[np.ndarray]] | None
    reproduce: str
    max_tolerance: float = 1e-3
    min_compared: int = 1
    nondeterminism: float = 0.0
    constraints: Sequence[Constraint] = ()
    accuracy: float | None = None
    random: np.random.Generator = field(init=False)
    raised: tuple[Exception, Arrays] | None = field(init=False, default=None)

    def __post_init__(self):
        self.random = np.random.default_rng([self.report.seed, _STREAM])
        self.constraints = self.constraints or (constraints.free,) * len(self.inputs)
        if self.accuracy is None:
            self.accuracy = min(ACCURACY[self.dtype], self.max_tolerance / 8)
        self.typical = [typical_size(a) if a.dtype.kind == "f" else 1.0 for a in self.inputs]

    def fail(self, check: str, summary: str, *, cause: Exception | None = None, **details) -> NoReturn:
        details = {"step": self.report.step, "seed": self.report.seed} | details
        details |= {"operation": self.report.name, "kernel": self.report.kernel, "reproduce": self.reproduce}
        error = GradcheckError(check, summary, **details)
        if cause is not None:
            raise error from cause
        raise error

    def measure_noise(self) -> None:
        """Evaluate the function near the inputs: by how much its results scatter there."""
        self.samples = [self.try_to_evaluate(inputs).ravel().astype(np.float64) for inputs in self.nearby(1)]
        self.noise = scatter(np.array(self.samples))[0]

    # Calling the functions under check

    def evaluate(self, inputs: Arrays) -> np.ndarray:
        return self.forward(*inputs)

    def try_to_evaluate(self, inputs: Arrays) -> np.ndarray:
        """The result near the inputs, all NaN where forward raises: it may not be defined there."""
        try:
            # The values tell what lies beyond the domain, or overflows.
            with np.errstate(all="ignore"):
                y = self.forward(*inputs)
        except MiniAlexError:
            raise
        except Exception as error:
            self.raised = error, inputs
            return np.full(self.y.shape, np.nan)
        if y.shape != self.y.shape:
            self.fail(
                "result",
                f"forward gives an array of shape {y.shape} near the inputs, and one of {self.y.shape} at "
                f"them; a derivative needs results of one shape",
            )
        return y

    def branches_at(self, inputs: Arrays) -> list[np.ndarray]:
        """Which branches are taken there."""
        with self.told("branches"):
            taken = self.branches(*inputs)
        if not isinstance(taken, list | tuple | np.ndarray):
            raise MiniAlexError(
                "branches must give a list of arrays, one for each choice that forward makes, "
                f"not {in_words(taken)}"
            )
        return [np.array(branch) for branch in taken]

    @contextmanager
    def told(self, what: str) -> Iterator[None]:
        """Turn what a function raises into a report of where it did."""
        try:
            yield
        except MiniAlexError:
            raise
        except Exception as error:
            self.fail("raises", f"{what} raises {type(error).__name__}: {error}", step=None, cause=error)

    def gradients(self, upstream: np.ndarray, inputs: Arrays | None = None) -> list[np.ndarray]:
        """The gradients of the inputs that are checked."""
        with self.told("vjp"):
            results = self.vjp(upstream, *(self.inputs if inputs is None else inputs))
        results = one_per_input(results, len(self.inputs), self.dtype, self.fail)
        return [self._gradient(i, results[i]) for i in self.wrt]

    def try_gradients(self, upstream: np.ndarray, inputs: Arrays) -> list[np.ndarray]:
        """The gradients near the inputs, all NaN where vjp raises: it may not be defined there."""
        try:
            with np.errstate(all="ignore"):
                return self.gradients(upstream, inputs)
        except GradcheckError as error:
            if error.check != "raises":
                raise
            return [np.full(inputs[i].shape, np.nan) for i in self.wrt]

    def _gradient(self, i: int, result) -> np.ndarray:
        if result is None:
            self.fail("values", f"vjp gives None for input {i}, which should be differentiated", input=i)
        gradient = as_array(result, self.dtype)
        if gradient is None or gradient.dtype.kind not in "fciub":
            self.fail(
                "result",
                f"vjp gives {described(gradient)} for input {i}; it should give an array of its shape",
                input=i,
            )
        return gradient

    def upstream(self) -> np.ndarray:
        return self.random.standard_normal(self.y.shape).astype(self.dtype)

    def unit_upstream(self, m: int) -> np.ndarray:
        """1 for the m-th output, else 0."""
        unit = np.zeros_like(self.y)
        unit.flat[m] = 1
        return unit

    # Moving the inputs

    def is_free(self, i: int) -> bool:
        """Whether the elements of input i move one by one."""
        return self.constraints[i] is constraints.free

    def moves(self, i: int) -> int:
        """In how many directions input i moves: its elements, if nothing constrains it."""
        return self.constraints[i].count(self.inputs[i])

    def move(self, i: int, k: int) -> tuple[Move, float]:
        """One of them, and the unit of its step."""
        x = self.inputs[i]
        if self.is_free(i):
            move, size = Move(np.array([k]), np.ones(1)), abs(float(x.flat[k]))
        else:
            move = self.constraints[i].move(x, k)
            size = float(np.abs(x.flat[move.indices]).max(initial=0))
        return move, unit_of(size, self.typical[i])

    def random_move(self, i: int, sparse: bool = False) -> Move:
        """All elements of input i at once, each by its own unit times a random number from -1 to 1.

        If `sparse`, a random half of them stays where it is.
        """
        x = self.inputs[i]
        count = self.moves(i)
        if self.is_free(i):
            return Move(np.arange(x.size), self.units(i) * self._coefficients(count, sparse))
        direction = np.zeros(x.size)
        for k, coefficient in enumerate(self._coefficients(count, sparse)):
            move, unit = self.move(i, k)
            direction[move.indices] += coefficient * unit * move.weights
        return Move(np.arange(x.size), direction)

    def units(self, i: int) -> np.ndarray:
        """The units of all elements of input i."""
        sizes = np.abs(self.inputs[i].ravel().astype(np.float64))
        sizes = np.maximum(np.where(np.isfinite(sizes), sizes, 0.0), self.typical[i])
        return 2.0 ** np.floor(np.log2(sizes))

    def _coefficients(self, count: int, sparse: bool) -> np.ndarray:
        found = self.random.integers(_GRAIN // 4, _GRAIN + 1, count) / _GRAIN
        found *= self.random.choice([-1.0, 1.0], count)
        return found * self.random.integers(0, 2, count) if sparse else found

    def moved(self, i: int, move: Move, unit: float, t: complex | float) -> np.ndarray:
        """Input i after a step of t units along a move."""
        x = self.inputs[i]
        moved = x.astype(complex) if isinstance(t, complex) else x.copy()
        # In float64, and rounded once.
        moved.flat[move.indices] = x.flat[move.indices] + t * unit * move.weights
        return moved

    def reach(self, i: int, move: Move, unit: float = 1.0) -> float:
        """The largest step along a move, in its unit, that keeps input i within its domain."""
        return self.constraints[i].reach(self.inputs[i], move) / unit

    # The noise in results and gradients

    def result_noise(self, distance: Distance) -> np.ndarray:
        """The noise of each output; far away also of those that do not scatter near the inputs."""
        values = [
            np.array([self.try_to_evaluate(inputs).ravel() for inputs in self.nearby(scale)], np.float64)
            for scale in noise_scales(self.dtype, distance)
        ]
        return noise_at_scales(values, self.dtype)

    def gradient_noise(self, upstream: np.ndarray, distance: Distance = Distance.BESIDE) -> list[np.ndarray]:
        """What each gradient may be off by through rounding: the noise of what vjp gives near the inputs.

        Far away also of gradients that do not scatter near the inputs.
        """
        eps = float(np.finfo(self.dtype).eps)
        noise: list[list[np.ndarray]] = [[] for _ in self.wrt]
        for scale in noise_scales(self.dtype, distance):
            values: list[list[np.ndarray]] = [[] for _ in self.wrt]
            for inputs in self.nearby(scale):
                near = upstream * (1 + eps * self.random.integers(-1, 2, upstream.shape))
                gradients = self.try_gradients(near.astype(self.dtype), inputs)
                for collected, gradient in zip(values, gradients, strict=True):
                    collected.append(gradient.astype(np.float64))
            for found, each in zip(noise, values, strict=True):
                found.append(np.array(each))
        return [_GRADIENT_NOISE * noise_at_scales(each, self.dtype) for each in noise]

    def absorbed_in_gradient(self, upstream: np.ndarray) -> list[np.ndarray]:
        """The size of the terms of each gradient that have absorbed it, as in sigmoid(40) - 1; 0 if none did.

        Then it stands still while the inputs move by a thousandth of their unit. What it moves by within some
        units is what it was made of, and that was rounded.
        """
        here = self.gradients(upstream)
        moves = {i: self.random_move(i) for i in self.wrt}
        still = [np.ones(g.shape, bool) for g in here]
        moved = [np.zeros(g.shape) for g in here]
        for step in (sign * size for size in (*_STILL, *FAR) for sign in (1.0, -1.0)):
            inputs = list(self.inputs)
            for i, move in moves.items():
                if abs(step) < self.reach(i, move):
                    inputs[i] = self.moved(i, move, 1.0, step)
            there = self.try_gradients(upstream, inputs)
            for a, b, same, most in zip(here, there, still, moved, strict=True):
                if abs(step) in _STILL:
                    same &= a == b
                else:
                    with np.errstate(invalid="ignore", over="ignore"):
                        distance = np.abs(b.astype(np.float64) - a)
                    np.maximum(most, np.where(np.isfinite(distance), distance, 0.0), out=most)
        return [most * same for most, same in zip(moved, still, strict=True)]

    def nearby(self, scale: int) -> Iterator[list[np.ndarray]]:
        """The inputs, moving together, at equidistant points some last bits apart, times a scale."""
        step = scale * float(np.finfo(self.dtype).eps)
        moves = {}
        for i in self.wrt:
            move = self.random_move(i)
            if self.is_free(i):
                # Whole numbers of last bits: no point is rounded.
                bits = self.random.choice(_NOISE_BITS, move.weights.size) * np.sign(move.weights)
                move = Move(move.indices, self.units(i) * bits)
            moves[i] = move
        for k in _NOISE_POINTS:
            moved = list(self.inputs)
            for i, move in moves.items():
                moved[i] = self.moved(i, move, step, float(k))
            yield moved

    def entry(self, i: int) -> InputReport:
        """The part of the report that is about input i."""
        for entry in self.report.inputs:
            if entry.input == i:
                return entry
        self.report.inputs.append(InputReport(i))
        return self.report.inputs[-1]
