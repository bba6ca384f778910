"""Comparing gradients with numerical derivatives, one by one.

Each derivative has a tolerance of its own, which follows from what the numerical one may be off by:

    tolerance = 4 error + 512 eps |derivative|          the second term: rounding in the analytic one

Where the two are further apart, a second look is taken before the gradient is called wrong: the numerical
derivative has to stay what it is at other steps (a function may repeat itself at the first one), and the
distance has to be more than what the analytic gradient scatters by when its inputs move by their last bits.

A derivative whose tolerance is more than a share of it (`max_tolerance`) is not known: a comparison with it
says nothing. It counts like one at a kink; too many of them are a failure, and never a pass.
"""

from __future__ import annotations

import math

import numpy as np

from minialex.checking.gradients.check import Check
from minialex.checking.gradients.comparison import Comparison, Kind, euclidean_norm, index_in
from minialex.checking.gradients.jacobians import along_moves, compare_jacobians, sizes_along_moves
from minialex.checking.gradients.kinks import check_kinks
from minialex.checking.gradients.patterns import recognise
from minialex.checking.gradients.second_look import know_as_little, look_again, worst

# How many random upstream gradients are compared besides the Jacobian.
UPSTREAMS = 3
# And in the gradients of how many a pattern is looked for.
_DRAWS = 3


def check_jacobian(check: Check) -> None:
    """Compare every derivative, and the products with random upstream gradients."""
    comparisons = compare_jacobians(check)
    for each in comparisons:
        look_again(check, each)
        if each.wrong.any():
            _fail(check, each)
        know_as_little(check, each)
        check_kinks(check, each)
        _count(check, each)
    for each in comparisons:
        _require_known(check, each)
    for _ in range(UPSTREAMS):
        _compare_product(check, comparisons, check.upstream())


def _fail(check: Check, each: Comparison) -> None:
    i = each.input
    m, k = worst(each)
    distance, kinds = each.distance, each.kinds()
    counted = np.isin(kinds, (Kind.COMPARED, Kind.SMALL)) | each.wrong
    norm = euclidean_norm(np.where(counted, each.found.value, 0))
    along = "" if check.is_free(i) else f" along move {k} of {check.constraints[i]}"
    check.fail(
        "values",
        f"the gradient of input {i} is wrong{along}",
        output_index=index_in(check.y.shape, m),
        norm_error=euclidean_norm(np.where(counted, distance, 0)) / norm if norm else math.inf,
        tolerance=float(each.tolerance[m, k]),
        **_worst_of_move(check, i, k, float(each.analytic[m, k]), float(each.found.value[m, k])),
        step=_step(check, each, m, k),
        wrong=int(each.wrong.sum()),
        compared=int(counted.sum()),
        pattern=_pattern(check, each),
    )


def _worst_of_move(check: Check, i: int, k: int, analytic: float, numeric: float) -> dict:
    """What an error says of the worst derivative: where it is, and both of its values."""
    move, _ = check.move(i, k)
    distance = abs(analytic - numeric)
    return {
        "input": i,
        "index": index_in(check.inputs[i].shape, int(move.indices[np.abs(move.weights).argmax()])),
        "analytic": analytic,
        "numeric": numeric,
        "absolute_error": distance,
        "relative_error": distance / max(abs(analytic), abs(numeric)),
    }


def _pattern(check: Check, each: Comparison) -> str:
    if not check.is_free(each.input):
        return ""
    shape = check.inputs[each.input].shape
    for _ in range(_DRAWS):
        # Looked for in the gradient of one random upstream, which has the shape of the input.
        weights = check.random.standard_normal(len(each.analytic))
        wrong, right = (
            weights @ np.where(each.known, jacobian, 0) for jacobian in (each.analytic, each.found.value)
        )
        # Some upstream gradients show nothing: the terms of their sums cancel.
        if pattern := recognise(wrong.reshape(shape), right.reshape(shape), check.y.shape):
            return pattern
    return ""


