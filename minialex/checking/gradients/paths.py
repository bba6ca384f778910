"""One input of a check along one move: the inputs at a step, the derivative there, and the noise in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from minialex.checking.constraints import Move
from minialex.checking.gradients.check import FAR, Check
from minialex.checking.gradients.differences import Derivative, central, complex_step, on_grid, usual_step
from minialex.checking.gradients.noise import residue

# How many points noise within a step is measured at.
_FITTED = 24
# It is looked for within wider steps, too: this many times wider; and up to this step, if it is no more than
# some last bits of what an output is some units away.
_CLOSER = 2.0**-8
_WIDER = (1, 2**4, 2**6, 2**8, 2**10, 2**12, 2**14)
_WIDE = {np.dtype(np.float64): 2.0**-5, np.dtype(np.float32): 2.0**-2}
_ROUNDED = 16
_ROUGH = 2.0**-8


class Path:
    """The inputs of a check as a function of a step along a move, in a unit of that step.

    Attributes
    ----------
    input : int
        The position of the input that moves.
    reach : float
        The largest step, in the unit, that keeps the input within its domain.
    position : float
        |x| of what moves, in the unit.
    """

    def __init__(self, check: Check, i: int, move: Move, unit: float = 1.0):
        self.check, self.input, self.move, self.unit = check, i, move, unit

    @classmethod
    def along(cls, check: Check, i: int, k: int) -> Path:
        """Along the k-th move of input i."""
        return cls(check, i, *check.move(i, k))

    def __call__(self, t: complex | float) -> list[np.ndarray]:
        moved = list(self.check.inputs)
        moved[self.input] = self.check.moved(self.input, self.move, self.unit, t)
        return moved

    @cached_property
    def reach(self) -> float:
        return self.check.reach(self.input, self.move, self.unit)

    @cached_property
    def position(self) -> float:
        weights = np.abs(self.move.weights)
        here = self.check.inputs[self.input].flat[self.move.indices]
        with np.errstate(divide="ignore", invalid="ignore"):
            sizes = np.abs(here) / np.where(weights > 0, weights, np.inf)
        return float(np.where(np.isfinite(sizes), sizes, 0.0).max(initial=0)) / self.unit

    @property
    def usual_step(self) -> float:
        """The step to begin with."""
        return usual_step(self.check.report.step, self.position, self.reach, self.check.dtype)

    def derivative(
        self, noise: np.ndarray | float, weights: np.ndarray | None = None
    ) -> Callable[..., Derivative]:
        """The numerical derivative of all outputs, or of their weighted sum, for any step.

        `noise` is that of `differences.central`.
        """
        check = self.check

        def project(y):
            wide = y.ravel().astype(np.complex128 if np.iscomplexobj(y) else np.float64)
            with np.errstate(invalid="ignore", over="ignore"):
                return wide if weights is None else np.atleast_1d(weights @ wide)

        if check.method == "complex":
            return lambda step, twice=False: complex_step(
                lambda t: project(check.evaluate(self(t))), check.dtype
            )
        middle = project(check.y)

        def at(step: float, twice: bool = False) -> Derivative:
            step = on_grid(step, check.dtype)
            branched = False

            def f(t):
                nonlocal branched
                inputs = self(t)
                y = project(check.try_to_evaluate(inputs))
                if check.branches is not None and abs(t) == step:
                    branched |= not same_branches(check.branch, check.branches_at(inputs))
                return y

            found = central(f, middle, step, check.dtype, noise, twice=twice)
            # What does not move at all does not depend on the branch.
            return replace(found, error=np.where(found.moves, np.inf, found.error)) if branched else found

        return at

    def noise(self, step: float, weights: np.ndarray | None = None, *, wide: bool = False) -> np.ndarray:
        """The noise of each output, or of their weighted sum, within a step.

        Results may be so coarse that they take few values there, and do not scatter. Within larger steps
        they do: it counts where two of those agree on it, and both see scatter and no bend. If `wide`, much
        larger ones are tried.
        """
        dtype = self.check.dtype
        size = self.size_around()
        size = size if weights is None else np.abs(weights[None]) @ size
        most = _ROUNDED * float(np.finfo(dtype).eps) * size
        part = np.maximum(np.abs(self.check.y.ravel().astype(np.float64)), 1.0)
        part = _ROUGH * (part if weights is None else np.abs(weights[None]) @ part)

        def agreed(scales: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
            found = [self._residue(scale * step, weights) for scale in scales]
            coarse, rough = found[0][2], []
            for scale, (size, is_rough, _) in zip(scales, found, strict=True):
                # Functions that oscillate scatter from afar, too. Rounding is some last bits of what a result
                # is made of; or within the step results take few values, and they do not scatter far.
                stairs = coarse & (scale * step <= _WIDE[dtype]) & (size <= part)
                rough.append(np.where(is_rough & (stairs | (size <= most)), size, 0.0))
            pairs = map(np.minimum, rough[1:], rough[2:])
            return found[0][0], np.maximum.reduce([np.zeros_like(rough[0]), *pairs])

        here, wider = agreed(_WIDER)
        # What is less within a smaller step is not rounding, unless the results stand on few stairs there.
        closer, _, coarse = self._residue(step * _CLOSER, weights)
        noise = np.maximum(np.where(coarse, here, np.minimum(here, 4 * closer)), wider)
        if wide and step < _WIDE[dtype]:
            # A fine structure of the function itself looks like noise from so far, and is seldom as small.
            count = math.ceil(math.log2(_WIDE[dtype] / step))
            _, far = agreed([2.0**n for n in range(count + 1)])
            noise = np.where(far <= most, np.maximum(noise, far), noise)
        return noise

    def size_around(self) -> np.ndarray:
        """The size of terms that each output may be made of: what it is at x and some units away; or 1."""
        check = self.check
        away = (self(sign * far) for far in FAR for sign in (1.0, -1.0))
        values = np.array([check.y.ravel(), *(check.try_to_evaluate(x).ravel() for x in away)], np.float64)
        return np.abs(np.where(np.isfinite(values), values, 0.0)).max(axis=0, initial=1.0)

    def _residue(self, step: float, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What `residue` gives within a step; and whether an output with a weight takes few values."""
        # Steps of any length: those of few bits show nothing of results that lie on a grid, as where 1 was
        # added and taken away.
        check, i = self.check, self.input
        steps = np.sort(check.random.uniform(-step, step, _FITTED))
        values = []
        for k, t in enumerate(steps):
            inputs = self(float(t))
            if len(self.move.indices) == 1:
                (at,) = self.move.indices
                # How far it did move, after rounding.
                steps[k] = float(inputs[i].flat[at]) - float(check.inputs[i].flat[at])
            values.append(check.try_to_evaluate(inputs).ravel().astype(np.float64))
        found, length = np.array(values), np.abs(steps).max(initial=0) or 1.0
        with np.errstate(invalid="ignore", over="ignore"):
            coarse = (np.diff(np.sort(found, axis=0), axis=0) != 0).sum(axis=0) < _FITTED // 2
            if weights is not None:
                coarse = np.atleast_1d((coarse & (weights != 0)).any())
            return *residue(steps / length, found if weights is None else found @ weights[:, None]), coarse


def same_branches(first, second) -> bool:
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
