"""Comparing gradients with numerical derivatives: one by one, or along random directions.

Each derivative has a tolerance of its own, which follows from what the numerical one may be off by:

    tolerance = 4 error + 512 eps |derivative|          the second term: rounding in the analytic one

Where the two are further apart, a second look is taken before the gradient is called wrong: the numerical
derivative has to stay what it is at other steps (a function may repeat itself at the first one), and the
distance has to be more than what the analytic gradient scatters by when its inputs move by their last bits.

A derivative whose tolerance is more than a share of it (`max_tolerance`) is not known: a comparison with it
says nothing. It counts like one at a kink; so many of them are a failure, and never a pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from minialex.checking.behaviour import ROUNDING
from minialex.checking.constraints import Move
from minialex.checking.differences import (
    ACCURACY,
    COMPLEX_STEP,
    Derivative,
    largest,
    negligible_below,
    on_grid,
    refined,
    scatter,
    smallest_step,
    steps_to_try,
    too_uncertain,
)
from minialex.checking.patterns import recognise

if TYPE_CHECKING:
    from minialex.checking.check import Check

# Random upstream gradients whose products are compared beside the Jacobian.
UPSTREAMS = 3
# How often another direction is drawn where one meets a kink.
_REDRAWS = 8
# What is below so much of the largest term of an output is 0 but for rounding.
_NOTHING = 64
# Steps at which a derivative that seems wrong is looked at again, each relative to the one before: with few
# bits, so that x + h is exact, and not all powers of two, as a function may repeat itself with those.
_OTHER_STEPS = (5 / 16, *(1 / 16,) * 11)
_LARGER = 13.37
# An output that moves by no more than so many last bits of what it was made of may stand on a stair of them,
# with all small steps.
_STAIRS = 64
_SMALL = {np.dtype(np.float64): 1e-3, np.dtype(np.float32): 1e-2}
# From this share of a derivative on a distance is plain, and no matter of rounding alone.
_PLAINLY = 1e-4
# How far from the interval of the slopes beside a kink a gradient may lie, as a share of it, and at how many
# steps that is looked at.
_BESIDE_KINK = 0.5
_KINK_STEPS = 5
# How far x is moved, in its units, to see what a result is made of that stands still at x.
_FAR = tuple(4.0**n for n in range(-1, 6))
# How many times less than an error noise may be, and still explain it.
_EXPLAINS = 8
# The root mean square of random moves, from a quarter to one, over the least; and 1 for the error there is.
_LEAST_SHARE = 4


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
        scale = np.maximum(self.nothing / (_NOTHING * float(np.finfo(self.dtype).eps)), self.found.secant)
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


def _norm(array: np.ndarray) -> float:
    """The Euclidean norm, which does not overflow where the numbers do not."""
    size = largest(array)
    return size * float(np.linalg.norm(array / size)) if size else 0.0


def analytic_jacobians(check: Check) -> list[np.ndarray]:
    """One array (M, K) for each input that is checked, row by row from unit upstream gradients."""
    rows = [np.zeros((check.y.size, check.inputs[i].size)) for i in check.wrt]
    for m in range(check.y.size):
        for jacobian, gradient in zip(rows, check.gradients(check.unit_upstream(m)), strict=True):
            jacobian[m] = gradient.ravel()
    return [_along_moves(check, i, each) for i, each in zip(check.wrt, rows, strict=True)]


def _along_moves(check: Check, i: int, rows: np.ndarray) -> np.ndarray:
    """Derivatives (M, size) by the elements of an input, as (M, K) along its moves."""
    if check.is_free(i):
        return rows
    moves = [check.move(i, k)[0] for k in range(check.moves(i))]
    columns = [rows[:, move.indices] @ move.weights for move in moves]
    return np.stack(columns, axis=1) if columns else np.zeros((len(rows), 0))


def numeric_jacobian(check: Check, i: int) -> Derivative:
    """The derivatives of all M outputs along all moves of input i: arrays (M, K)."""
    count = check.moves(i)
    whole = Derivative.zeros((check.y.size, count))
    usual = []
    for k in range(count):
        at, unit, position, reach = along_move(check, i, k)
        usual.append(usual_step(check.report.step, position, reach, check.dtype))
        whole.put(k, at(usual[-1]).per_unit(unit))
    if check.method == "complex":
        return whole
    accuracy, floor = _accuracy(check), negligible_below(whole)
    for k in np.flatnonzero(too_uncertain(whole, accuracy, floor).any(axis=0)):
        _refine(check, i, int(k), whole, floor[:, k], usual[k])
    return whole


def _refine(check: Check, i: int, k: int, whole: Derivative, floor, usual: float, expected=False) -> None:
    """Make the derivatives along one move as certain as other steps make them."""
    at, unit, position, reach = along_move(check, i, k)
    first = whole.column(k).per_unit(1 / unit)
    steps = [s for s in steps_to_try(usual, position, check.dtype) if s < reach]
    found = refined(first, at, steps, _accuracy(check), floor * unit, expected)
    whole.put(k, found.per_unit(unit))


def _refine_expected(check: Check, each: Comparison) -> None:
    """Look for derivatives that vjp gives, and that rounding hides at the usual step."""
    found = each.found
    hidden = (each.analytic != 0) & (2 * found.rounding > found.error)
    hidden &= ~(each.tolerance <= each.max_tolerance * np.abs(each.analytic))
    floor = np.minimum(np.abs(each.analytic), negligible_below(found))
    for k in np.flatnonzero(hidden.any(axis=0)):
        _, unit, position, reach = along_move(check, each.input, int(k))
        usual = usual_step(check.report.step, position, reach, check.dtype)
        if found.step[:, k].min() / unit == usual:
            _refine(check, each.input, int(k), found, floor[:, k], usual, hidden[:, k])


def _accuracy(check: Check) -> float:
    return min(ACCURACY[check.dtype], check.max_tolerance / 8)


def usual_step(step: float, position: float, reach: float, dtype) -> float:
    """The step to begin with: about what was asked for, within the domain, and not below what x resolves."""
    step = max(step, smallest_step(position, dtype))
    while step >= reach > 0:
        step /= 2
    return on_grid(step, dtype)


def along_move(check: Check, i: int, k: int):
    """The derivative along a move for any step; the unit of that; |x| and the reach of the move in it."""
    move, unit = check.move(i, k)
    position = check.position(i, move, unit)
    at = check.differentiated(check.along(i, move, unit), noise=check.noise)
    return at, unit, position, check.reach(i, move, unit)


def compare_jacobians(check: Check) -> list[Comparison]:
    """Both sides of every derivative by every input that is checked, before anything is judged."""
    analytic = analytic_jacobians(check)
    numeric = [numeric_jacobian(check, i) for i in check.wrt]
    units = [np.array([check.move(i, k)[1] for k in range(check.moves(i))]) for i in check.wrt]
    # By how much each output moves when an input moves by its unit, at most: rounding is relative to that.
    terms = np.zeros((check.y.size, 1))
    for found, unit in zip(numeric, units, strict=True):
        moved = np.abs(np.where(np.isfinite(found.error), found.value, 0)) * unit
        terms = np.maximum(terms, moved.max(axis=1, keepdims=True, initial=0))
    eps = float(np.finfo(check.dtype).eps)
    comparisons = [
        Comparison(i, a, n, _NOTHING * eps * terms / unit, check.dtype, check.max_tolerance)
        for i, a, n, unit in zip(check.wrt, analytic, numeric, units, strict=True)
    ]
    if check.method != "complex":
        for each in comparisons:
            _refine_expected(check, each)
    return comparisons


def check_jacobian(check: Check) -> None:
    """Compare every derivative, and the products with random upstream gradients."""
    comparisons = compare_jacobians(check)
    for each in comparisons:
        _look_again(check, each)
        if each.wrong.any():
            _fail(check, each)
        _know_as_little(check, each)
        _check_kinks(check, each)
        _count(check, each)
    for each in comparisons:
        _require_known(check, each)
    for _ in range(UPSTREAMS):
        _compare_product(check, comparisons, check.upstream())


def _allow_for_absorbed(
    check: Check, each: Comparison, only: tuple[int, int] | None = None, least: float = 0.0
) -> None:
    """Take the rounding of absorbed terms into account, where an output stands still that vjp sees move.

    In 1 + 1e-20, or in x - log(exp(x) + 1) at 50, the part that depends on x is lost, and the output's own
    last bit does not show it. Further away these terms stand by themselves: what an output moves by within a
    few units of x was rounded at x, too. `least` is the size of terms that do not stand out there, as where x
    itself is tiny in log(cosh(1e-9)); `only` one derivative is looked at.
    """
    lost, eps = each.wrong & ~each.found.moves & each.known, float(np.finfo(check.dtype).eps)
    if only is not None:
        chosen = np.zeros(lost.shape, bool)
        chosen[only] = True
        lost &= chosen
    for k in map(int, np.flatnonzero(lost.any(axis=0))):
        found, here = each.found.column(k), lost[:, k]
        moved, secant = _far_away(check, each, k, here)
        with np.errstate(over="ignore"):
            rounding = np.where(here, 8 * eps * np.maximum(moved, least) / found.step, 0.0)
        each.found.put(
            k,
            replace(
                found,
                error=found.error + rounding,
                rounding=found.rounding + rounding,
                secant=np.where(here, np.maximum(found.secant, secant), found.secant),
            ),
        )


def _know_as_little(check: Check, each: Comparison) -> None:
    """Tell rounding from kinks, where so little of a derivative is known that others dwarf it.

    Terms that are nearly absorbed leave an output on a coarse grid. Its steps look like kinks.
    """
    unknown = np.isin(each.kinds(), (Kind.KINK, Kind.UNCERTAIN)) & each.known
    coarse = unknown & (each.size + each.tolerance <= each.share_of_small * _steepest(each))
    for k in map(int, np.flatnonzero(coarse.any(axis=0))):
        found, (move, unit) = each.found.column(k), check.move(each.input, k)
        step = float(found.step[coarse[:, k]].max()) / unit
        noise = check.noise_along(each.input, move, unit, step, wide=True)
        drowned = (2 * found.rounding > found.error) | (_EXPLAINS * 8 * noise >= found.error * found.step)
        explained = coarse[:, k] & drowned
        if explained.any():
            _, secant = _far_away(check, each, k, explained)
            small = replace(
                found,
                rounding=found.error,
                jump=np.zeros_like(found.jump),
                secant=np.maximum(found.secant, secant),
            )
            each.found.put(k, found.replaced(explained, small))


def _steepest(each: Comparison) -> float:
    return largest(np.where(each.known, each.found.value, 0))


def _far_away(check: Check, each: Comparison, k: int, here: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By how much each output moves within some units of x, at most, and at what slope."""
    move, unit = check.move(each.input, k)
    path, reach = check.along(each.input, move, unit), check.reach(each.input, move, unit)
    moved = secant = np.zeros(check.y.size)
    steepest = _steepest(each)
    for step in (far for far in _FAR if far < reach):
        # What is as steep as anything in this Jacobian is what was absorbed.
        if (2 * secant[here] >= steepest).all():
            break
        for inputs in (path(step), path(-step)):
            y = check.try_to_evaluate(inputs).ravel().astype(np.float64)
            with np.errstate(invalid="ignore", over="ignore"):
                distance = np.abs(y - check.y.ravel().astype(np.float64))
            distance = np.where(np.isfinite(distance), distance, 0.0)
            moved, secant = np.maximum(moved, distance), np.maximum(secant, distance / step / unit)
    return moved, np.minimum(secant, steepest)


