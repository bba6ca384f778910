"""Gradients at kinks, which lie between the slopes on both sides."""

from __future__ import annotations

import numpy as np

from minialex.checking.gradients.check import Check
from minialex.checking.gradients.comparison import Comparison, Kind, index_in
from minialex.checking.gradients.differences import on_grid, smallest_step
from minialex.checking.gradients.noise import ROUNDING
from minialex.checking.gradients.paths import Path

# How far from the interval of the slopes beside a kink a gradient may lie, as a share of it, and at how many
# steps that is looked at.
_BESIDE_KINK = 0.5
_KINK_STEPS = 5


def check_kinks(check: Check, each: Comparison) -> None:
    """A gradient at a kink is a choice, and lies between the slopes on its two sides or not far from them.

    A derivative that is further off at each of several steps is wrong. (F. Clarke, "Optimization and
    Nonsmooth Analysis", 1983, section 2.1: of a locally Lipschitz function of one number the generalised
    gradient is that interval.)
    """
    kinked = each.kinds() == Kind.KINK
    for k in map(int, np.flatnonzero(kinked.any(axis=0))):
        path = Path.along(check, each.input, k)
        step, outside = path.usual_step, kinked[:, k]
        for _ in range(_KINK_STEPS):
            if step < smallest_step(path.position, check.dtype) or not outside.any():
                break
            low, high, rounding = _slopes_beside(path, step)
            room = _BESIDE_KINK * (high - low) + rounding
            here = each.analytic[:, k]
            # Where a value is not finite nothing is known.
            outside = outside & ((here < low - room) | (here > high + room))
            step /= 2**4
        if outside.any():
            m = int(outside.argmax())
            _fail_at_kink(path, float(each.analytic[m, k]), m, (float(low[m]), float(high[m])), step * 2**4)


def _slopes_beside(path: Path, step: float) -> tuple[np.ndarray, ...]:
    """The least and the largest slope of each output beside x, from x on and further out; their rounding."""
    check, unit = path.check, path.unit
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


def _fail_at_kink(path: Path, analytic: float, m: int, slopes: tuple[float, float], step: float) -> None:
    check, i, (low, high) = path.check, path.input, slopes
    distance, size = max(low - analytic, analytic - high), max(abs(low), abs(high), abs(analytic))
    check.fail(
        "values",
        f"the gradient of input {i} at a kink is not between the slopes on its two sides, {low:.6g} and "
        f"{high:.6g}",
        input=i,
        index=index_in(check.inputs[i].shape, int(path.move.indices[0])),
        output_index=index_in(check.y.shape, m),
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
