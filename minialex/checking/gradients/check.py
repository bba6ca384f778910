"""One gradient check under way: the functions, how they are called, and in which order they are tried.

Values alone do not make a gradient right. A check goes through, in this order,

1. forward: an array of the dtype asked for, finite, the same twice, inputs untouched;
2. the gradients: one an input, of its shape and dtype, finite; inputs and upstream untouched; no memory
   shared with the inputs, each other or the next call's;
3. the same bits when it is run again, after freed memory was filled with other garbage;
4. zero for a zero upstream gradient, and linear in the upstream gradient;
5. the same for inputs and upstream gradients that are strided, transposed, broadcast or read-only;
6. the values: against numerical derivatives, one by one (`differences`), and for random upstream gradients;
7. the same along random directions with a much smaller step, and beside the inputs.

The first five are in `behaviour`, the sixth in `values` or `random_directions`, the last in `elsewhere`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from minialex.checking import constraints
from minialex.checking.constraints import Constraint, Move
from minialex.checking.gradients import behaviour, elsewhere, random_directions, values
from minialex.checking.gradients.differences import (
    ACCURACY,
    Derivative,
    central,
    complex_step,
    on_grid,
    typical_size,
    unit_of,
)
from minialex.checking.gradients.noise import Distance, noise_at_scales, noise_scales, residue, scatter
from minialex.checking.report import GradcheckError, InputReport, Report
from minialex.checks import in_words
from minialex.errors import MiniAlexError
from minialex.tensor import Tensor

Arrays = Sequence[np.ndarray]

# Inputs are often drawn from the same seed: upstream gradients from the same stream would be equal to them,
# and a transposed product of the two is symmetric.
_STREAM = 1
# Random moves are multiples of a 64th of their unit: with steps that are powers of two they are exact.
_GRAIN = 64
# Points at which noise is measured, some last bits apart, or further: results that were made of larger
# numbers do not move with these.
# The inputs themselves are not among them: what only there differs is no noise.
_NOISE_POINTS = (-9, -7, -5, -3, -1, 1, 3, 5, 7, 9)
_NOISE_BITS = (2, 4, 6, 8)
_FITTED = 24
# Noise within a step is looked for within wider ones, too: so much wider; and up to such a step, if it is no
# more than so many last bits of what an output is some units away.
_CLOSER = 2.0**-8
_WIDER = (1, 2**4, 2**6, 2**8, 2**10, 2**12, 2**14)
_WIDE = {np.dtype(np.float64): 2.0**-5, np.dtype(np.float32): 2.0**-2}
_ROUNDED = 16
_ROUGH = 2.0**-8
# Steps, in units of the inputs, at which a gradient is said to stand still.
_STILL = (2.0**-13, 2.0**-10)
# And at which it is said to move: the terms that absorbed it are of the size of the inputs, or of one.
_FAR = (0.25, 1.0, 4.0)
# How much more than what it scatters by over those points a gradient may be off by.
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

    def fail(self, check: str, summary: str, **details) -> None:
        raise GradcheckError(
            check,
            summary,
            operation=self.report.name,
            kernel=self.report.kernel,
            seed=self.report.seed,
            reproduce=self.reproduce,
            **{"step": self.report.step} | details,
        )

    def run(self) -> None:
        """Go through all checks; the report of the check is complete then.

        Raises
        ------
        GradcheckError
            At the first that fails.
        """
        self.begin()
        behaviour.check_gradients(self)
        behaviour.check_repeatable(self)
        behaviour.check_linear(self)
        behaviour.check_sizes(self)
        behaviour.check_layouts(self)
        if self.report.mode == "jacobian":
            values.check_jacobian(self)
        else:
            random_directions.check_directions(self)
        self.require_compared()
        elsewhere.check_analytic(self)
        elsewhere.check_small_steps(self)
        elsewhere.check_other_inputs(self)

    def begin(self) -> None:
        """Evaluate the function, and measure its noise: what all other checks start from."""
        self.y = behaviour.check_forward(self)
        if self.branches is not None:
            self.branch = self.branches_at(self.inputs)
        self.samples = [self.try_to_evaluate(inputs).ravel().astype(np.float64) for inputs in self.nearby(1)]
        self.noise = scatter(np.array(self.samples))[0]

    def require_compared(self) -> None:
        """Refuse a check that has compared nothing: it would pass whatever the gradient is."""
        report = self.report
        if report.compared >= self.min_compared:
            return
        found = f"{report.compared:,}" if report.compared else "no"
        why = [f"{report.zeros:,} are 0 on both sides"] if report.zeros else []
        why += [f"{report.skipped:,} lie at kinks"] if report.skipped else []
        why += [f"{report.uncertain:,} are too uncertain"] if report.uncertain else []
        self.fail(
            "nothing compared",
            f"{found} derivatives that are not 0 could be compared, of {self.min_compared:,} asked for"
            f"{': ' if why else ''}{', '.join(why)}. Take inputs on which the result depends; or "
            f"min_compared=0, "
            "if nothing is to be compared",
        )

    # Calling the functions under check

    def evaluate(self, inputs: Arrays) -> np.ndarray:
        return self.forward(*inputs)

    def try_to_evaluate(self, inputs: Arrays) -> np.ndarray:
        """The result near the inputs, all NaN where forward raises: it may not be defined there."""
        try:
            # What lies beyond the domain, or overflows, is told by the values.
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
                f"branches gives {in_words(taken)}; it should give a list of arrays, one for each choice "
                f"that forward makes"
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
            raise GradcheckError(
                "raises",
                f"{what} raises {type(error).__name__}: {error}",
                operation=self.report.name,
                kernel=self.report.kernel,
                seed=self.report.seed,
                reproduce=self.reproduce,
            ) from error

    def gradients(self, upstream: np.ndarray, inputs: Arrays | None = None) -> list[np.ndarray]:
        """The gradients of the inputs that are checked."""
        with self.told("vjp"):
            results = self.vjp(upstream, *(self.inputs if inputs is None else inputs))
        if not isinstance(results, tuple | list) and results is not None and len(self.inputs) == 1:
            results = (results,)
        count = len(self.inputs)
        if not isinstance(results, tuple | list) or len(results) != count:
            several = isinstance(results, tuple | list)
            given = f"{len(results)} gradients" if several else described(as_array(results, self.dtype))
            self.fail(
                "result",
                f"vjp gives {given} for {count} input{'s' * (count != 1)}; it should return a tuple with one "
                "gradient for each, None for those that are not differentiated",
            )
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
            self.fail("values", f"vjp gives None for input {i}, which is to be differentiated", input=i)
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

    def along(self, i: int, move: Move, unit: float) -> Callable[[complex | float], list[np.ndarray]]:
        """The inputs as a function of a step along a move, in that unit."""
        x = self.inputs[i]

        def inputs(t):
            moved = list(self.inputs)
            moved[i] = x.astype(complex) if isinstance(t, complex) else x.copy()
            # In float64, and rounded once.
            moved[i].flat[move.indices] = x.flat[move.indices] + t * unit * move.weights
            return moved

        return inputs

    def reach(self, i: int, move: Move, unit: float) -> float:
        """The largest step along a move, in its unit, that keeps input i within its domain."""
        return self.constraints[i].reach(self.inputs[i], move) / unit

    def position(self, i: int, move: Move, unit: float) -> float:
        """|x| of what moves, in the unit of the step."""
        weights = np.abs(move.weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            sizes = np.abs(self.inputs[i].flat[move.indices]) / np.where(weights > 0, weights, np.inf)
        return float(np.where(np.isfinite(sizes), sizes, 0.0).max(initial=0)) / unit

    # Numerical derivatives, and the noise in them

    def noise_along(
        self,
        i: int,
        move: Move,
        unit: float,
        step: float,
        weights: np.ndarray | None = None,
        *,
        wide: bool = False,
    ) -> np.ndarray:
        """The noise of each output, or of their weighted sum, within a step.

        Results may be so coarse that they take few values there, and do not scatter. Within larger steps
        they do: it counts where two of those agree on it, and both see scatter and no bend. If `wide`, much
        larger ones are tried.
        """
        size = self.size_around(i, move, unit)
        size = size if weights is None else np.abs(weights[None]) @ size
        most = _ROUNDED * float(np.finfo(self.dtype).eps) * size
        part = np.maximum(np.abs(self.y.ravel().astype(np.float64)), 1.0)
        part = _ROUGH * (part if weights is None else np.abs(weights[None]) @ part)

        def agreed(scales: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
            found = [self._residue(i, move, unit, scale * step, weights) for scale in scales]
            coarse, rough = found[0][2], []
            for scale, (size, is_rough, _) in zip(scales, found, strict=True):
                # Functions that oscillate scatter from afar, too. Rounding is some last bits of what a result
                # is made of; or within the step results take few values, and they do not scatter far.
                stairs = coarse & (scale * step <= _WIDE[self.dtype]) & (size <= part)
                rough.append(np.where(is_rough & (stairs | (size <= most)), size, 0.0))
            pairs = map(np.minimum, rough[1:], rough[2:])
            return found[0][0], np.maximum.reduce([np.zeros_like(rough[0]), *pairs])

        here, wider = agreed(_WIDER)
        # What is less within a smaller step is no rounding, unless the results stand on few stairs there.
        closer, _, coarse = self._residue(i, move, unit, step * _CLOSER, weights)
        noise = np.maximum(np.where(coarse, here, np.minimum(here, 4 * closer)), wider)
        if wide and step < _WIDE[self.dtype]:
            # A fine structure of the function itself looks like noise from so far, and is seldom as small.
            count = math.ceil(math.log2(_WIDE[self.dtype] / step))
            _, far = agreed([2.0**n for n in range(count + 1)])
            noise = np.where(far <= most, np.maximum(noise, far), noise)
        return noise

    def size_around(self, i: int, move: Move, unit: float) -> np.ndarray:
        """The size of terms that each output may be made of: what it is at x and some units away; or 1."""
        away = (self.along(i, move, unit)(sign * far) for far in _FAR for sign in (1.0, -1.0))
        values = np.array([self.y.ravel(), *(self.try_to_evaluate(x).ravel() for x in away)], np.float64)
        return np.abs(np.where(np.isfinite(values), values, 0.0)).max(axis=0, initial=1.0)

    def _residue(
        self, i: int, move: Move, unit: float, step: float, weights: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What `residue` gives within a step; and whether an output with a weight takes few values."""
        # Steps of any length: those of few bits show nothing of results that lie on a grid, as where 1 was
        # added and taken away.
        steps = np.sort(self.random.uniform(-step, step, _FITTED))
        path, values = self.along(i, move, unit), []
        for k, t in enumerate(steps):
            inputs = path(float(t))
            if len(move.indices) == 1:
                (at,) = move.indices
                # How far it did move, after rounding.
                steps[k] = float(inputs[i].flat[at]) - float(self.inputs[i].flat[at])
            values.append(self.try_to_evaluate(inputs).ravel().astype(np.float64))
        found, length = np.array(values), np.abs(steps).max(initial=0) or 1.0
        with np.errstate(invalid="ignore", over="ignore"):
            coarse = (np.diff(np.sort(found, axis=0), axis=0) != 0).sum(axis=0) < _FITTED // 2
            if weights is not None:
                coarse = np.atleast_1d((coarse & (weights != 0)).any())
            return *residue(steps / length, found if weights is None else found @ weights[:, None]), coarse

    def result_noise(self, distance: Distance) -> np.ndarray:
        """The noise of each output; far away also of those that near the inputs do not scatter."""
        values = [
            np.array([self.try_to_evaluate(inputs).ravel() for inputs in self.nearby(scale)], np.float64)
            for scale in noise_scales(self.dtype, distance)
        ]
        return noise_at_scales(values, self.dtype)

    def gradient_noise(self, upstream: np.ndarray, distance: Distance = Distance.BESIDE) -> list[np.ndarray]:
        """What each gradient may be off by through rounding: the noise of what vjp gives near the inputs.

        Far away also of gradients that near the inputs do not scatter.
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

        It stands still then while the inputs move by a thousandth of their unit; what it moves by within some
        units is what it was made of, and that was rounded.
        """
        here = self.gradients(upstream)
        moves = {i: self.random_move(i) for i in self.wrt}
        still = [np.ones(g.shape, bool) for g in here]
        moved = [np.zeros(g.shape) for g in here]
        for step in (sign * size for size in (*_STILL, *_FAR) for sign in (1.0, -1.0)):
            inputs = list(self.inputs)
            for i, move in moves.items():
                if abs(step) < self.reach(i, move, 1.0):
                    inputs[i] = self.along(i, move, 1.0)(step)[i]
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
                moved[i] = self.along(i, move, step)(float(k))[i]
            yield moved

    def differentiated(
        self,
        along: Callable[[complex | float], Arrays],
        weights: np.ndarray | None = None,
        *,
        noise: np.ndarray | float,
    ) -> Callable[..., Derivative]:
        """The numerical derivative of all outputs (or their weighted sum) along a path, for any step.

        `noise` is that of `differences.central`.
        """

        def project(y):
            wide = y.ravel().astype(np.complex128 if np.iscomplexobj(y) else np.float64)
            with np.errstate(invalid="ignore", over="ignore"):
                return wide if weights is None else np.atleast_1d(weights @ wide)

        if self.method == "complex":
            return lambda step, twice=False: complex_step(
                lambda t: project(self.evaluate(along(t))), self.dtype
            )
        middle = project(self.y)

        def at(step: float, twice: bool = False) -> Derivative:
            step = on_grid(step, self.dtype)
            branched = False

            def f(t):
                nonlocal branched
                inputs = along(t)
                y = project(self.try_to_evaluate(inputs))
                if self.branches is not None and abs(t) == step:
                    branched |= not same_branches(self.branch, self.branches_at(inputs))
                return y

            found = central(f, middle, step, self.dtype, noise, twice=twice)
            # What does not move at all does not depend on the branch.
            return replace(found, error=np.where(found.moves, np.inf, found.error)) if branched else found

        return at

    def entry(self, i: int) -> InputReport:
        """The part of the report that is about input i."""
        for entry in self.report.inputs:
            if entry.input == i:
                return entry
        self.report.inputs.append(InputReport(i))
        return self.report.inputs[-1]


def as_array(result, dtype: np.dtype) -> np.ndarray | None:
    """What a function returned as an array; a Python number, which has no dtype of its own, in this dtype.

    None stands for what NumPy cannot make an array of.
    """
    if isinstance(result, int | float):
        return np.asarray(result, dtype)
    if isinstance(result, Tensor):
        return result.numpy()
    try:
        return np.asarray(result)
    except ValueError:  # lists of different lengths
        return None


def described(array: np.ndarray | None) -> str:
    """What `as_array` made of a result, for a message."""
    if array is None:
        return "lists of different lengths"
    if array.dtype == object and array.ndim == 0:
        return "None" if array.item() is None else f"a result of type {type(array.item()).__name__}"
    return f"an array of {array.dtype}"


def same_branches(first, second) -> bool:
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