def _look_again(check: Check, each: Comparison) -> None:
    """Clear what only seemed wrong: up to one output and one move at a time, the worst first."""
    _allow_for_absorbed(check, each)
    at, measured = check.wrt.index(each.input), set()
    for _ in range(8 * sum(each.analytic.shape)):
        wrong = each.wrong
        if not wrong.any():
            return
        m, k = _worst(each)
        if m not in measured:
            measured.add(m)
            unit = check.unit_upstream(m)
            each.scatter[m] = _sizes_along_moves(check, each.input, check.gradient_noise(unit)[at])
            terms = _sizes_along_moves(check, each.input, check.absorbed_in_gradient(unit)[at])
            each.scatter[m] += ROUNDING * float(np.finfo(check.dtype).eps) * terms
            each.found.secant[m] = np.maximum(each.found.secant[m], terms)
            if not each.wrong[m, k]:
                continue
        if check.method == "complex" or _confirmed(check, each, m, k):
            if each.found.moves[m, k]:
                return
            # Numbers absorb what is tiny beside 1 in most functions.
            _allow_for_absorbed(check, each, (m, k), least=1.0)
            if each.wrong[m, k]:
                return


def _sizes_along_moves(check: Check, i: int, sizes: np.ndarray) -> np.ndarray:
    flat = sizes.ravel()
    if check.is_free(i):
        return flat
    moves = (check.move(i, k)[0] for k in range(check.moves(i)))
    return np.array([np.abs(move.weights) @ flat[move.indices] for move in moves])


