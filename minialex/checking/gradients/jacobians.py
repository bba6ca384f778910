"""Both sides of every derivative: rows from vjp, columns from differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from minialex.checking.constraints import Move
from minialex.checking.gradients.check import Check
from minialex.checking.gradients.comparison import NOTHING, Comparison
from minialex.checking.gradients.differences import Derivative, Goal, negligible_below, refined, steps_to_try
from minialex.checking.gradients.paths import Path

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
    paths = [Path.along(check, i, k) for k in range(check.moves(i))]
    whole = Derivative.zeros((check.y.size, len(paths)))
    for k, path in enumerate(paths):
        whole.put(k, path.derivative(check.noise)(path.usual_step).per_unit(path.unit))
    if check.method == "complex":
        return whole
    floor = negligible_below(whole)
    for k in np.flatnonzero(Goal(check.accuracy, floor).missed(whole).any(axis=0)):
        refine(paths[k], int(k), whole, Goal(check.accuracy, floor[:, k]))
    for k in _absorbed(check, i, whole):
        refine(paths[k], k, whole, Goal(check.accuracy, np.zeros(check.y.size), expected=True))
    return whole


def _absorbed(check: Check, i: int, whole: Derivative) -> list[int]:
    """The columns in which nothing moves, if that does with larger steps: large results absorb it."""
    still = np.flatnonzero(~whole.moves.any(axis=0))
    if not (still.size and check.is_free(i)):
        return []
    return still.tolist() if absorbs(Path(check, i, Move(still, check.units(i)[still]))) else []


def absorbs(path: Path) -> bool:
    """Whether a larger step moves last bits of an output that a small one does not move."""
    check = path.check
    most = _ABSORBED * float(np.finfo(check.dtype).eps) * np.abs(check.y)
    for step in (-_ABSORBED_STEP, _ABSORBED_STEP):
        with np.errstate(invalid="ignore", over="ignore"):
            moved = np.abs(check.try_to_evaluate(path(step)) - check.y)
        if np.any((moved > 0) & (moved <= most)):
            return True
    return False


def refine(path: Path, k: int, whole: Derivative, goal: Goal) -> None:
    """Make the derivatives along one move, the k-th, as certain as other steps make them."""
    check, unit, usual = path.check, path.unit, path.usual_step
    first = whole.column(k).per_unit(1 / unit)
    steps = [s for s in steps_to_try(usual, path.position, check.dtype) if s < path.reach]
    goal = replace(goal, floor=goal.floor * unit)
    whole.put(k, refined(first, path.derivative(check.noise), steps, goal, usual).per_unit(unit))


def _refine_expected(check: Check, each: Comparison) -> None:
    """Look for derivatives that vjp gives, and that rounding hides at the usual step."""
    found = each.found
    hidden = (each.analytic != 0) & (2 * found.rounding > found.error)
    hidden &= ~(each.tolerance <= each.max_tolerance * np.abs(each.analytic))
    floor = np.minimum(np.abs(each.analytic), negligible_below(found))
    for k in map(int, np.flatnonzero(hidden.any(axis=0))):
        path = Path.along(check, each.input, k)
        if found.step[:, k].min() / path.unit == path.usual_step:
            refine(path, k, found, Goal(check.accuracy, floor[:, k], hidden[:, k]))


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
