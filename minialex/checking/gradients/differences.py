"""Numerical derivatives that come with an estimate of their own error.

Central differences with two steps, h and h/2, and Richardson's extrapolation from them:

    D(h) = (f(x + h) - f(x - h)) / 2h  =  f' + h²/6 f''' + ...
    R = (4 D(h/2) - D(h)) / 3          =  f' + O(h⁴)

What R may be off by has three parts, all of them seen in the same five values of f:

    truncation  |R - D(h/2)|: what the extrapolation has removed bounds what it has left
    rounding    8 ν / h, where ν is the noise of that very output: what its values scatter by when x moves by
                a few of its last bits (`noise.scatter`), and at least the last bit of what f returns
    jump        |S(h) - 4 S(h/2)| / h, with the second difference S(h) = f(x + h) - 2 f(x) + f(x - h). For a
                smooth function it falls with h³. Where the slope jumps within the step, it is of the size of
                the jump: a kink.

No one step suits log at 1e-8, sin at 10⁶ and tanh(x / 1e-6). Where the error of a derivative is too large,
other steps are tried, and for each output the one with the smallest error counts (`refined`). What no step
makes certain is either a kink, where the jump remains however small the step is, or drowned in rounding.

Steps are relative to a power of two near |x| (`unit_of`), and end where its last bits do (`on_grid`): x + h
and x - h are then numbers that the dtype has, and the step is exactly what it says. They have many bits, and
are not powers of two themselves: a function may repeat itself with those.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace

import numpy as np

# 1 / sqrt(2) in twenty bits: steps are this times a power of two.
_ODD = 741455 / 2**20

# Relative to the unit of x. In float64 1.7e-4 balances h⁴ against rounding / h, and is small enough that few
# random inputs have a kink within the step.
STEPS = {np.dtype(np.float64): _ODD * 2.0**-12, np.dtype(np.float32): _ODD * 2.0**-6}

# Along a random direction many kinks could be crossed at once: a smaller step crosses fewer.
DIRECTION_STEPS = {np.dtype(np.float64): _ODD * 2.0**-19, np.dtype(np.float32): _ODD * 2.0**-8}

# The error of a derivative, relative to it, that is small enough to look no further.
ACCURACY = {np.dtype(np.float64): 8e-6, np.dtype(np.float32): 4e-3}

COMPLEX_STEP = 1e-30

# The smallest step is at least this many times the distance between neighbouring numbers.
_NEIGHBOURS = 32
# A step beyond the unit of x is for functions that are nearly linear in it: this is the largest.
_LARGEST_STEP = 2.0**30
# A derivative below this share of the largest of its output, and by its element, need not be known as well.
_NEGLIGIBLE = 1e-3
# How well the difference across x repeats itself where it is a jump.
_SAME_JUMP = 0.05
# What steps are multiples of, in last bits of the unit of x.
_GRID = {np.dtype(np.float64): 2**9, np.dtype(np.float32): 2**3}
# Fractions of a smaller unit would be subnormal.
_LEAST_UNIT = 2.0**-960
# Ascending steps, as powers of two, relative to the unit of x. With the first rounding, eps / h, is 2e-7 of a
# derivative of 1.
_ASCENDING = {np.dtype(np.float64): range(-29, 3, 2), np.dtype(np.float32): range(-14, 3, 2)}
# How many larger steps in a row may fail to make anything more certain.
_VAIN_STEPS = 1


@dataclass(frozen=True)
class Derivative:
    """The derivative of an array-valued function in one direction; or, as (M, N) arrays, in N of them.

    Attributes
    ----------
    value : float64 (M,)
        One derivative for each of the M outputs.
    error : float64 (M,)
        What they may be off by: truncation, rounding and jump. Infinite where f is not defined within the
        step, or takes another branch.
    rounding, jump : float64 (M,)
        Those parts of it.
    step : float64 (M,)
        The larger of the two steps.
    moves : bool (M,)
        Whether any of the values differs from f(x): false for an output that does not depend on x.
    secant : float64 (M,)
        The steeper of the slopes from f(x) to f(x + h) and to f(x - h): near a minimum it is more than the
        derivative.
    """

    value: np.ndarray
    error: np.ndarray
    rounding: np.ndarray
    jump: np.ndarray
    step: np.ndarray
    moves: np.ndarray
    secant: np.ndarray

    @classmethod
    def zeros(cls, shape: tuple[int, ...]) -> Derivative:
        """Room for derivatives that `put` fills in."""
        return cls(*(np.zeros(shape, bool if each.name == "moves" else float) for each in fields(cls)))

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

    def per_unit(self, unit: float) -> Derivative:
        """For f(t) = g(x + unit * t), the derivatives of g by x."""
        with np.errstate(over="ignore"):
            value, error, rounding, jump, secant = (
                each / unit for each in (self.value, self.error, self.rounding, self.jump, self.secant)
            )
        return Derivative(value, error, rounding, jump, self.step * unit, self.moves, secant)


def central(
    f: Callable[[float], np.ndarray],
    middle: np.ndarray,
    step: float,
    dtype,
    noise: np.ndarray | float = 0.0,
    *,
    twice: bool = False,
) -> Derivative:
    """Differentiate f (a function of one number, giving M numbers) at 0; `middle` is f(0).

    Parameters
    ----------
    step : float
        The larger of the two steps.
    dtype : dtype
        In which f computes: its values have at least the rounding of their last bit.
    noise : float or (M,)
        What the values of f scatter by, as `noise.scatter` measures it.
    twice : bool
        Extrapolate from three steps, step, step / 2 and step / 4, to the sixth order: for large steps.
    """
    wide, narrow = ((f(h), f(-h)) for h in (step, step / 2))
    # Where the function is not defined, or overflows, the values are not finite.
    with np.errstate(invalid="ignore", over="ignore"):
        coarse = (wide[0] - wide[1]) / (2 * step)
        fine = (narrow[0] - narrow[1]) / step
        value, least = (4 * fine - coarse) / 3, step
        bends = _fourth_difference(wide, middle, narrow) / step
        moves = (wide[0] != middle) | (wide[1] != middle) | (narrow[0] != middle) | (narrow[1] != middle)
        if twice:
            # The same from the two smaller steps, and what the two say together.
            wide, narrow, least = narrow, tuple(f(h) for h in (step / 4, -step / 4)), step / 2
            finer = (narrow[0] - narrow[1]) / least
            before, fine = value, (4 * finer - fine) / 3
            value = (16 * fine - before) / 15
            # What falls with the third power of the step is due to a smooth function: not an error of R.
            bends = (8 * _fourth_difference(wide, middle, narrow) / least - bends) / 7
            moves |= (narrow[0] != middle) | (narrow[1] != middle)
        bends = np.abs(bends)
        size = np.maximum(np.maximum(np.abs(wide[0]), np.abs(wide[1])), np.abs(middle))
        info = np.finfo(dtype)
        rounding = 8 * np.maximum(float(info.eps) * size, noise) / least
        # Of subnormal numbers it is absolute, also where the quotient vanishes.
        rounding = rounding + 8 * float(info.smallest_subnormal) / min(least, 1.0)
        error = np.abs(value - fine) + rounding + bends
        secant = np.maximum(np.abs(wide[0] - middle), np.abs(wide[1] - middle)) / least
    return Derivative(
        value=value,
        error=np.where(np.isfinite(error), error, np.inf),
        rounding=rounding,
        jump=bends,
        step=np.full(value.shape, step),
        moves=moves,
        secant=np.where(np.isfinite(secant), secant, 0.0),
    )


def _fourth_difference(wide, middle, narrow) -> np.ndarray:
    return (wide[0] - 2 * middle + wide[1]) - 4 * (narrow[0] - 2 * middle + narrow[1])


def negligible_below(found: Derivative) -> np.ndarray:
    """The size (M, N) below which a derivative is small beside others of its output and by its element."""
    # What is all error says nothing about the size of others.
    known = np.where(found.error <= np.abs(found.value), np.abs(found.value), 0.0)
    rows, columns = (known.max(axis=axis, keepdims=True, initial=0.0) for axis in (1, 0))
    return _NEGLIGIBLE * np.minimum(rows, columns)


@dataclass(frozen=True)
class Goal:
    """How certain a derivative should be: its error no larger than a share of it, or of a floor beneath it.

    An output that does not move has a derivative of 0, unless another one is `expected`.
    """

    accuracy: float
    floor: np.ndarray | float = 0.0
    expected: np.ndarray | bool = False

    def missed(self, found: Derivative) -> np.ndarray:
        """Where the error is larger than that."""
        with np.errstate(invalid="ignore"):
            certain = found.error <= self.accuracy * np.maximum(np.abs(found.value), self.floor)
        return ~certain & (found.moves | self.expected)


def refined(
    first: Derivative,
    at: Callable[..., Derivative],
    steps: Iterable[float],
    goal: Goal,
    usual: float | None = None,
) -> Derivative:
    """Where the error is too large, try other steps: larger against rounding, smaller against the rest.

    Parameters
    ----------
    first : Derivative
        As found with the usual step.
    at : callable
        ``at(step, twice=False)``: the derivative with another step, as `central` has it.
    steps : iterable of float
        Those to try, the larger ones ascending and the smaller ones descending.
    goal : Goal
        Where it is reached no other step is tried.
    usual : float, optional
        The step that others are smaller or larger than; that of `first` if it has one.

    Returns
    -------
    Derivative
        For each output the one with the smallest error.
    """
    usual, steps = first.step.flat[0] if usual is None else usual, list(steps)
    best, before, steepest = first, first, first.secant
    torn = np.full(first.value.shape, False)
    for step in (s for s in steps if s < usual):
        asked = goal.missed(best)
        # Where rounding is more than half of the error already, a smaller step has more of it.
        asked &= ~(2 * before.rounding > before.error)
        if not asked.any():
            break
        now = at(step)
        # A step longer than a period finds a slope that is too small, and believes it with an error as small.
        better = (now.error < best.error) | ~_agree(now, best)
        # What stands still now may be constant here, beside a kink, or merely coarse in its values.
        still = ~np.asarray(goal.expected) & (np.abs(best.value) <= 4 * best.error)
        better &= now.moves | still | ~np.isfinite(best.error)
        best = best.replaced(asked & better & np.isfinite(now.error), now)
        # Where f itself jumps at x, by the same however small the step is, no larger step helps.
        torn = _same_jump(now, before) & (torn | (before is first))
        before, steepest = now, np.maximum(steepest, now.secant)
    vain = 0
    for step in (s for s in steps if s > usual):
        unknown = goal.missed(best)
        if not unknown.any():
            break
        now = at(step, twice=True)
        # Beyond a period of the function, or in another regime of it, larger steps agree with each other and
        # not with what the smaller ones have found.
        better = unknown & ~torn & _agree(now, best) & (now.error < best.error)
        steepest = np.maximum(steepest, now.secant)
        # Rounding falls with the step, though not at every one; a kink stays what it is.
        vain = 0 if (better & (now.error < 0.7 * best.error)).any() else vain + 1
        if vain > _VAIN_STEPS:
            break
        best = best.replaced(better, now)
    return replace(best, secant=steepest)


def ascending_steps(dtype, reach: float) -> list[float]:
    """Steps from near the smallest on, as `first_certain` takes them, within the reach of the move."""
    steps = (_ODD * 2.0**n for n in _ASCENDING[np.dtype(dtype)])
    return [on_grid(step, dtype) for step in steps if step < reach]


def first_certain(
    at: Callable[..., Derivative], steps: Iterable[float], m: int = 0, *, goal: float = 0.0
) -> Derivative | None:
    """The derivative with ascending steps, as long as each agrees with those before and is more certain.

    A step that is longer than a period of some term averages over it, and is certain of the slope of the
    rest. Before it comes to that, it is less certain than a smaller one.

    Parameters
    ----------
    at : callable
        As of `refined`.
    steps : iterable of float
        Ascending.
    m : int
        The output that is looked at.
    goal : float
        An error that is small enough.

    Returns
    -------
    Derivative or None
        None if there are no steps.
    """
    best, vain = None, 0
    for step in steps:
        now = at(step)
        if best is None:
            best = now
        elif not abs(now.value[m] - best.value[m]) <= 4 * (now.error[m] + best.error[m]):
            break
        elif now.error[m] < best.error[m]:
            best, vain = now, 0
        elif vain == _VAIN_STEPS:
            break
        else:
            vain += 1
        if best.moves[m] and best.error[m] <= goal:
            break
    return best


def _same_jump(now: Derivative, before: Derivative) -> np.ndarray:
    """Whether f(x + h) - f(x - h) is the same for two steps, and not 0."""
    with np.errstate(invalid="ignore", over="ignore"):
        here, there = now.value * now.step, before.value * before.step
        return (np.abs(here - there) <= _SAME_JUMP * np.abs(there)) & (now.moves & before.moves)


def _agree(now: Derivative, best: Derivative) -> np.ndarray:
    """Whether two derivatives are the same but for their errors."""
    with np.errstate(invalid="ignore"):
        return np.abs(now.value - best.value) <= 4 * (now.error + best.error)


def steps_to_try(usual: float, position: float, dtype) -> list[float]:
    """Other steps for a function at x, the larger ones ascending, then the smaller ones descending.

    Parameters
    ----------
    usual : float
        The step that was tried.
    position : float
        |x|, in the unit of the step: 2 at most.
    dtype : dtype
        What x is stored in.
    """
    larger, step = [], usual * 2**2
    while step <= _LARGEST_STEP:
        larger.append(step)
        step *= 2**2
    bits = -math.log2(float(np.finfo(dtype).eps))
    # A function such as log moves with x itself, however small x is; at 0 only the dtype ends the series.
    scale = 1.0 if position == 0 else 2.0 ** math.floor(math.log2(position))
    smallest = smallest_step(position, dtype) if position else usual * 2.0**-bits
    smaller, step = [], usual
    while (step := step / 2**4) >= smallest:
        smaller.append(step)
        if step > 2**16 * scale and len(smaller) >= 4:
            step = scale * 2**4
    return larger + smaller


def smallest_step(position: float, dtype) -> float:
    """The step that still moves x, to be told from its rounding."""
    info = np.finfo(dtype)
    # Beside a subnormal x the product may be 0, which is not a step.
    return max(_NEIGHBOURS * float(info.eps) * position, float(info.tiny))


def usual_step(step: float, position: float, reach: float, dtype) -> float:
    """The step to begin with: about what was asked for, within the domain, and not below what x resolves."""
    step = max(step, smallest_step(position, dtype))
    while step >= reach > 0:
        step /= 2
    return on_grid(step, dtype)


def on_grid(step: float, dtype) -> float:
    """The nearest step h, in units of x, with which x + h and x - h are not rounded.

    Nor are they with h / 4, and with float64 random shares of these (`check.random_move`).
    """
    grid = _GRID[np.dtype(dtype)] * float(np.finfo(dtype).eps)
    if not grid <= step < grid * 2.0**53:
        return 2.0 ** math.floor(math.log2(step)) if 0 < step < grid else step
    return round(step / grid) * grid


def unit_of(x: float, typical: float) -> float:
    """The power of two that steps at x are relative to: at most |x|, or what is typical of its array."""
    return 2.0 ** math.floor(math.log2(max(abs(x) if math.isfinite(x) else 0.0, typical)))


def typical_size(array: np.ndarray) -> float:
    """The median magnitude of the elements that are not 0, at most 1: where x is smaller, steps are not.

    Nor are they subnormal.
    """
    sizes = np.abs(array[(array != 0) & np.isfinite(array)])
    return min(1.0, max(_LEAST_UNIT, float(np.median(sizes)))) if sizes.size else 1.0


def complex_step(f: Callable[[complex], np.ndarray], dtype) -> Derivative:
    """Differentiate f at 0 by one evaluation at an imaginary step (Squire and Trapp 1998).

    f(x + ih) = f(x) + ih f'(x) + O(h²): the imaginary part over h has neither a truncation error, for a step
    of 1e-30, nor a cancellation. f must compute with complex numbers, and be analytic: no absolute value,
    no comparison.
    """
    value = np.imag(f(1j * COMPLEX_STEP)) / COMPLEX_STEP
    error = 8 * float(np.finfo(dtype).eps) * np.abs(value)
    return Derivative(
        value=value,
        error=np.where(np.isfinite(value), error, np.inf),
        rounding=error,
        jump=np.zeros(value.shape),
        step=np.full(value.shape, COMPLEX_STEP),
        moves=value != 0,
        secant=np.abs(value),
    )


def largest(array: np.ndarray) -> float:
    """The largest finite magnitude, 0 if there is none."""
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0
