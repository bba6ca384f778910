"""Comparing slopes along random directions: a quick check of functions with many derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minialex.checking.gradients.check import Check
from minialex.checking.gradients.comparison import Kind, euclidean_norm
from minialex.checking.gradients.differences import (
    COMPLEX_STEP,
    Derivative,
    Goal,
    ascending_steps,
    first_certain,
    refined,
    steps_to_try,
    usual_step,
)
from minialex.checking.gradients.jacobians import absorbs
from minialex.checking.gradients.noise import ROUNDING, scatter
from minialex.checking.gradients.paths import Path

# How often another direction is drawn where one meets a kink.
_REDRAWS = 8
# What the report says of errors in single elements holds for this share of them. The derivatives of others
# are too small beside the rest.
_SHOWN = 0.9


class Drawn(NamedTuple):
    """One of the random comparisons: its number, its upstream gradient, and where it is made, in words."""

    number: int
    upstream: np.ndarray
    where: str = ""


def check_directions(check: Check, where: str = "") -> None:
    """Compare the slope of each input along random directions, for random upstream gradients.

    `where` is said of a slope that is wrong.
    """
    wide = {}
    # For each element the smallest error, relative to its derivative, that one of the directions shows.
    shown = {i: np.full(check.inputs[i].size, np.inf) for i in check.wrt}
    for number in range(check.report.directions):
        drawn = Drawn(number, check.upstream(), where)
        for i, gradient in zip(check.wrt, check.gradients(drawn.upstream), strict=True):
            kind, found = _along_direction(check, i, gradient, drawn, shown[i])
            check.entry(i).count(kind.figure, 1)
            if kind == Kind.UNCERTAIN:
                wide[i] = found
    for i in check.wrt:
        entry = check.entry(i)
        known = np.sort(shown[i][np.isfinite(shown[i])])
        if known.size:
            entry.power = float(known[math.ceil(_SHOWN * known.size) - 1])
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
            f"{check.max_tolerance:.1%} (allowed: {check.max_skipped:.0%}). The last is {slope:.6g}, give or "
            f"take {error:.2g}, of terms of the norm {size:.3g}, at the step {step:.2g}; {cure}. "
            "max_tolerance= allows more",
            input=i,
        )


def _along_direction(check: Check, i: int, gradient: np.ndarray, drawn: Drawn, shown: np.ndarray):
    """Compare the slope of input i along a random direction: its kind, and what made it uncertain.

    Any dense direction crosses the kink of an element that lies on it. Where one meets a kink, directions
    that leave a random half of the elements where it is are tried.
    """
    weights = drawn.upstream.ravel().astype(np.float64)
    terms = weights * check.y.ravel()
    eps = float(np.finfo(check.dtype).eps)
    # Outputs are rounded independently of each other; their sum is made in float64.
    noise = max(
        float(scatter(np.array(check.samples) @ weights[:, None])[0][0]),
        eps * euclidean_norm(terms),
        np.finfo(float).eps * float(np.abs(terms).sum()),
    )
    gradient = gradient.ravel().astype(np.float64)
    best = None
    for attempt in range(_REDRAWS + 1):
        path = Path(check, i, check.random_move(i, sparse=attempt > 0))
        size = euclidean_norm(gradient[path.move.indices] * path.move.weights)
        found = _slope(path, path.derivative(noise, weights), size)
        if best is None or found.error[0] < best[2].error[0]:
            best = path, size, found
        path, size, found = best
        if check.method == "complex":
            break
        if 4 * found.error[0] <= check.max_tolerance * max(size, abs(float(found.value[0]))):
            break
        # Against rounding, or where nothing moves, no other direction helps.
        if 2 * found.rounding[0] > found.error[0] or not (size or found.moves[0]):
            break
    move = path.move
    slopes = gradient[move.indices] * move.weights
    slope, bits = float(slopes.sum()), ROUNDING * eps * float(np.abs(slopes).sum())

    def judged() -> tuple[float, float, float, float]:
        value, error = float(found.value[0]), float(found.error[0])
        return value, error, abs(slope - value), 4 * error + bits

    value, error, distance, limit = judged()
    seems_wrong = math.isfinite(error) and not distance <= limit and check.method != "complex"
    if seems_wrong:
        # A second look: do smaller steps say the same? The usual one may be longer than a period of a term.
        now = first_certain(path.derivative(noise, weights), ascending_steps(check.dtype, path.reach))
        if now is not None and abs(float(now.value[0]) - value) > 4 * (float(now.error[0]) + error):
            found = now
            value, error, distance, limit = judged()
    if seems_wrong and not distance <= limit:
        # And do results scatter more than near the inputs?
        step = float(found.step[0])
        noise = max(noise, float(path.noise(step, weights, wide=True)[0]))
        again = _slope(path, path.derivative(noise, weights), size)
        if abs(float(again.value[0]) - value) <= 4 * (float(again.error[0]) + error + 8 * noise / step):
            found = again
            value, error, distance, limit = judged()
        # Smaller steps may not know it well enough to say that it is wrong, as where the function jumps.
        unknown = now is not None and bool(now.moves[0])
        if unknown and not distance <= limit and abs(float(now.value[0]) - slope) <= 4 * float(now.error[0]):
            found = now
            value, error, distance, limit = judged()
    details = slope, size, error, float(found.rounding[0]), float(found.step[0])
    if not math.isfinite(error):
        return Kind.KINK, details
    if not distance <= limit:
        scattered = check.gradient_noise(drawn.upstream)[check.wrt.index(i)].ravel()
        limit += euclidean_norm(scattered[move.indices] * move.weights)
        if not distance <= limit:
            fail_along(path, drawn, slope, value, limit, float(found.step[0]))
    if size == 0 and abs(value) <= limit:
        return Kind.ZERO, details
    if limit > check.max_tolerance * max(size, abs(value)):
        kinked = 2 * float(found.jump[0]) > error
        return (Kind.KINK if kinked else Kind.UNCERTAIN), details
    entry = check.entry(i)
    entry.add(distance / max(size, abs(value)), limit / max(size, abs(value)))
    with np.errstate(divide="ignore"):
        shown[move.indices] = np.minimum(shown[move.indices], (distance + limit) / np.abs(slopes))
    return Kind.COMPARED, details


def _slope(path: Path, at: Callable[..., Derivative], size: float) -> Derivative:
    """The numeric slope of the weighted sum of the outputs along a direction; `size` is what to expect."""
    check, reach = path.check, path.reach
    if check.method == "complex":
        return at(COMPLEX_STEP)
    usual = usual_step(check.report.step, 1.0, reach, check.dtype)
    steps = [s for s in steps_to_try(usual, 1.0, check.dtype) if s < reach]
    first = at(usual)
    # A large result may have absorbed what depends on this input.
    expected = size > 0 or absorbs(path)
    return refined(first, at, steps, Goal(check.accuracy, np.array([size]), expected))


def fail_along(path: Path, drawn: Drawn, slope: float, value: float, tolerance: float, step: float) -> None:
    """Fail: the analytic slope is not the numeric value."""
    distance = abs(slope - value)
    where = f", {drawn.where}" if drawn.where else ""
    path.check.fail(
        "values",
        f"the gradient of input {path.input} is wrong along random direction {drawn.number}{where}",
        input=path.input,
        index=(),
        analytic=slope,
        numeric=value,
        absolute_error=distance,
        relative_error=distance / max(abs(slope), abs(value)),
        norm_error=distance / abs(value) if value else math.inf,
        tolerance=tolerance,
        step=step,
        wrong=1,
        compared=1,
    )
