"""Numerical derivatives that come with an estimate of their own error.

Central differences with two steps, h and h/2, and Richardson's extrapolation from them:

    D(h) = (f(x + h) - f(x - h)) / 2h  =  f' + h²/6 f''' + ...
    R = (4 D(h/2) - D(h)) / 3          =  f' + O(h⁴)

The distance of R from D(h/2) bounds what the extrapolation has removed. To it comes the rounding of f,
divided by the step. The sum of the two is what R may be trusted to: a tolerance follows from the numerics.

The same values of f show a kink: for a smooth function the second difference
S(h) = f(x + h) - 2 f(x) + f(x - h) falls with h², so that S(h) - 4 S(h/2) vanishes to fourth order; where the
slope jumps within the step, it is of the order of the jump times h.

A function may also be smooth and only move faster than the step: log near 0, sin at 10⁶. What looks like a
kink, or is not accurate enough, is therefore tried again with other steps, tenths of it (`refined`).
A kink at x shows the same jump of the slope at every step; that of a smooth function falls with h³.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace

import numpy as np

# Steps are relative to max(1, |x|). In float64 1e-4 balances h⁴ against rounding / h, and is small enough
# that few random inputs have a kink within the step.
STEPS = {np.dtype(np.float64): 1e-4, np.dtype(np.float32): 2e-2}

# Along a random direction many kinks could be crossed at once: a smaller step crosses fewer.
DIRECTION_STEPS = {np.dtype(np.float64): 1e-6, np.dtype(np.float32): 5e-3}

COMPLEX_STEP = 1e-30

# How many times the step is divided by ten, at most; and the largest step that is tried.
_TENTHS = 8
_LARGEST_STEP = 0.1
# A step is at least so many times the distance between neighbouring numbers.
_NEIGHBOURS = 32
# Steps at which a jump of the slope must look the same, within so much, to be a kink.
_SAME_JUMPS = 3
_SAME = (0.7, 1.4)


@dataclass(frozen=True)
class Derivative:
    """The derivative of an array-valued function in one direction; or, as (M, N) arrays, in N of them.

    Attributes
    ----------
    value : float64 (M,)
        One derivative for each of the M outputs.
    error : float64 (M,)
        What they may be off by: `rounding`, and what is left of the truncation of the series.
    kinked : bool (M,)
        Where the function is not smooth within the step, so that the value means nothing.
    step : float64 (M,)
        The larger of the two steps.
    rounding : float64 (M,)
        The share of the error that shrinks with larger steps.
    jump : float64 (M,)
        What the slope would have to jump by if the second differences came from a kink; NaN where the
        function is not finite. `faintest` is the smallest jump that rounding does not hide.
    faintest : float64 (M,)
    """

    value: np.ndarray
    error: np.ndarray
    kinked: np.ndarray
    step: np.ndarray
    rounding: np.ndarray
    jump: np.ndarray
    faintest: np.ndarray

    @classmethod
    def zeros(cls, shape: tuple[int, ...]) -> Derivative:
        """Room for derivatives that `put` fills in."""
        return cls(*(np.zeros(shape, bool if each.name == "kinked" else float) for each in fields(cls)))

    def put(self, column: int, found: Derivative) -> None:
        """Write the derivatives in one direction into a column."""
        for each in fields(self):
            getattr(self, each.name)[:, column] = getattr(found, each.name)

    def column(self, column: int) -> Derivative:
        return Derivative(*(getattr(self, each.name)[:, column] for each in fields(self)))

    def replaced(self, where: np.ndarray, other: Derivative) -> Derivative:
        """These derivatives, with others in some places."""
        pairs = ((getattr(self, each.name), getattr(other, each.name)) for each in fields(self))
        return Derivative(*(np.where(where, new, old) for old, new in pairs))

    def weighted(self, weights: np.ndarray) -> Derivative:
        """The derivatives (1, N) of the sum of the outputs, weighted with (M,); its error is a bound."""
        with np.errstate(invalid="ignore"):
            value = weights @ self.value
            sizes = [np.abs(weights) @ each for each in (self.error, self.rounding, self.jump, self.faintest)]
        error, rounding, jump, faintest = (each[None] for each in sizes)
        kinked, step = self.kinked.any(axis=0)[None], self.step.min(axis=0, initial=np.inf)[None]
        return Derivative(value[None], error, kinked, step, rounding, jump, faintest)

    def per_unit(self, unit: float) -> Derivative:
        """For f(t) = g(x + unit * t), the derivatives of g by x."""
        changed = {
            "value": self.value / unit, "error": self.error / unit, "rounding": self.rounding / unit,
            "jump": self.jump / unit, "faintest": self.faintest / unit, "step": self.step * unit,
        }  # fmt: skip
        return Derivative(kinked=self.kinked, **changed)


def central(
    f: Callable[[float], np.ndarray],
    middle: np.ndarray,
    step: float,
    dtype,
    scale: float = 0.0,
    *,
    position: float = 0.0,
    noise: float = 0.0,
) -> Derivative:
    """Differentiate f (a function of one number, giving M numbers) at 0; `middle` is f(0).

    Parameters
    ----------
    step : float
        The larger of the two steps.
    dtype : dtype
        In which f computes, for the rounding to expect.
    scale : float
        The magnitude of the numbers that f computes with, for the same: where they cancel, as in the loss of
        a confident prediction, it is larger than that of its values.
    position : float
        For f(t) = g(x + t), |x|: where g is steep, the rounding of its argument is felt.
    noise : float
        What else f may be off by, as by its own sums.
    """
    wide, narrow = ((f(h), f(-h)) for h in (step, step / 2))
    # Where the function is not defined, or overflows, the values are not finite and count as a kink.
    with np.errstate(invalid="ignore", over="ignore"):
        coarse = (wide[0] - wide[1]) / (2 * step)
        fine = (narrow[0] - narrow[1]) / step
        value = (4 * fine - coarse) / 3
        curvature = np.abs((wide[0] - 2 * middle + wide[1]) - 4 * (narrow[0] - 2 * middle + narrow[1]))

    finite = np.isfinite(value) & np.isfinite(curvature)
    steep = position * np.abs(np.where(finite, value, 0))
    unit = float(np.finfo(dtype).eps) * np.maximum(max(largest(middle), scale), steep)
    rounding = (8 * unit + noise) / step
    faintest = 128 * unit / step + 1e-2 * step * largest(value)
    jump = np.where(finite, curvature / step, np.nan)
    return Derivative(
        value=value,
        error=np.where(finite, np.abs(value - fine) + rounding, np.inf),
        kinked=~finite | (jump > faintest),
        step=np.full(value.shape, step),
        rounding=rounding,
        jump=jump,
        faintest=faintest,
    )


def too_uncertain(found: Derivative, accuracy: float, floor: float = 0.0) -> np.ndarray:
    """Where the error is larger than `accuracy` times the derivative, or times `floor` if that is larger."""
    size = np.maximum(np.abs(np.where(found.kinked, 0, found.value)), floor)
    constant = (found.value == 0) & (found.jump == 0)
    return ~found.kinked & ~constant & (found.error > accuracy * size)


def refined(
    first: Derivative,
    at: Callable[[float], Derivative],
    steps: Iterable[float],
    accuracy: float,
    floor: float = 0.0,
) -> Derivative:
    """Try smaller steps where a derivative looks kinked or truncated, larger ones where rounding drowns it.

    Parameters
    ----------
    first : Derivative
        As found with the usual step.
    at : callable
        The derivative with another step.
    steps : iterable of float
        Those to try, the larger ones ascending and the smaller ones descending.
    accuracy, floor : float
        Those of `too_uncertain`: to be more accurate no other step is tried.

    Returns
    -------
    Derivative
        For each output the one with the smallest error. A step that sees no kink where another one saw a
        jump of the slope counts only if rounding would not have hidden that jump.
    """
    usual, steps = first.step.flat[0], list(steps)
    best = first

    for step in (s for s in steps if s > usual):
        drowned = too_uncertain(best, accuracy, floor) & (best.rounding > best.error / 2)
        if not drowned.any():
            break
        now = at(step)
        better = drowned & ~now.kinked & (now.error < best.error)
        if not better.any():
            break
        best = best.replaced(better, now)

    before, alike = first, first.kinked.astype(int)
    largest_jump = last_jump = np.where(first.jump > first.faintest, first.jump, 0.0)
    for number, step in enumerate(s for s in steps if s < usual):
        # A kink at x is one at every step. It need not be asked more often.
        undecided = best.kinked & (alike < _SAME_JUMPS)
        # What rounding drowns gets worse with smaller steps, but may be seen by one to be no slope at all.
        truncated = (best.rounding < best.error / 2) | (number == 0)
        undecided |= too_uncertain(best, accuracy, floor) & truncated
        if not undecided.any():
            break
        now = at(step)
        # The last of several jumps may be hidden by now, and falsify the value by half of its size.
        hidden = (last_jump > 0) & (last_jump < 4 * now.faintest)
        now = replace(now, error=now.error + np.where(hidden, now.faintest / 2, 0))
        visible = (largest_jump == 0) | (largest_jump >= 4 * now.faintest)
        better = undecided & ~now.kinked & visible & (best.kinked | (now.error < best.error))
        best = best.replaced(better, now)
        jumps = now.jump > now.faintest
        # What jumps now did so before, and was not seen: the steps were longer than a period, or met a kink.
        best = replace(best, kinked=best.kinked | (undecided & jumps))

        low, high = (bound * before.jump for bound in _SAME)
        # Where a branch changes that the output does not depend on, it has no jump.
        same = now.kinked & np.where(jumps, (now.jump >= low) & (now.jump <= high), np.isfinite(now.jump))
        alike = np.where(same, alike + 1, 1)
        last_jump = np.where(jumps, now.jump, last_jump)
        largest_jump = np.maximum(largest_jump, last_jump)
        before = now
    return best


def steps_to_try(usual: float, position: float, dtype) -> list[float]:
    """Other steps for a function at x, the larger ones ascending, then the smaller ones descending.

    Parameters
    ----------
    usual : float
        The step that was tried.
    position : float
        |x|, in the unit of the step: 1 at most.
    dtype : dtype
        What x is stored in.
    """
    larger = [usual * 10**k for k in range(1, 16) if usual * 10**k <= _LARGEST_STEP]
    tenths = [usual / 10**k for k in range(1, _TENTHS + 1)]
    # Near 0 a function such as log moves with x itself, however small x is.
    tenths += [position / 10**k for k in range(1, 5) if 0 < position / 10**k < tenths[-1]]
    smallest = smallest_step(position, dtype)
    return larger + [step for step in tenths if step >= smallest]


def smallest_step(position: float, dtype) -> float:
    """The step that still moves x, to be told from its rounding."""
    return _NEIGHBOURS * float(np.finfo(dtype).eps) * position


def accuracy_wanted(dtype) -> float:
    """The error of a derivative, relative to it, that is small enough to look no further: eps to the 1/4."""
    return float(np.finfo(dtype).eps) ** 0.25


def complex_step(f: Callable[[complex], np.ndarray], dtype) -> Derivative:
    """Differentiate f at 0 by one evaluation at an imaginary step (Squire and Trapp 1998).

    f(x + ih) = f(x) + ih f'(x) + O(h²): the imaginary part over h has neither a truncation error, for a step
    of 1e-30, nor a cancellation. f must compute with complex numbers, and be analytic: no absolute value,
    no comparison.
    """
    value = np.imag(f(1j * COMPLEX_STEP)) / COMPLEX_STEP
    found = Derivative.zeros(value.shape)
    error = np.full(value.shape, 8 * float(np.finfo(dtype).eps) * largest(value))
    return replace(found, value=value, error=error, kinked=~np.isfinite(value), rounding=error)


def largest(array: np.ndarray) -> float:
    """The largest finite magnitude, 0 if there is none."""
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0