def _confirmed(check: Check, each: Comparison, m: int, k: int) -> bool:
    """Whether a second look finds the same numerical derivative. If it does not, what it finds is taken."""
    i = each.input
    at, unit, position, reach = along_move(check, i, k)
    column = each.found.column(k)
    beyond = each.distance[m, k]
    usual = step = column.step[m] / unit
    move, _ = check.move(i, k)
    bits = float(np.finfo(check.dtype).eps) * check.size_around(i, move, unit)[m]
    plain = abs(column.value[m]) * column.step[m] > _STAIRS * bits and beyond > _PLAINLY * abs(
        column.value[m]
    )
    if plain and _stays(at, unit, column, m, beyond, reach, smallest_step(position, check.dtype)):
        return True
    for share in _OTHER_STEPS:
        step *= share
        now = at(step).per_unit(unit)
        scattered = 8 * check.noise_along(i, move, unit, step) / (step * unit)
        # Rounding would hide what is looked for.
        if step < smallest_step(position, check.dtype) or not 8 * now.rounding[m] < beyond:
            break
        differs = np.abs(now.value - column.value) > 4 * (now.error + scattered + column.error)
        if differs[m] and now.moves[m]:
            first = now.per_unit(1 / unit)
            steps = [first.step[m] / 2**n for n in (4, 8, 12, 16)]
            floor = np.zeros(len(each.analytic))
            now = refined(first, at, steps, _accuracy(check), floor).per_unit(unit)
            each.found.put(k, column.replaced(differs & now.moves, now))
            return False
    # What is computed from x inherits the rounding of numbers of its size: steps of few bits may not show it.
    inherited = 8 * float(np.finfo(check.dtype).eps) * position / usual * abs(column.value[m])
    if beyond <= 4 * (column.error[m] + inherited):
        each.found.error[m, k] += inherited
        return False
    # Results that were made of larger numbers scatter by the last bits of those.
    this = np.arange(check.y.size) == m
    noise = check.noise_along(i, move, unit, usual, wide=True)
    check.noise = np.maximum(check.noise, np.where(this, noise, 0.0))
    if not 8 * check.noise[m] > 2 * column.rounding[m] * usual * unit:
        return True
    usual = usual_step(check.report.step, position, reach, check.dtype)
    at, *_ = along_move(check, i, k)
    each.found.put(k, column.replaced(this, at(usual).per_unit(unit)))
    _refine(check, i, k, each.found, np.abs(each.analytic[:, k]), usual, this)
    return False


