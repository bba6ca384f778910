"""What a comparison at the inputs with one step cannot see: fine structure, and values kept from one call.

Derivatives that are right at the inputs may be those of the first call, kept by address or shape. And a step
may be too long for what happens in less than it: x + x exp(-(x / 1e-6)^2) has the slope 2 at 0. So the slope
is compared along a few random directions more: at the inputs with a step near the smallest that rounding
allows, and at inputs that are moved a little.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

import numpy as np

from minialex.checking.gradients.behaviour import require_repeated
from minialex.checking.gradients.check import Check
from minialex.checking.gradients.comparison import euclidean_norm
from minialex.checking.gradients.differences import ascending_steps, first_certain
from minialex.checking.gradients.noise import ROUNDING
from minialex.checking.gradients.paths import Path
from minialex.checking.gradients.random_directions import Drawn, check_directions, fail_along
from minialex.checking.report import GradcheckError

_DIRECTIONS = 2
# One is enough after directions whose own step is small, and at other inputs: what was kept is wrong along
# any.
_MORE_DIRECTIONS = 1
# A stream of random numbers of their own.
_STREAM = 2
# Other steps at which a slope has to be the same.
_SHARES = (3 / 7, 1 / 3)
# How far the inputs are moved, in their units: a gradient that stays behind is off by about this share.
_MOVED = {np.dtype(np.float64): 2.0**-6, np.dtype(np.float32): 2.0**-3}


_left_out: ContextVar[bool] = ContextVar("_left_out", default=False)


@contextmanager
def left_out() -> Iterator[None]:
    """Within this block only the given inputs are looked at: others may mean something else."""
    token = _left_out.set(True)
    try:
        yield
    finally:
        _left_out.reset(token)


def check_analytic(check: Check) -> None:
    """After the complex step: central differences along random directions say the same.

    The complex step of abs(x) * x, or of x * conj(x), is not its derivative.

    Raises
    ------
    GradcheckError
        Of the check "values", if they do not.
    """
    if check.method == "complex":
        _compare(
            _derived(check, check.inputs, _DIRECTIONS, method="central"),
            "by central differences, though not by the complex step: forward is not analytic, or its complex "
            'arithmetic is different; take method="central"',
        )


def check_small_steps(check: Check) -> None:
    """The slope along random directions, with a step near the smallest.

    Raises
    ------
    GradcheckError
        Of the check "values", if it is different.
    """
    if check.method == "complex":
        return
    for number in range(_MORE_DIRECTIONS if check.report.mode == "directions" else _DIRECTIONS):
        drawn = Drawn(number, check.upstream(), "with a small step")
        for i, gradient in zip(check.wrt, check.gradients(drawn.upstream), strict=True):
            path = Path(check, i, check.random_move(i))
            slopes = gradient.ravel()[path.move.indices].astype(np.float64) * path.move.weights
            _compare_slope(path, drawn, slopes)


def _compare_slope(path: Path, drawn: Drawn, slopes: np.ndarray) -> None:
    """Fail if the slope is different at the best of small steps, and stays so at others beside it."""
    check, move, u = path.check, path.move, drawn.upstream
    steps = ascending_steps(check.dtype, path.reach)
    weights = u.ravel().astype(np.float64)
    eps = float(np.finfo(check.dtype).eps)
    slope, size = float(slopes.sum()), euclidean_norm(slopes)
    bits = ROUNDING * eps * float(np.abs(slopes).sum())
    with np.errstate(all="ignore"):
        noise = eps * float(np.linalg.norm(weights * check.y.ravel())) + float(np.abs(weights) @ check.noise)
        at = path.derivative(noise, weights)
        # Derivatives that are not compared one by one need be known no better.
        goal = check.max_tolerance / 8 * size if check.report.mode == "directions" else 0.0
        found = first_certain(at, steps, goal=goal)
        if found is None:
            return
        value, error = float(found.value[0]), float(found.error[0])
        # Where results scatter more than they seem to, the last digits are no reason to refuse a gradient.
        limit = max(4 * error + bits, check.accuracy / 8 * size)
        # Results on stairs stand still within one.
        known = limit <= check.max_tolerance * max(size, abs(value)) and found.moves[0]
        if not known or abs(value - slope) <= limit:
            return
        others = [at(float(found.step[0]) * share) for share in _SHARES]
    # Smaller steps know it less well.
    if not all(
        abs(value - float(o.value[0])) <= limit + 4 * float(o.error[0]) < abs(value - slope) for o in others
    ):
        return
    scattered = check.gradient_noise(u)[check.wrt.index(path.input)].ravel()[move.indices] * move.weights
    limit += euclidean_norm(scattered)
    if abs(value - slope) > limit:
        fail_along(path, drawn, slope, value, limit, float(found.step[0]))


def check_other_inputs(check: Check) -> None:
    """The slope at inputs that are moved a little, and the result at the inputs once more.

    Where forward is not defined or not finite there, or has a kink, nothing is compared.

    Raises
    ------
    GradcheckError
        Of the check "values" if the gradient is wrong there, and "not deterministic" if the result at the
        inputs is not what it was before.
    """
    if _left_out.get():
        return
    kept = "though right at these: does it keep what an earlier call computed?"
    _compare_at(check, _beside(check), f"at inputs beside these, {kept}")
    # Beside these a mask, or the index of a maximum, is the same.
    _compare_at(check, _rolled(check), f"at the same numbers in another order, {kept}")
    with check.told("forward, called again,"):
        again = check.evaluate(check.inputs)
    require_repeated(check, again, check.y, "forward gives another result once it was called with others")


def _beside(check: Check) -> list[np.ndarray]:
    moved = list(check.inputs)
    for i in check.wrt:
        move = check.random_move(i)
        size = _MOVED[check.dtype]
        while 2 * size >= check.reach(i, move) > 0:
            size /= 2
        moved[i] = check.moved(i, move, 1.0, size)
    return moved


def _rolled(check: Check) -> list[np.ndarray]:
    rolled = list(check.inputs)
    for i in check.wrt:
        if check.is_free(i):
            rolled[i] = np.roll(check.inputs[i], 1)
    return rolled


def _compare_at(check: Check, inputs: list[np.ndarray], where: str) -> None:
    """Compare the slope at other inputs, if forward is defined and finite there."""
    if all(np.array_equal(a, b) for a, b in zip(inputs, check.inputs, strict=True)):
        return
    raised = check.raised
    # What was kept is off by much more than the last digits.
    other = _derived(check, inputs, _MORE_DIRECTIONS, accuracy=check.max_tolerance / 8, method="central")
    try:
        other.y = check.try_to_evaluate(inputs).copy()
    except GradcheckError:  # a result of another shape
        return
    check.raised = raised
    if not np.isfinite(other.y).all():
        return
    if check.branches is not None:
        other.branch = check.branches_at(inputs)
    _compare(other, where)


def _derived(check: Check, inputs, directions: int, **changes) -> Check:
    """The same check at other inputs; what it compares is not reported."""
    report = replace(check.report, mode="directions", directions=directions, inputs=[])
    other = replace(check, inputs=list(inputs), report=report, max_skipped=1.0, **changes)
    other.random = np.random.default_rng([check.report.seed, _STREAM])
    other.y = check.y
    if check.branches is not None:
        other.branch = check.branch
    return other


@np.errstate(all="ignore")  # Where it overflows nothing is compared.
def _compare(other: Check, where: str) -> None:
    other.measure_noise()
    try:
        check_directions(other, where)
    except GradcheckError as error:
        # What cannot be compared there need not be.
        if error.check == "values":
            raise
