"""Small differentiable functions of every operation, for `minialex gradcheck` to check.

A new operation brings its own:

    @cases_of("swish")
    def swish_cases(random):
        yield Case("3x4", swish, (random.standard_normal((3, 4)),))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from minialex import functional as F
from minialex import operations as ops
from minialex.checking.testing.values import distinct_values
from minialex.errors import KernelError
from minialex.random import seeded
from minialex.tensor import Tensor


@dataclass(frozen=True)
class Case:
    """A function of arrays to differentiate, and small values for them.

    Attributes
    ----------
    name : str
        What is particular about it.
    function : callable
        Takes tensors, one for each array; gives a tensor.
    arrays : tuple of float64 array
    max_skipped : float or None
        The share of derivatives that may lie at kinks, where it is another than usual.
    """

    name: str
    function: Callable[..., Tensor]
    arrays: tuple[np.ndarray, ...]
    max_skipped: float | None = None


_cases: dict[str, Callable[[np.random.Generator], Iterable[Case]]] = {}


def cases_of(*operations: str):
    """Register the decorated function as the cases of operations; it takes a generator of random numbers."""

    def register(make: Callable[[np.random.Generator], Iterable[Case]]):
        for operation in operations:
            _cases[operation] = make
        return make

    return register


def operations_with_cases() -> list[str]:
    """The operations that have cases."""
    return sorted(_cases)


def make_cases(operation: str, seed: int) -> list[Case]:
    """The cases of an operation, with values drawn from a seed."""
    if operation not in _cases:
        raise KernelError(
            f"operation {operation!r} has no gradient checks; there are: {', '.join(sorted(_cases))}. "
            "Register others with minialex.checking.cases_of"
        )
    return list(_cases[operation](np.random.default_rng(seed)))


def _normal(random, *shapes) -> tuple[np.ndarray, ...]:
    return tuple(random.standard_normal(shape) for shape in shapes)


@cases_of("conv2d")
def _conv2d(random):
    for name, x, w, bias, options in (
        ("plain", (2, 2, 4, 3), (3, 2, 3, 2), True, {}),
        (
            "stride and padding",
            (1, 2, 5, 4),
            (2, 2, 3, 3),
            False,
            {"stride": (2, 3), "padding": ((1, 0), (2, 1))},
        ),
        ("groups and dilation", (1, 4, 4, 3), (4, 2, 2, 2), True, {"groups": 2, "dilation": (2, 1)}),
        ("SAME at stride 2", (2, 1, 4, 5), (2, 1, 3, 3), True, {"stride": 2, "padding": "same"}),
        ("depthwise", (1, 3, 3, 3), (3, 1, 2, 2), False, {"groups": 3, "padding": 1}),
        ("kernel as large as the image", (2, 2, 3, 2), (2, 2, 3, 2), True, {}),
    ):
        arrays = _normal(random, x, w, *([w[:1]] if bias else []))
        yield Case(
            name, lambda *t, options=options: F.conv2d(t[0], t[1], *t[2:] or (None,), **options), arrays
        )


@cases_of("max_pool2d")
def _max_pool2d(random):
    for name, shape, options in (
        ("overlapping", (2, 2, 5, 7), {"kernel_size": 3, "stride": 2}),
        (
            "padding and ceil mode",
            (1, 2, 6, 5),
            {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
        ),
        ("dilation", (1, 1, 6, 6), {"kernel_size": 2, "stride": 1, "dilation": 2}),
        ("SAME", (1, 2, 5, 4), {"kernel_size": 3, "stride": 2, "padding": "same"}),
    ):
        yield Case(
            name, lambda x, options=options: F.max_pool2d(x, **options), (distinct_values(random, shape),)
        )


@cases_of("avg_pool2d")
def _avg_pool2d(random):
    for name, shape, options in (
        ("plain", (2, 2, 5, 7), {"kernel_size": 3, "stride": 2}),
        (
            "padding and ceil mode",
            (1, 2, 6, 5),
            {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
        ),
        ("padding not counted", (1, 1, 5, 4), {"kernel_size": 2, "padding": 1, "count_include_pad": False}),
    ):
        yield Case(name, lambda x, options=options: F.avg_pool2d(x, **options), _normal(random, shape))


@cases_of("local_response_norm", "channel_window_sum")
def _local_response_norm(random):
    # Alpha near 1: at the paper's 1e-4 the cross-channel term is small.
    for name, channels, options in (
        ("alpha 1", 7, {"size": 5, "alpha": 1.0}),
        ("mean, k 1", 6, {"size": 3, "alpha": 0.9, "k": 1.0, "alpha_mode": "mean"}),
        ("window beyond the channels", 3, {"size": 9, "alpha": 0.7, "beta": 0.5}),
        ("the paper's", 7, {}),
    ):
        yield Case(
            name,
            lambda x, options=options: F.local_response_norm(x, **options),
            _normal(random, (2, channels, 2, 1)),
        )
    yield Case("the window sum", lambda x: ops.channel_window_sum(x, 3) * x, _normal(random, (2, 5, 1, 2)))


@cases_of("batch_norm")
def _batch_norm(random):
    for name, shape, axis in (
        ("channels", (3, 4, 2, 2), 1),
        ("rows", (2, 2, 3, 2), 2),
        ("vectors", (5, 3), 1),
    ):
        features = shape[axis]
        yield Case(
            name,
            lambda x, w, b, axis=axis: F.batch_norm(x, None, None, w, b, training=True, axis=axis),
            _normal(random, shape, (features,), (features,)),
        )
    mean, var = random.standard_normal(4), random.uniform(0.5, 2, 4)

    def evaluate(x, weight, bias):
        running = (Tensor(a.astype(x.dtype), device=x.device) for a in (mean, var))
        return F.batch_norm(x, *running, weight, bias)

    yield Case("evaluation", evaluate, _normal(random, (2, 4, 2, 3), (4,), (4,)))


@cases_of("dropout")
def _dropout(random):
    def dropout(x):
        with seeded(5):
            return F.dropout(x, 0.4)

    yield Case("p 0.4", dropout, _normal(random, (5, 7)))


@cases_of("relu")
def _relu(random):
    yield Case("away from 0", F.relu, (distinct_values(random, (4, 5)),))
    at_zero = distinct_values(random, (4, 5))
    at_zero[1, 2] = 0
    # The gradient does not depend on x but at that element, where it jumps.
    yield Case("one element at 0", F.relu, (at_zero,), max_skipped=1.0)


@cases_of("linear")
def _linear(random):
    yield Case("with bias", F.linear, _normal(random, (3, 4), (5, 4), (5,)))
    yield Case("without bias", F.linear, _normal(random, (2, 6), (3, 6)))


@cases_of("matmul")
def _matmul(random):
    yield Case("3x4 @ 4x2", ops.matmul, _normal(random, (3, 4), (4, 2)))


@cases_of("softmax")
def _softmax(random):
    for axis in (0, 1, 2):
        yield Case(f"axis {axis}", lambda x, axis=axis: F.softmax(x, axis), _normal(random, (3, 4, 2)))


@cases_of("log_softmax")
def _log_softmax(random):
    for axis in (0, 1, 2):
        yield Case(f"axis {axis}", lambda x, axis=axis: F.log_softmax(x, axis), _normal(random, (3, 4, 2)))


@cases_of("cross_entropy")
def _cross_entropy(random):
    labels = np.array([1, 0, 4])
    yield Case("labels", lambda x: F.cross_entropy(x, labels), _normal(random, (3, 5)))
    yield Case(
        "smoothing",
        lambda x: F.cross_entropy(x, labels, reduction="sum", label_smoothing=0.2),
        _normal(random, (3, 5)),
    )
    weight = random.random(5)
    yield Case(
        "class weights, smoothing and a label to ignore",
        lambda x: F.cross_entropy(x, labels, weight, ignore_index=0, label_smoothing=0.2),
        _normal(random, (3, 5)),
    )
    target = random.random((3, 5))
    yield Case(
        "a distribution", lambda x: F.cross_entropy(x, target, reduction="none"), _normal(random, (3, 5))
    )


@cases_of("sum")
def _sum(random):
    yield Case("an axis", lambda x: ops.sum(x * x, 1), _normal(random, (3, 4, 2)))
    yield Case("two axes, kept", lambda x: ops.sum(x, (0, 2), keepdims=True) * x, _normal(random, (3, 4, 2)))


@cases_of("amax")
def _amax(random):
    yield Case("an axis", lambda x: ops.amax(x, 1), (distinct_values(random, (3, 4, 2)),))
    yield Case("all", lambda x: ops.amax(x) * x, (distinct_values(random, (3, 4)),))


@cases_of("index_add")
def _index_add(random):
    yield Case("slices", lambda x: x[1:, ::2], _normal(random, (3, 4)))
    yield Case("repeated indices", lambda x: x[[0, 2, 0, 0], 1:], _normal(random, (3, 4)))


def _elementwise(operation: str, arrays) -> None:
    function = getattr(ops, operation)
    cases_of(operation)(lambda random: [Case("broadcast", function, arrays(random))])


def _positive(random, *shapes) -> tuple[np.ndarray, ...]:
    return tuple(random.uniform(0.5, 2, shape) for shape in shapes)


for _operation in ("add", "subtract", "multiply"):
    _elementwise(_operation, lambda random: _normal(random, (3, 1, 4), (2, 1)))
_elementwise("divide", lambda random: _positive(random, (3, 1, 4), (2, 1)))
for _operation in ("maximum", "minimum"):
    _elementwise(_operation, lambda random: tuple(np.split(distinct_values(random, (6, 4)), 2)))
for _operation in ("negative", "exp", "tanh"):
    _elementwise(_operation, lambda random: _normal(random, (3, 4)))
for _operation in ("log", "sqrt"):
    _elementwise(_operation, lambda random: _positive(random, (3, 4)))
_elementwise("absolute", lambda random: (distinct_values(random, (3, 4)),))


@cases_of("power")
def _power(random):
    for exponent in (2, 3, -0.75):
        yield Case(f"exponent {exponent}", lambda x, e=exponent: ops.power(x, e), _positive(random, (3, 4)))
