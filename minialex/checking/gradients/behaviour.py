"""How a forward function and its gradient behave, whatever their values are.

Inputs and upstream gradients untouched, results of the right shape and dtype in memory of their own, the same
bits twice, linear in the upstream gradient, and the same for any memory layout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from minialex.checking.gradients.check import Check
from minialex.checking.gradients.differences import largest
from minialex.checking.gradients.noise import ROUNDING, Distance
from minialex.checking.report import GradcheckError
from minialex.kernels.runtime import memory

# A difference of this share of the largest is not a mistake in how a gradient is computed, but rounding.
_NEGLIGIBLE = {np.dtype(np.float64): 2.0**-30, np.dtype(np.float32): 2.0**-14}
_REPEATS = 2
_MORE_REPEATS = 8
# Sizes of the upstream gradient that a gradient has to follow exactly, rounding aside.
_SIZES = {np.dtype(np.float64): (2.0**40, 2.0**-40), np.dtype(np.float32): (2.0**20, 2.0**-20)}


def check_forward(check: Check) -> np.ndarray:
    """The result, which must be finite, of the dtype asked for, and the same twice."""
    before = [a.copy() for a in check.inputs]
    with check.told("forward"):
        y = check.evaluate(check.inputs)
    for i, (a, b) in enumerate(zip(check.inputs, before, strict=True)):
        if not same_bits(a, b):
            check.fail("changed input", f"forward changes its input {i}", input=i)
    if y.dtype != check.dtype:
        check.fail("dtype", f"forward gives {y.dtype} for inputs of {check.dtype}; it should keep the dtype")
    if not np.isfinite(y).all():
        wrong = np.argwhere(~np.isfinite(y))
        at = tuple(wrong[0].tolist())
        check.fail(
            "finite",
            f"forward gives {len(wrong)} value{'s' * (len(wrong) != 1)} that are not finite, the first at "
            f"{at}: {y[at]}",
        )
    y = y.copy()
    # A number: so a gradient that reads freed memory is told apart from one that is not finite.
    _fill_freed_memory([y, *check.inputs], 1e30)
    for _ in range(_MORE_REPEATS):
        with check.told("forward, called again,"):
            again = check.evaluate(check.inputs)
        require_repeated(check, again, y, "forward gives another result")
    return y


def check_gradients(check: Check) -> None:
    """One gradient for each input, of its shape and dtype, finite, in memory of its own."""
    upstream = check.upstream()
    before = [a.copy() for a in (upstream, *check.inputs)]
    gradients = check.gradients(upstream)
    _require_unchanged(check, upstream, check.inputs, before, "")
    for i, gradient in zip(check.wrt, gradients, strict=True):
        shape = check.inputs[i].shape
        if gradient.shape != shape:
            check.fail("shape", f"the gradient of input {i} has shape {gradient.shape}, not {shape}", input=i)
        if gradient.dtype != check.dtype:
            check.fail(
                "dtype",
                f"the gradient of input {i} has dtype {gradient.dtype}, not {check.dtype}",
                input=i,
            )
        if not np.isfinite(gradient).all():
            wrong = np.argwhere(~np.isfinite(gradient))
            check.fail(
                "finite",
                f"the gradient of input {i} has {len(wrong)} values that are not finite, "
                f"the first at {tuple(wrong[0].tolist())}",
                input=i,
            )
    others: list[tuple[str, np.ndarray]] = [(f"input {i}", a) for i, a in enumerate(check.inputs)]
    for i, gradient in zip(check.wrt, gradients, strict=True):
        for name, array in others:
            if np.shares_memory(gradient, array) and not _passes_on(gradient, array, upstream):
                check.fail("aliasing", f"the gradient of input {i} shares its memory with {name}", input=i)
        others.append((f"the gradient of input {i}", gradient))
    check.first = upstream, [g.copy() for g in gradients]
    for i, gradient, another in zip(check.wrt, gradients, check.gradients(check.upstream()), strict=True):
        if np.shares_memory(gradient, another):
            check.fail(
                "aliasing",
                f"the gradient of input {i} stands in memory that the next call overwrites",
                input=i,
            )


def check_repeatable(check: Check) -> None:
    """The same bits again, whatever stands in freed memory."""
    upstream = check.upstream()
    kept = [check.inputs[i] for i in check.wrt]
    # Which freed memory a new array gets is up to the allocator: try more than once.
    for _ in range(_REPEATS):
        _fill_freed_memory([check.y, *kept], 1e30)
        first = [g.copy() for g in check.gradients(upstream)]
        _fill_freed_memory([check.y, *kept], np.nan)
        for i, a, b in zip(check.wrt, first, check.gradients(upstream), strict=True):
            require_repeated(check, b, a, f"the gradient of input {i} differs", input=i)
    # What goes wrong once in a few calls, or only in the very first one.
    upstream, first = check.first
    for _ in range(_MORE_REPEATS):
        for i, a, b in zip(check.wrt, first, check.gradients(upstream), strict=True):
            require_repeated(check, b, a, f"the gradient of input {i} differs", input=i)


def require_repeated(check: Check, again: np.ndarray, first: np.ndarray, what: str, **details) -> None:
    """Fail unless two results have the same bits, or differ by no more than was asked for."""
    if same_bits(again, first):
        return
    if again.shape == first.shape and again.dtype == first.dtype and check.nondeterminism:
        found = float(np.abs(again - first).max(initial=0))
        if found <= check.nondeterminism:
            check.report.nondeterminism = max(check.report.nondeterminism, found)
            return
        what = f"{what} by up to {found:.3g}, beyond the nondeterminism={check.nondeterminism:g} asked for,"
    check.fail(
        "not deterministic",
        f"{what} when it is computed again: seed its random numbers; it may read memory that nothing has "
        f"written",
        **details,
    )


def check_linear(check: Check) -> None:
    """Zero for a zero upstream gradient, and linear in the upstream gradient."""
    for i, gradient in zip(check.wrt, check.gradients(np.zeros_like(check.y)), strict=True):
        if np.any(gradient):
            check.fail(
                "zero upstream",
                f"the gradient of input {i} is not zero for a zero upstream gradient",
                input=i,
            )
    u, v = check.upstream(), check.upstream()
    a, b = check.dtype.type(2), check.dtype.type(-0.5)
    first, second = ([g.copy() for g in check.gradients(each)] for each in (u, v))
    both = a * u + b * v
    # Each of the three rounds by itself.
    _require_same_gradients(
        check,
        check.gradients(both),
        [a * g + b * h for g, h in zip(first, second, strict=True)],
        ("not linear", "not linear in the upstream gradient"),
        _Margin(
            lambda distance: _noise(check, both, distance),
            sizes=[np.abs(a * g) + np.abs(b * h) for g, h in zip(first, second, strict=True)],
        ),
    )


def check_sizes(check: Check) -> None:
    """Linear in the upstream gradient whatever its size is, and where all of it is 1."""
    u = check.upstream()
    first = [g.copy() for g in check.gradients(u)]
    info = np.finfo(check.dtype)
    for size in map(check.dtype.type, _SIZES[check.dtype]):
        with np.errstate(all="ignore"):
            found = check.gradients(size * u)
            expected = [size * g for g in first]
        # Beyond the range of the dtype numbers are not multiples of each other.
        inside = [
            np.isfinite(b) & (np.minimum(np.abs(b), np.abs(g)) > info.tiny / info.eps)
            for b, g in zip(expected, first, strict=True)
        ]
        many = f"{float(size):.1g} times"
        _require_same_gradients(
            check,
            [np.where(i, a, 0) for a, i in zip(found, inside, strict=True)],
            [np.where(i, b, 0) for b, i in zip(expected, inside, strict=True)],
            (
                "not linear",
                f"not linear in the upstream gradient: {many} that is not {many} the gradient",
            ),
            _Margin(
                lambda distance, size=size: [float(size) * noise for noise in _noise(check, u, distance)],
                scale=8 * float(size),
            ),
        )
    ones = np.ones_like(u)
    rest = [g.copy() for g in check.gradients(ones - u)]
    _require_same_gradients(
        check,
        check.gradients(ones),
        [g + h for g, h in zip(first, rest, strict=True)],
        (
            "not linear",
            "not linear in the upstream gradient: that of ones is not the sum of those of two parts of it",
        ),
        _Margin(
            lambda distance: _noise(check, ones - u, distance),
            sizes=[np.abs(g) + np.abs(h) for g, h in zip(first, rest, strict=True)],
        ),
    )


def _noise(check: Check, upstream: np.ndarray, distance: Distance) -> list[np.ndarray]:
    """What three gradients may be off by together, for upstream gradients of this size.

    Far away also gradients that do not scatter near the inputs, as they are what larger terms have left of
    them.
    """
    noise = [12 * each for each in check.gradient_noise(upstream, distance)]
    if distance == Distance.FAR:
        terms = check.absorbed_in_gradient(upstream)
        noise = [each + 12 * ROUNDING * _eps(check) * size for each, size in zip(noise, terms, strict=True)]
    return noise


# How inputs and upstream gradients lie in memory: never alike, so that no strides fit both.
def _layouts(check: Check) -> Iterator[tuple[str, Callable, str, Callable]]:
    yield from (
        ("read-only", _read_only, "read-only", _read_only),
        ("strided", _strided, "contiguous", np.copy),
        ("contiguous", np.copy, "strided", _strided),
        ("transposed", _transposed, "contiguous", np.copy),
        ("contiguous", np.copy, "transposed", _transposed),
        ("strided", _strided, "transposed", _transposed),
        ("backwards", _backwards, "contiguous", np.copy),
        ("contiguous", np.copy, "backwards", _backwards),
    )
    # Of images, and whatever has three axes and more.
    if any(a.ndim > 2 for a in check.inputs):
        yield "channels last", _channels_last, "contiguous", np.copy
    if check.y.ndim > 2:
        yield "contiguous", np.copy, "channels last", _channels_last


def _broadcast(upstream: np.ndarray) -> Iterator[np.ndarray]:
    shape = upstream.shape
    if upstream.ndim:
        yield np.broadcast_to(upstream.dtype.type(0.75), shape)
    if upstream.ndim > 1 and upstream.size:
        yield np.broadcast_to(upstream[..., :1], shape)
        yield np.broadcast_to(upstream[:1], shape)


def check_layouts(check: Check) -> None:
    """The same for inputs and upstream gradients in other memory layouts, which are left unchanged."""
    upstream = check.upstream()
    expected = [g.copy() for g in check.gradients(upstream)]
    for inputs_lie, arrange, upstream_lies, arrange_upstream in _layouts(check):
        inputs = [arrange(a) for a in check.inputs]
        if inputs_lie != "contiguous":
            _check_result(check, inputs, inputs_lie)
        what = f"with {inputs_lie} inputs and a {upstream_lies} upstream gradient"
        _check_layout(check, arrange_upstream(upstream), inputs, expected, what)
    # Numbers that stand for several, as in the gradients of sums over some axes, or over all of them.
    for same in _broadcast(upstream):
        expected = [g.copy() for g in check.gradients(same.copy())]
        _check_layout(check, same, check.inputs, expected, "with a broadcast upstream gradient")


def _check_result(check: Check, inputs, lie: str) -> None:
    try:
        result = check.evaluate(inputs)
    except Exception as error:
        if _refuses_strides(error):
            return
        check.fail("layout", f"with {lie} inputs forward raises {type(error).__name__}: {error}")
    same_shape = result.shape == check.y.shape
    distance = np.abs(result - check.y) if same_shape else np.inf
    limit = ROUNDING * _eps(check) * np.abs(check.y) + check.nondeterminism
    if not np.all(distance <= limit):
        # Only then is it worth asking how much a result scatters that was made of larger numbers.
        for far in Distance:
            if np.all(distance <= limit + 64 * check.result_noise(far).reshape(check.y.shape)):
                return
        check.fail("layout", f"the result is not the same with {lie} inputs, in forward")


def _check_layout(check: Check, upstream, inputs, expected, what: str) -> None:
    before = [a.copy() for a in (upstream, *inputs)]
    try:
        gradients = check.gradients(upstream, inputs)
    except GradcheckError as error:
        cause = error.__cause__
        if error.check != "raises" or cause is None:
            raise
        if _refuses_strides(cause):
            return
        check.fail("layout", f"{what} vjp raises {type(cause).__name__}: {cause}")
    _require_unchanged(check, upstream, inputs, before, f" {what}")
    margin = _Margin(lambda distance: check.gradient_noise(np.array(upstream, order="C"), distance))
    _require_same_gradients(check, gradients, expected, ("layout", f"not the same {what}"), margin)


def _refuses_strides(error: BaseException) -> bool:
    """Whether a library says that it cannot take these strides, as PyTorch does of negative ones."""
    return isinstance(error, ValueError | TypeError | NotImplementedError) and "stride" in str(error).lower()


def _require_unchanged(check: Check, upstream, inputs, before, what: str) -> None:
    names = ("the upstream gradient", *(f"input {i}" for i in range(len(inputs))))
    for name, a, b in zip(names, (upstream, *inputs), before, strict=True):
        if not same_bits(a, b):
            check.fail("changed input", f"vjp changes {name}{what}")


@dataclass(frozen=True)
class _Margin:
    """What gradients that should be the same may differ by.

    Attributes
    ----------
    noise : callable
        ``noise(distance)`` measures their rounding: near the inputs, and where that does not explain a
        difference, further away.
    sizes : list of array, optional
        The sizes of their terms; their own by default.
    scale : float
        The size of the upstream gradients.
    """

    noise: Callable[[Distance], list[np.ndarray]]
    sizes: Sequence[np.ndarray] | None = None
    scale: float = 8.0


def _require_same_gradients(
    check: Check,
    actual: Sequence[np.ndarray],
    expected: Sequence[np.ndarray],
    failure: tuple[str, str],
    margin: _Margin,
) -> None:
    """Fail unless gradients agree but for their own rounding, which is only measured where they do not.

    `failure` is the check that fails, and what the gradient is then.
    """
    kind, what = failure
    margins: dict[Distance, list[np.ndarray]] = {}
    for at, (i, a, b) in enumerate(zip(check.wrt, actual, expected, strict=True)):
        if a.shape != b.shape:
            check.fail(kind, f"the gradient of input {i} is {what}: its shape is {a.shape}", input=i)
        size = np.abs(b) + np.abs(a) if margin.sizes is None else margin.sizes[at]
        # Of subnormal numbers rounding is absolute.
        least = float(np.finfo(check.dtype).smallest_subnormal)
        limit = ROUNDING * (_eps(check) * size + least) + check.nondeterminism
        if np.all(np.abs(a - b) <= limit):
            continue
        for distance in Distance:
            if distance not in margins:
                margins[distance] = margin.noise(distance)
            if np.all(np.abs(a - b) <= limit + margins[distance][at]):
                break
        else:
            # A difference of terms may be off by the same, however little they move.
            terms = max(1.0, *map(largest, check.inputs)) * ROUNDING * _eps(check) * margin.scale
            if np.all(np.abs(a - b) <= limit + terms + _NEGLIGIBLE[check.dtype] * largest(b)):
                continue
            check.fail(kind, f"the gradient of input {i} is {what}", input=i)


def _eps(check: Check) -> float:
    return float(np.finfo(check.dtype).eps)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _passes_on(gradient, array, upstream) -> bool:
    """Whether two gradients share memory because both are the upstream gradient itself, passed through."""
    return np.shares_memory(gradient, upstream) and np.shares_memory(array, upstream)


def _fill_freed_memory(like: Sequence[np.ndarray], value: float) -> None:
    """Leave `value` in freed memory of these sizes, which the next uninitialised array is likely to get."""
    for array in like:
        if array.dtype.kind != "f":
            continue
        # Each may come from NumPy or, where it is large, from the kernels' arena.
        garbage = [
            allocate(array.shape, array.dtype) for allocate in (np.empty, memory.empty) for _ in range(8)
        ]
        for each in garbage:
            each.fill(value)
        del garbage, each


def _read_only(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _transposed(array: np.ndarray) -> np.ndarray:
    return array.copy(order="F")


def _channels_last(array: np.ndarray) -> np.ndarray:
    """The same values, with the elements of axis 1 side by side in memory."""
    return np.moveaxis(np.moveaxis(array, 1, -1).copy(), -1, 1) if array.ndim > 2 else array.copy()


def _strided(array: np.ndarray) -> np.ndarray:
    """Every second element of an array that holds the largest number in between."""
    return _spaced(array, 2)


def _backwards(array: np.ndarray) -> np.ndarray:
    """The same from the last element to the first."""
    return _spaced(array, -2)


def _spaced(array: np.ndarray, step: int) -> np.ndarray:
    if array.ndim == 0:
        return array.copy()
    filler = np.finfo(array.dtype).max if array.dtype.kind == "f" else 0
    wide = np.full([2 * n for n in array.shape], filler, array.dtype)
    view = wide[(slice(None, None, step),) * array.ndim]
    view[...] = array
    return view