def _count(check: Check, each: Comparison) -> None:
    """Note in the report what was compared."""
    kinds, entry = each.kinds(), check.entry(each.input)
    for kind in Kind:
        entry.count(kind.figure, int(np.count_nonzero(kinds == kind)))
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
    which = f"{share:.0%} of the derivatives of input {each.input} that are not 0"
    if entry.skipped >= entry.uncertain:
        if check.raised is not None and not each.known[kinds == Kind.KINK].any():
            error, inputs = check.raised
            check.fail(
                "raises",
                f"forward raises {type(error).__name__} near the inputs, at every step: {error}; "
                f"the last time with {_moved(check, inputs)}",
                input=each.input,
            )
        check.fail(
            "kinks",
            f"{which} lie at a kink at any step: none to compare with (allowed: {check.max_skipped:.0%}); "
            "move the inputs away, or pass redraw",
            input=each.input,
            step=_step(check, each, *map(int, np.argwhere(kinds == Kind.KINK)[0])),
        )
    _fail_uncertain(check, each, which)


def _moved(check: Check, inputs) -> str:
    for i, (a, b) in enumerate(zip(inputs, check.inputs, strict=True)):
        moved = np.argwhere(a != b)
        if len(moved):
            index = tuple(moved[0].tolist())
            return f"input {i} at {index} = {a[index].item()!r} instead of {b[index].item()!r}"
    return "the inputs themselves"


def _step(check: Check, each: Comparison, m: int, k: int) -> float:
    """With which step a derivative was found, in the unit of its move."""
    return float(each.found.step[m, k]) / check.move(each.input, k)[1]


def _fail_uncertain(check: Check, each: Comparison, which: str) -> None:
    m, k = (int(j) for j in np.argwhere(each.kinds() == Kind.UNCERTAIN)[0])
    found, (move, _), step = each.found, check.move(each.input, k), _step(check, each, m, k)
    index = index_in(check.inputs[each.input].shape, int(move.indices[0]))
    value, error, rounding = (float(a[m, k]) for a in (found.value, found.error, found.rounding))
    scattered = float(each.scatter[m, k])
    if scattered > 4 * error:
        why = (
            f"what vjp gives is off by up to {scattered:.2g} itself, by rounding: it moves by as much with "
            "the last bits of the inputs. Compute it without the cancellation; max_tolerance= allows more"
        )
    elif 2 * rounding > error:
        why = (
            f"the rounding of the output, {float(check.y.flat[m]):.6g}, is what drowns it. Bring inputs and "
            "outputs to one scale, try a larger step=, or float64 if this is float32; max_tolerance= allows "
            "more"
        )
    else:
        why = "the function bends too much within it. Try a smaller step=; max_tolerance= allows more"
    check.fail(
        "uncertain",
        f"{which} are not known to {check.max_tolerance:.1%} (allowed: {check.max_skipped:.0%}). The first: "
        f"by the element at {index} it is {value:.6g}, give or take {error:.2g}, at the step {step:.2g}; "
        f"{why}",
        input=each.input,
        step=step,
    )


def _compare_product(check: Check, comparisons: list[Comparison], u: np.ndarray) -> None:
    """The gradient for a random upstream gradient, against its product with the numeric Jacobian."""
    weights = u.ravel().astype(np.float64)
    for at, (each, gradient) in enumerate(zip(comparisons, check.gradients(u), strict=True)):
        i = each.input
        analytic = along_moves(check, i, gradient.reshape(1, -1).astype(np.float64))[0]
        with np.errstate(invalid="ignore"):
            numeric = weights @ np.where(each.known, each.found.value, 0)
            limit = np.where(
                each.known.all(axis=0), np.abs(weights) @ np.where(each.known, each.tolerance, 0), np.inf
            )
        distance = np.where(np.isfinite(limit), np.abs(analytic - numeric), 0)
        if np.all(distance <= limit):
            continue
        limit = limit + sizes_along_moves(check, i, check.gradient_noise(u)[at])
        wrong = ~(distance <= limit)
        if not wrong.any():
            continue
        k = int(np.where(wrong, distance / np.where(limit > 0, limit, 1e-300), 0).argmax())
        shape = check.inputs[i].shape
        norm = euclidean_norm(numeric[np.isfinite(limit)])
        check.fail(
            "values",
            f"the gradient of input {i} is wrong for a random upstream gradient, though not for those of "
            "one output",
            norm_error=euclidean_norm(distance) / norm if norm else math.inf,
            tolerance=float(limit[k]),
            **_worst_of_move(check, i, k, float(analytic[k]), float(numeric[k])),
            step=float(each.found.step[:, k].min(initial=math.inf)) / check.move(i, k)[1],
            wrong=int(wrong.sum()),
            compared=int(np.isfinite(limit).sum()),
            pattern=recognise(gradient, numeric.reshape(shape), check.y.shape) if check.is_free(i) else "",
        )