def _stays(at, unit: float, column: Derivative, m: int, beyond: float, reach: float, least: float) -> bool:
    """Whether a derivative stays what it is at one larger step and all smaller ones, but for an eighth."""
    usual = step = column.step[m] / unit
    if usual * _LARGER >= reach:
        return False
    larger = at(usual * _LARGER).per_unit(unit)
    if not abs(larger.value[m] - column.value[m]) < beyond / 8:
        return False
    for share in _OTHER_STEPS:
        step *= share
        now = at(step).per_unit(unit)
        if step < least or not 8 * now.rounding[m] < beyond:
            break
        if not abs(now.value[m] - column.value[m]) < beyond / 8:
            return False
    return True


def _worst(each: Comparison) -> tuple[int, int]:
    """The derivative furthest beyond its tolerance."""
    distance, tolerance = each.distance, each.tolerance
    with np.errstate(over="ignore"):
        share = np.divide(
            distance, tolerance, out=np.where(distance > 0, np.inf, 0.0), where=each.known & (tolerance > 0)
        )
    m, k = np.unravel_index(int(np.where(each.wrong, share, 0).argmax()), share.shape)
    return int(m), int(k)


def _fail(check: Check, each: Comparison) -> None:
    i = each.input
    m, k = _worst(each)
    a, n = float(each.analytic[m, k]), float(each.found.value[m, k])
    distance, kinds = each.distance, each.kinds()
    counted = np.isin(kinds, (Kind.COMPARED, Kind.SMALL)) | each.wrong
    norm = _norm(np.where(counted, each.found.value, 0))
    move, unit = check.move(i, k)
    element = int(move.indices[np.abs(move.weights).argmax()])
    along = "" if check.is_free(i) else f" along move {k} of {check.constraints[i]}"
    check.fail(
        "values",
        f"the gradient of input {i} is wrong{along}",
        input=i,
        index=tuple(int(j) for j in np.unravel_index(element, check.inputs[i].shape)),
        output_index=tuple(int(j) for j in np.unravel_index(m, check.y.shape)),
        analytic=a,
        numeric=n,
        absolute_error=abs(a - n),
        relative_error=abs(a - n) / max(abs(a), abs(n)),
        norm_error=_norm(np.where(counted, distance, 0)) / norm if norm else math.inf,
        tolerance=float(each.tolerance[m, k]),
        step=float(each.found.step[m, k]) / unit,
        wrong=int(each.wrong.sum()),
        compared=int(counted.sum()),
        pattern=_pattern(check, each),
    )


