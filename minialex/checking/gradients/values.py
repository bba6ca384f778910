"""Comparing gradients with numerical derivatives, one by one.

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
from typing import TYPE_CHECKING

import numpy as np

from minialex.checking.gradients.comparison import Comparison, Kind, euclidean_norm
from minialex.checking.gradients.jacobians import along_moves, compare_jacobians, sizes_along_moves
from minialex.checking.gradients.kinks import check_kinks
from minialex.checking.gradients.patterns import recognise
from minialex.checking.gradients.second_look import know_as_little, look_again, worst

if TYPE_CHECKING:
    from minialex.checking.gradients.check import Check

# Random upstream gradients whose products are compared beside the Jacobian.
UPSTREAMS = 3
# And those whose gradients a pattern is looked for in.
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
    a, n = float(each.analytic[m, k]), float(each.found.value[m, k])
    distance, kinds = each.distance, each.kinds()
    counted = np.isin(kinds, (Kind.COMPARED, Kind.SMALL)) | each.wrong
    norm = euclidean_norm(np.where(counted, each.found.value, 0))
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
        norm_error=euclidean_norm(np.where(counted, distance, 0)) / norm if norm else math.inf,
        tolerance=float(each.tolerance[m, k]),
        step=float(each.found.step[m, k]) / unit,
        wrong=int(each.wrong.sum()),
        compared=int(counted.sum()),
        pattern=_pattern(check, each),
    )


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
        a, n = float(analytic[k]), float(numeric[k])
        move, unit = check.move(i, k)
        element = int(move.indices[np.abs(move.weights).argmax()])
        shape = check.inputs[i].shape
        norm = euclidean_norm(numeric[np.isfinite(limit)])
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
            norm_error=euclidean_norm(distance) / norm if norm else math.inf,
            tolerance=float(limit[k]),
            step=float(each.found.step[:, k].min(initial=math.inf)) / unit,
            wrong=int(wrong.sum()),
            compared=int(np.isfinite(limit).sum()),
            pattern=recognise(gradient, numeric.reshape(shape), check.y.shape) if check.is_free(i) else "",
        )
