"""Both sides of every derivative: rows from vjp, columns from differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minialex.checking.constraints import Move
from minialex.checking.gradients.comparison import NOTHING, Comparison
from minialex.checking.gradients.differences import (
    Derivative,
    negligible_below,
    on_grid,
    refined,
    smallest_step,
    steps_to_try,
    too_uncertain,
)

if TYPE_CHECKING:
    from minialex.checking.gradients.check import Check


# A step, in units of x, at which what larger terms have absorbed is looked for, and in how many last bits of
# these.
_ABSORBED_STEP = 2.0**-4
_ABSORBED = 2**20


def analytic_jacobians(check: Check) -> list[np.ndarray]:
    """One array (M, K) for each input that is checked, row by row from unit upstream gradients."""
    rows = [np.zeros((check.y.size, check.inputs[i].size)) for i in check.wrt]
    for m in range(check.y.size):
        for jacobian, gradient in zip(rows, check.gradients(check.unit_upstream(m)), strict=True):
            jacobian[m] = gradient.ravel()
    return [along_moves(check, i, each) for i, each in zip(check.wrt, rows, strict=True)]


def along_moves(check: Check, i: int, rows: np.ndarray) -> np.ndarray:
    """Derivatives (M, size) by the elements of an input, as (M, K) along its moves."""
    if check.is_free(i):
        return rows
    moves = [check.move(i, k)[0] for k in range(check.moves(i))]
    columns = [rows[:, move.indices] @ move.weights for move in moves]
    return np.stack(columns, axis=1) if columns else np.zeros((len(rows), 0))


def sizes_along_moves(check: Check, i: int, sizes: np.ndarray) -> np.ndarray:
    flat = sizes.ravel()
    if check.is_free(i):
        return flat
    moves = (check.move(i, k)[0] for k in range(check.moves(i)))
    return np.array([np.abs(move.weights) @ flat[move.indices] for move in moves])


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
    accuracy, floor = check.accuracy, negligible_below(whole)
    for k in np.flatnonzero(too_uncertain(whole, accuracy, floor).any(axis=0)):
        refine(check, i, int(k), whole, floor[:, k], usual[k])
    for k in _absorbed(check, i, whole):
        refine(check, i, k, whole, np.zeros(check.y.size), usual[k], expected=True)
    return whole


def _absorbed(check: Check, i: int, whole: Derivative) -> list[int]:
    """The columns in which nothing moves, if that does with larger steps: large results absorb it."""
    still = np.flatnonzero(~whole.moves.any(axis=0))
    if not (still.size and check.is_free(i)):
        return []
    return still.tolist() if absorbs(check, i, Move(still, check.units(i)[still])) else []


def absorbs(check: Check, i: int, move: Move) -> bool:
    """Whether a larger step moves last bits of an output that a small one does not move."""
    path = check.along(i, move, 1.0)
    most = _ABSORBED * float(np.finfo(check.dtype).eps) * np.abs(check.y)
    for step in (-_ABSORBED_STEP, _ABSORBED_STEP):
        with np.errstate(invalid="ignore", over="ignore"):
            moved = np.abs(check.try_to_evaluate(path(step)) - check.y)
        if np.any((moved > 0) & (moved <= most)):
            return True
    return False


def refine(check: Check, i: int, k: int, whole: Derivative, floor, usual: float, expected=False) -> None:
    """Make the derivatives along one move as certain as other steps make them."""
    at, unit, position, reach = along_move(check, i, k)
    first = whole.column(k).per_unit(1 / unit)
    steps = [s for s in steps_to_try(usual, position, check.dtype) if s < reach]
    found = refined(first, at, steps, check.accuracy, floor * unit, expected, usual)
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
            refine(check, each.input, int(k), found, floor[:, k], usual, hidden[:, k])


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
        Comparison(i, a, n, NOTHING * eps * terms / unit, check.dtype, check.max_tolerance)
        for i, a, n, unit in zip(check.wrt, analytic, numeric, units, strict=True)
    ]
    if check.method != "complex":
        for each in comparisons:
            _refine_expected(check, each)
    return comparisons