def _pattern(check: Check, each: Comparison) -> str:
    if not check.is_free(each.input):
        return ""
    # Looked for in the gradient of one random upstream, which has the shape of the input.
    weights = check.random.standard_normal(len(each.analytic))
    wrong, right = (
        weights @ np.where(each.known, jacobian, 0) for jacobian in (each.analytic, each.found.value)
    )
    shape = check.inputs[each.input].shape
    return recognise(wrong.reshape(shape), right.reshape(shape), check.y.shape)


def _check_kinks(check: Check, each: Comparison) -> None:
    """A gradient at a kink is a choice, and lies between the slopes on its two sides or not far from them.

    A derivative that is further off at each of several steps is wrong. (F. Clarke, "Optimization and
    Nonsmooth Analysis", 1983, section 2.1: of a locally Lipschitz function of one number the generalised
    gradient is that interval.)
    """
    i, kinked = each.input, each.kinds() == Kind.KINK
    for k in np.flatnonzero(kinked.any(axis=0)):
        move, unit = check.move(i, int(k))
        path, reach = check.along(i, move, unit), check.reach(i, move, unit)
        position = check.position(i, move, unit)
        step = usual_step(check.report.step, position, reach, check.dtype)
        outside = kinked[:, k]
        for _ in range(_KINK_STEPS):
            if step < smallest_step(position, check.dtype) or not outside.any():
                break
            low, high, rounding = _slopes_beside(check, path, step, unit)
            room = _BESIDE_KINK * (high - low) + rounding
            here = each.analytic[:, k]
            # Where a value is not finite nothing is known.
            outside = outside & ((here < low - room) | (here > high + room))
            step /= 2**4
        if outside.any():
            m = int(outside.argmax())
            _fail_at_kink(check, each, m, int(k), float(low[m]), float(high[m]), step * 2**4)


