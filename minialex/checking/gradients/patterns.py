"""Recognising what a wrong gradient looks like, so that the mistake is named and not only measured."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np

# How well a pattern must explain the wrong gradient, by norm.
_CLOSE = 1e-5
_FLOAT32 = float(np.finfo(np.float32).eps)


def recognise(wrong: np.ndarray, right: np.ndarray, result_shape: tuple[int, ...] = ()) -> str:
    """Say how a wrong gradient can be had from the right one, both in the shape of the input; "" if unknown.

    The simplest explanation comes first: nothing at all, a constant factor, another order of the elements,
    a difference in one place. A factor is named if it is a length of the input's or of the result's shape.
    """
    if not np.isfinite(wrong).all():
        return f"{np.count_nonzero(~np.isfinite(wrong))} values are not finite"
    if not np.any(right):
        return "a gradient where there should be none"
    if not np.any(wrong):
        return "all zero"
    # Squares and sums of the largest must not overflow; a power of two changes no digit.
    exponent = int(np.frexp(max(np.abs(wrong).max(), np.abs(right).max()))[1])
    wrong, right = np.ldexp(wrong, -exponent), np.ldexp(right, -exponent)
    factor = _factor(wrong, right, result_shape)
    if factor:
        return factor
    offset = functools.partial(_offset, exponent=exponent)
    for pattern in (_rearranged, _factor_along_axis, _place, offset, _total):
        found = pattern(wrong, right)
        if found:
            return found
    return ""


def _is_close(a: np.ndarray, b: np.ndarray) -> bool:
    return float(np.linalg.norm(a - b)) <= _CLOSE * float(np.linalg.norm(b))


def _fit(wrong: np.ndarray, right: np.ndarray) -> float | None:
    """The factor c with wrong = c * right, if there is one."""
    square = float(np.vdot(right, right))
    factor = float(np.vdot(wrong, right)) / square if square else 0.0
    residual = float(np.linalg.norm(wrong - factor * right))
    return factor if factor and residual <= 1e-7 * abs(factor) * math.sqrt(square) else None


def _factor(wrong, right, result_shape) -> str:
    factor = _fit(wrong, right)
    if factor is None:
        return ""
    if abs(factor + 1) < 1e-6:
        return "the sign is wrong everywhere"
    size = float(np.linalg.norm(right))
    if right.size > 1 and np.linalg.norm(wrong - factor * right) > 0.1 * abs(factor - 1) * size:
        # Nothing that all elements share: the residual is the difference.
        off = float(np.linalg.norm(wrong - right)) / size
        why = (
            ", as by rounding: computed in float32 on the way?" if _FLOAT32 / 64 < off < 4 * _FLOAT32 else ""
        )
        return f"off by {off:.1g} of its size{why}"
    named = _as_lengths(factor, right.shape) or _as_lengths(factor, result_shape, " of the result")
    return f"a constant factor of {factor:.10g}{named}"


def _as_lengths(factor: float, shape, whose: str = "") -> str:
    """Name a factor that is a product of lengths of the shape, or the inverse of one."""
    for count in range(1, min(3, len(shape)) + 1):
        for axes in itertools.combinations(range(len(shape)), count):
            length = math.prod(shape[i] for i in axes)
            if length > 1:
                where = f"{_axes(axes)}{whose}"
                if abs(factor / length - 1) < 1e-6:
                    return f", the length of {where}: a missing division?"
                if abs(factor * length - 1) < 1e-6:
                    return f", 1 over the length of {where}: a division too many?"
    return ""


def _rearrangements(right) -> Iterator[tuple[str, np.ndarray]]:
    axes = range(right.ndim)
    for order in itertools.permutations(axes):
        moved = right.transpose(order)
        if order != tuple(axes) and moved.shape == right.shape:
            yield f"transposed: axes in the order {order}", moved
    for count in range(1, right.ndim + 1):
        for flipped in itertools.combinations(axes, count):
            yield f"flipped along {_axes(flipped)}", np.flip(right, flipped)
    for axis in axes:
        length = right.shape[axis]
        for parts in (2, 3, 4):
            if length % parts == 0 and length // parts > 1:
                blocks = np.split(right, parts, axis)
                yield (
                    f"{parts} blocks of axis {axis} in the wrong order (swapped groups?)",
                    np.concatenate(blocks[::-1], axis),
                )
        for distance in (1, -1, 2, -2):
            if abs(distance) < length:
                yield f"shifted by {distance:+d} along axis {axis}", np.roll(right, distance, axis)


def _axes(axes) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes))}"


def _rearranged(wrong, right) -> str:
    for name, candidate in _rearrangements(right):
        if "shifted" in name:
            axis = int(name.rsplit(" ", 1)[1])
            distance = int(name.split(" ")[2])
            # What wraps around may be anything: zeros, or what lies beyond the border.
            inner = [slice(None)] * right.ndim
            inner[axis] = slice(distance, None) if distance > 0 else slice(None, distance)
            inside = wrong[tuple(inner)], candidate[tuple(inner)]
            if inside[1].size > 1 and np.any(inside[1]) and _is_close(*inside):
                return name
        elif not np.array_equal(candidate, right) and _is_close(wrong, candidate):
            return name
    return ""


def _factor_along_axis(wrong, right) -> str:
    """Another constant factor for each slice along an axis."""
    for axis in range(right.ndim):
        if not 1 < right.shape[axis] < right.size:
            continue
        slices = zip(np.moveaxis(wrong, axis, 0), np.moveaxis(right, axis, 0), strict=True)
        factors = [_fit(w, r) if np.any(r) else None if np.any(w) else 1.0 for w, r in slices]
        if all(factor is not None for factor in factors):
            off = [i for i, factor in enumerate(factors) if abs(factor - 1) > 1e-6]
            text = ", ".join(f"{factors[i]:.4g} at {i}" for i in off[:4])
            return f"a factor that depends on axis {axis}: {text}{', ...' if len(off) > 4 else ''}"
    return ""


def _place(wrong, right) -> str:
    """Wrong in some slices of an axis, along the border of an image, or where one of the two is 0."""
    off = np.abs(wrong - right) > 1e-7 * np.abs(right).max()
    if off.all() or not off.any():
        return ""
    count = np.count_nonzero(off)
    for axis in range(right.ndim):
        others = tuple(i for i in range(right.ndim) if i != axis)
        slices = np.flatnonzero(off.any(axis=others))
        # A few scattered elements lie in some slices, too: nearly all of these slices must be wrong.
        filled = count > 0.9 * len(slices) * right.size / right.shape[axis]
        if filled and right.shape[axis] > 2 and len(slices) <= right.shape[axis] // 2:
            where = f"index {slices[0]}" if len(slices) == 1 else f"indices {', '.join(map(str, slices[:4]))}"
            return f"wrong at {where} of axis {axis} only: a missing term there?"
    if not np.any(wrong[off]):
        return f"zero in {count} places: contributions overwritten or lost?"
    if not np.any(right[off]):
        return f"not zero in {count} places where it should be: a mask or a comparison?"
    if right.ndim >= 2 and min(right.shape[-2:]) > 2 and not off[..., 1:-1, 1:-1].any():
        return "wrong along the border of the last two axes only: a missing term there?"
    return ""


def _offset(wrong, right, *, exponent: int) -> str:
    """The difference is the same everywhere, or along some axes: a missing mean."""
    difference = wrong - right
    spread = 1e-6 * np.abs(difference).max()
    if np.ptp(difference) <= spread:
        amount = np.ldexp(difference.flat[0], exponent)
        return f"off by the same {amount:.4g} everywhere: a missing mean or sum?"
    along = [
        axis
        for axis in range(right.ndim)
        if right.shape[axis] > 1 and np.ptp(difference, axis=axis).max() <= spread
    ]
    return f"off by the same amount all along {_axes(along)}: a missing mean or sum?" if along else ""


def _total(wrong, right) -> str:
    """Another gradient with the same sum, which does not merely cancel."""
    total = float(right.sum())
    if abs(total) < 1e-3 * float(np.abs(right).sum()) or abs(float(wrong.sum()) - total) > 1e-8 * abs(total):
        return ""
    return "adds up to the right total: the right contributions in the wrong places?"
