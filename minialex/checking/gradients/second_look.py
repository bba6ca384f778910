"""A second look at derivatives that seem wrong, before a gradient is called so.

The numerical derivative has to stay what it is at other steps (a function may repeat itself at the first
one). The distance has to be more than what the analytic gradient scatters by when its inputs move by their
last bits. And the output must not have absorbed what depends on the input: then it stands still, or on stairs
of the last bits of larger numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from minialex.checking.gradients.check import Check
from minialex.checking.gradients.comparison import Comparison, Kind
from minialex.checking.gradients.differences import (
    Derivative,
    Goal,
    ascending_steps,
    first_certain,
    largest,
    refined,
    smallest_step,
)
from minialex.checking.gradients.jacobians import refine, sizes_along_moves
from minialex.checking.gradients.noise import ROUNDING
from minialex.checking.gradients.paths import Path

# Steps at which a derivative that seems wrong is looked at again, each relative to the one before: with few
# bits, so that x + h is exact, and not all powers of two, as a function may repeat itself with those.
_OTHER_STEPS = (5 / 16, *(1 / 16,) * 11)
_LARGER = 13.37
# An output that moves by no more than this many last bits of what it was made of may stand on a stair of
# them, with all small steps.
_STAIRS = 64
# From this share of a derivative on, a distance is plain: more than a matter of rounding.
_PLAINLY = 1e-4
# How far x is moved, in its units, to see what a result is made of that stands still at x.
_FAR = tuple(4.0**n for n in range(-1, 6))
# How many times smaller than an error noise may be, and still explain it.
_EXPLAINS = 8


def look_again(check: Check, each: Comparison) -> None:
    """Clear what only seemed wrong, one output and one move at a time, the worst first."""
    _allow_for_absorbed(check, each)
    at, measured = check.wrt.index(each.input), set()
    for _ in range(8 * sum(each.analytic.shape)):
        wrong = each.wrong
        if not wrong.any():
            return
        m, k = worst(each)
        if m not in measured:
            measured.add(m)
            unit = check.unit_upstream(m)
            each.scatter[m] = sizes_along_moves(check, each.input, check.gradient_noise(unit)[at])
            terms = sizes_along_moves(check, each.input, check.absorbed_in_gradient(unit)[at])
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


def _confirmed(check: Check, each: Comparison, m: int, k: int) -> bool:
    """Whether a second look finds the same numerical derivative. If it does not, what it finds is taken."""
    path = Path.along(check, each.input, k)
    at, unit = path.derivative(check.noise), path.unit
    column = each.found.column(k)
    beyond = each.distance[m, k]
    usual = step = column.step[m] / unit
    bits = float(np.finfo(check.dtype).eps) * path.size_around()[m]
    with np.errstate(invalid="ignore", over="ignore"):
        moved = abs(column.value[m]) * column.step[m]
    plain = moved > _STAIRS * bits and beyond > _PLAINLY * abs(column.value[m])
    smallest = smallest_step(path.position, check.dtype)
    if plain and _stays(path, at, column, m, beyond):
        return True
    # What was absorbed stands still within a smaller step, and the rest may well move on.
    with np.errstate(over="ignore"):
        least = 8 * bits / beyond / unit
    for share in _OTHER_STEPS:
        step *= share
        now = at(step).per_unit(unit)
        scattered = 8 * path.noise(step) / (step * unit)
        # Rounding would hide what is looked for.
        if step < max(least, smallest) or not 8 * now.rounding[m] < beyond:
            break
        differs = np.abs(now.value - column.value) > 4 * (now.error + scattered + column.error)
        if differs[m] and now.moves[m]:
            first = now.per_unit(1 / unit)
            steps = [first.step[m] / 2**n for n in (4, 8, 12, 16)]
            now = refined(first, at, steps, Goal(check.accuracy)).per_unit(unit)
            each.found.put(k, column.replaced(differs & now.moves, now))
            return False
    this = np.arange(check.y.size) == m
    # From below: the usual step may be longer than a period of some term.
    now = first_certain(at, [s for s in ascending_steps(check.dtype, path.reach) if s >= least], m)
    if now is not None:
        now = now.per_unit(unit)
        differs = abs(now.value[m] - column.value[m]) > 4 * (now.error[m] + column.error[m])
        if now.moves[m] and differs:
            each.found.put(k, column.replaced(this, now))
            return False
    # What is computed from x inherits the rounding of numbers of its size: steps of few bits may not show it.
    inherited = 8 * float(np.finfo(check.dtype).eps) * path.position / usual * abs(column.value[m])
    if beyond <= 4 * (column.error[m] + inherited):
        each.found.error[m, k] += inherited
        return False
    # Results that were made of larger numbers scatter by the last bits of those.
    noise = path.noise(usual, wide=True)
    check.noise = np.maximum(check.noise, np.where(this, noise, 0.0))
    if not 8 * check.noise[m] > 2 * column.rounding[m] * usual * unit:
        # Rounding may leave too little within smaller steps to say that it is wrong.
        drowned = now is not None and now.moves[m] and 2 * now.rounding[m] > now.error[m]
        known = not drowned or abs(now.value[m] - each.analytic[m, k]) > 4 * now.error[m]
        if not known:
            each.found.put(k, column.replaced(this, now))
        return known
    now = path.derivative(check.noise)(path.usual_step)
    each.found.put(k, column.replaced(this, now.per_unit(unit)))
    refine(path, k, each.found, Goal(check.accuracy, np.abs(each.analytic[:, k]), this))
    return False


def _stays(path: Path, at: Callable[..., Derivative], column: Derivative, m: int, beyond: float) -> bool:
    """Whether a derivative stays what it is at one larger step and all smaller ones, but for an eighth."""
    unit, least = path.unit, smallest_step(path.position, path.check.dtype)
    usual = step = column.step[m] / unit
    if usual * _LARGER >= path.reach:
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


def worst(each: Comparison) -> tuple[int, int]:
    """The derivative furthest beyond its tolerance."""
    distance, tolerance = each.distance, each.tolerance
    with np.errstate(over="ignore"):
        share = np.divide(
            distance, tolerance, out=np.where(distance > 0, np.inf, 0.0), where=each.known & (tolerance > 0)
        )
    m, k = np.unravel_index(int(np.where(each.wrong, share, 0).argmax()), share.shape)
    return int(m), int(k)


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


def know_as_little(check: Check, each: Comparison) -> None:
    """Tell rounding from kinks, where so little of a derivative is known that others dwarf it.

    Terms that are nearly absorbed leave an output on a coarse grid. Its steps look like kinks.
    """
    unknown = np.isin(each.kinds(), (Kind.KINK, Kind.UNCERTAIN)) & each.known
    coarse = unknown & (each.size + each.tolerance <= each.share_of_small * _steepest(each))
    for k in map(int, np.flatnonzero(coarse.any(axis=0))):
        found, path = each.found.column(k), Path.along(check, each.input, k)
        noise = path.noise(float(found.step[coarse[:, k]].max()) / path.unit, wide=True)
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
    path = Path.along(check, each.input, k)
    moved = secant = np.zeros(check.y.size)
    steepest = _steepest(each)
    for step in (far for far in _FAR if far < path.reach):
        # What is as steep as anything in this Jacobian is what was absorbed.
        if (2 * secant[here] >= steepest).all():
            break
        for inputs in (path(step), path(-step)):
            y = check.try_to_evaluate(inputs).ravel().astype(np.float64)
            with np.errstate(invalid="ignore", over="ignore"):
                distance = np.abs(y - check.y.ravel().astype(np.float64))
            distance = np.where(np.isfinite(distance), distance, 0.0)
            moved, secant = np.maximum(moved, distance), np.maximum(secant, distance / step / path.unit)
    return moved, np.minimum(secant, steepest)