def _slopes_beside(check: Check, path, step: float, unit: float) -> tuple[np.ndarray, ...]:
    """The least and the largest slope of each output beside x, from x on and further out; their rounding."""
    step = on_grid(step, check.dtype)
    at = [
        check.y if t == 0 else check.try_to_evaluate(path(t)) for t in (-step, -step / 2, 0, step / 2, step)
    ]
    values = np.array([y.ravel() for y in at], np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        slopes = np.concatenate([np.diff(values, axis=0) * 2, np.diff(values[::2], axis=0)]) / step / unit
        noise = np.maximum(float(np.finfo(check.dtype).eps) * np.abs(values).max(axis=0), check.noise)
        bits = ROUNDING * float(np.finfo(check.dtype).eps) * np.abs(slopes).max(axis=0)
    return slopes.min(axis=0), slopes.max(axis=0), 8 * noise / step / unit + bits


def _fail_at_kink(
    check: Check, each: Comparison, m: int, k: int, low: float, high: float, step: float
) -> None:
    i, analytic = each.input, float(each.analytic[m, k])
    move, _ = check.move(i, k)
    distance, size = max(low - analytic, analytic - high), max(abs(low), abs(high), abs(analytic))
    check.fail(
        "values",
        f"the gradient of input {i} at a kink is not between the slopes on its two sides, {low:.6g} and "
        f"{high:.6g}",
        input=i,
        index=tuple(int(j) for j in np.unravel_index(int(move.indices[0]), check.inputs[i].shape)),
        output_index=tuple(int(j) for j in np.unravel_index(m, check.y.shape)),
        analytic=analytic,
        numeric=min(max(analytic, low), high),
        absolute_error=distance,
        relative_error=distance / size,
        norm_error=distance / size,
        tolerance=_BESIDE_KINK * (high - low),
        step=step,
        wrong=1,
        compared=1,
    )


def _count(check: Check, each: Comparison) -> None:
    """Note in the report what was compared."""
    kinds, entry = each.kinds(), check.entry(each.input)
    for kind, name in (
        (Kind.COMPARED, "compared"),
        (Kind.ZERO, "zeros"),
        (Kind.SMALL, "small"),
        (Kind.KINK, "skipped"),
        (Kind.UNCERTAIN, "uncertain"),
    ):
        setattr(entry, name, getattr(entry, name) + int(np.count_nonzero(kinds == kind)))
    compared = kinds == Kind.COMPARED
    if compared.any():
        share = np.where(compared, each.distance / np.where(compared, each.tolerance, 1), -1)
        if not share.max() > 0:
            share = np.where(compared, each.tolerance / np.where(compared, each.size, 1), -1)
        at = np.unravel_index(int(share.argmax()), share.shape)
        size = float(each.size[at])
        entry.add(float(each.distance[at]) / size, float(each.tolerance[at]) / size)


def _require_known(check: Check, each: Comparison) -> None:
    """Fail if too many derivatives that are not 0 have nothing to be compared with."""
    entry = check.entry(each.input)
    unknown = entry.skipped + entry.uncertain
    share = unknown / (unknown + entry.compared) if unknown else 0.0
    if share <= check.max_skipped:
        return
    kinds = each.kinds()
    if entry.skipped >= entry.uncertain:
        if check.raised is not None and not each.known[kinds == Kind.KINK].any():
            error, inputs = check.raised
            check.fail(
                "raises",
                f"forward raises {type(error).__name__} near the inputs, at every step: {error}; "
                f"the last time with {_moved(check, inputs)}",
                input=each.input,
            )
        _fail_unknown(
            check, each, kinds == Kind.KINK, "kinks",
            f"{share:.0%} of the derivatives of input {each.input} that are not 0 lie at a kink at any "
            f"step: none to "
            f"compare with (allowed: {check.max_skipped:.0%}); move the inputs away, or pass redraw",
        )  # fmt: skip
    _fail_unknown(
        check, each, kinds == Kind.UNCERTAIN, "uncertain",
        f"{share:.0%} of the derivatives of input {each.input} that are not 0 are not known to "
        f"{check.max_tolerance:.1%} (allowed: {check.max_skipped:.0%})",
    )  # fmt: skip


def _moved(check: Check, inputs) -> str:
    for i, (a, b) in enumerate(zip(inputs, check.inputs, strict=True)):
        moved = np.argwhere(a != b)
        if len(moved):
            index = tuple(moved[0].tolist())
            return f"input {i} at {index} = {a[index].item()!r} instead of {b[index].item()!r}"
    return "the inputs themselves"


def _fail_unknown(check: Check, each: Comparison, where: np.ndarray, kind: str, summary: str) -> None:
    m, k = (int(j) for j in np.argwhere(where)[0])
    found, (move, unit) = each.found, check.move(each.input, k)
    index = tuple(int(j) for j in np.unravel_index(int(move.indices[0]), check.inputs[each.input].shape))
    if kind == "uncertain":
        value, error, rounding = (float(a[m, k]) for a in (found.value, found.error, found.rounding))
        step = float(found.step[m, k]) / unit
        output = float(check.y.flat[m])
        summary += (
            f". The first: by the element at {index} it is {value:.6g}, give or take {error:.2g}, at the "
            f"step "
            f"{step:.2g}; "
        )
        scattered = float(each.scatter[m, k])
        if scattered > 4 * error:
            summary += (
                f"what vjp gives is off by up to {scattered:.2g} itself, by rounding: it moves by "
                f"as much with the last bits of the inputs. Compute it without the cancellation; "
                f"max_tolerance= allows more"
            )
        elif 2 * rounding > error:
            summary += (
                f"the rounding of the output, {output:.6g}, is what drowns it. Bring inputs and outputs to "
                f"one scale, "
                "try a larger step=, or float64 if this is float32; max_tolerance= allows more"
            )
        else:
            summary += (
                "the function bends too much within it. Try a smaller step=; max_tolerance= allows more"
            )
    check.fail(kind, summary, input=each.input, step=float(found.step[m, k]) / unit)


def _compare_product(check: Check, comparisons: list[Comparison], u: np.ndarray) -> None:
    """The gradient for a random upstream gradient, against its product with the numeric Jacobian."""
    weights = u.ravel().astype(np.float64)
    for at, (each, gradient) in enumerate(zip(comparisons, check.gradients(u), strict=True)):
        i = each.input
        analytic = _along_moves(check, i, gradient.reshape(1, -1).astype(np.float64))[0]
        with np.errstate(invalid="ignore"):
            numeric = weights @ np.where(each.known, each.found.value, 0)
            limit = np.where(
                each.known.all(axis=0), np.abs(weights) @ np.where(each.known, each.tolerance, 0), np.inf
            )
        distance = np.where(np.isfinite(limit), np.abs(analytic - numeric), 0)
        if np.all(distance <= limit):
            continue
        limit = limit + _sizes_along_moves(check, i, check.gradient_noise(u)[at])
        wrong = ~(distance <= limit)
        if not wrong.any():
            continue
        k = int(np.where(wrong, distance / np.where(limit > 0, limit, 1e-300), 0).argmax())
        a, n = float(analytic[k]), float(numeric[k])
        move, unit = check.move(i, k)
        element = int(move.indices[np.abs(move.weights).argmax()])
        shape = check.inputs[i].shape
        norm = _norm(numeric[np.isfinite(limit)])
        check.fail(
            "values",
            f"the gradient of input {i} is wrong for a random upstream gradient, though not for those of "
            f"one output",
            input=i,
            index=tuple(int(j) for j in np.unravel_index(element, shape)),
            analytic=a,
            numeric=n,
            absolute_error=abs(a - n),
            relative_error=abs(a - n) / max(abs(a), abs(n)),
            norm_error=_norm(distance) / norm if norm else math.inf,
            tolerance=float(limit[k]),
            step=float(each.found.step[:, k].min(initial=math.inf)) / unit,
            wrong=int(wrong.sum()),
            compared=int(np.isfinite(limit).sum()),
            pattern=recognise(gradient, numeric.reshape(shape), check.y.shape) if check.is_free(i) else "",
        )


# Random directions


def check_directions(check: Check, where: str = "") -> None:
    """Compare the slope of each input along random directions, for random upstream gradients.

    `where` is said of a slope that is wrong.
    """
    wide = {}
    for number in range(check.report.directions):
        u = check.upstream()
        gradients = check.gradients(u)
        for i, gradient in zip(check.wrt, gradients, strict=True):
            kind, found = _along_direction(check, i, gradient, u, number, where)
            entry = check.entry(i)
            name = {
                Kind.COMPARED: "compared", Kind.ZERO: "zeros", Kind.KINK: "skipped", Kind.UNCERTAIN:
                "uncertain",
            }[kind]  # fmt: skip
            setattr(entry, name, getattr(entry, name) + 1)
            if kind == Kind.UNCERTAIN:
                wide[i] = found
    for i in check.wrt:
        entry = check.entry(i)
        unknown = entry.skipped + entry.uncertain
        total = unknown + entry.compared
        if not unknown or unknown <= check.max_skipped * total:
            continue
        if entry.skipped >= entry.uncertain:
            check.fail(
                "kinks",
                f"{entry.skipped} of {total} random directions of input {i} meet a kink (allowed: "
                f"{check.max_skipped:.0%}); pass redraw, or a smaller step=",
                input=i,
            )
        slope, size, error, rounding, step = wide[i]
        cure = (
            "rounding drowns it: bring inputs and outputs to one scale, or try a larger step="
            if 2 * rounding > error
            else "the function bends too much: try a smaller step="
        )
        check.fail(
            "uncertain",
            f"{entry.uncertain} of {total} random directions of input {i} have a slope that is not known to "
            f"{check.max_tolerance:.1%} (allowed: {check.max_skipped:.0%}). The last is {slope:.6g}, give "
            f"or take "
            f"{error:.2g}, of terms of the norm {size:.3g}, at the step {step:.2g}; {cure}. max_tolerance= "
            f"allows more",
            input=i,
        )


def _along_direction(check: Check, i: int, gradient: np.ndarray, u: np.ndarray, number: int, where: str):
    """Compare the slope of input i along a random direction: its kind, and what made it uncertain.

    Any dense direction crosses the kink of an element that lies on it. Where one meets a kink, directions
    that leave a random half of the elements alone are tried.
    """
    weights = u.ravel().astype(np.float64)
    terms = weights * check.y.ravel()
    eps = float(np.finfo(check.dtype).eps)
    # Outputs are rounded independently of each other; their sum is made in float64.
    noise = max(
        float(scatter(np.array(check.samples) @ weights[:, None])[0][0]),
        eps * _norm(terms),
        np.finfo(float).eps * float(np.abs(terms).sum()),
    )
    gradient = gradient.ravel().astype(np.float64)
    best = None
    for attempt in range(_REDRAWS + 1):
        move = check.random_move(i, sparse=attempt > 0)
        size = _norm(gradient[move.indices] * move.weights)
        found = _slope(check, i, move, weights, noise, size)
        if best is None or found.error[0] < best[2].error[0]:
            best = move, size, found
        move, size, found = best
        if check.method == "complex":
            break
        if 4 * found.error[0] <= check.max_tolerance * max(size, abs(float(found.value[0]))):
            break
    slopes = gradient[move.indices] * move.weights
    slope, bits = float(slopes.sum()), ROUNDING * eps * float(np.abs(slopes).sum())

    def judged() -> tuple[float, float, float, float]:
        value, error = float(found.value[0]), float(found.error[0])
        return value, error, abs(slope - value), 4 * error + bits

    value, error, distance, limit = judged()
    if math.isfinite(error) and not distance <= limit and check.method != "complex":
        # A second look: do results scatter more than near the inputs, and does a smaller step say the same?
        step = float(found.step[0])
        noise = max(noise, float(check.noise_along(i, move, 1.0, step, weights, wide=True)[0]))
        found = _slope(check, i, move, weights, noise, size)
        value, error, distance, limit = judged()
        for _ in range(4):
            step /= 16
            now = _slope(check, i, move, weights, noise, size, step)
            if not 8 * now.rounding[0] < distance:
                break
            if abs(float(now.value[0]) - value) > 4 * (float(now.error[0]) + error):
                found = now
                value, error, distance, limit = judged()
    details = slope, size, error, float(found.rounding[0]), float(found.step[0])
    if not math.isfinite(error):
        return Kind.KINK, details
    if not distance <= limit:
        scattered = check.gradient_noise(u)[check.wrt.index(i)].ravel()
        limit += _norm(scattered[move.indices] * move.weights)
        if not distance <= limit:
            fail_along(check, i, number, where, slope, value, distance, limit, float(found.step[0]))
    if size == 0 and abs(value) <= limit:
        return Kind.ZERO, details
    if limit > check.max_tolerance * max(size, abs(value)):
        kinked = 2 * float(found.jump[0]) > error
        return (Kind.KINK if kinked else Kind.UNCERTAIN), details
    entry = check.entry(i)
    entry.add(distance / max(size, abs(value)), limit / max(size, abs(value)))
    # One of n equal terms is the n-th part of the square of their norm.
    power = _LEAST_SHARE * limit / size * math.sqrt(np.count_nonzero(slopes)) if size else math.inf
    entry.power = power if not entry.power else min(entry.power, power)
    return Kind.COMPARED, details


def _slope(
    check: Check,
    i: int,
    move: Move,
    weights: np.ndarray,
    noise: float,
    size: float,
    step: float | None = None,
) -> Derivative:
    """The numeric slope of the weighted sum of the outputs along a direction; `size` is what to expect."""
    at = check.differentiated(check.along(i, move, 1.0), weights, noise=noise)
    if check.method == "complex":
        return at(COMPLEX_STEP)
    reach = check.reach(i, move, 1.0)
    usual = usual_step(check.report.step if step is None else step, 1.0, reach, check.dtype)
    steps = [s for s in steps_to_try(usual, 1.0, check.dtype) if s < reach]
    return refined(at(usual), at, steps, _accuracy(check), np.array([size]), expected=size > 0)


def fail_along(check: Check, i, number, where, slope, value, distance, limit, step) -> None:
    check.fail(
        "values",
        f"the gradient of input {i} is wrong along random direction {number}{where and f', {where}'}",
        input=i,
        index=(),
        analytic=slope,
        numeric=value,
        absolute_error=distance,
        relative_error=distance / max(abs(slope), abs(value)),
        norm_error=distance / abs(value) if value else math.inf,
        tolerance=limit,
        step=step,
        wrong=1,
        compared=1,
    )
