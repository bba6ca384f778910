"""Calls of every operation's kernels, at sizes that are awkward for a GPU.

Few sizes are a multiple of a warp or a tile; some are smaller than one block, others need several blocks and
several rounds of a loop over tiles. The calls are few and small, as each access is looked at
(`minialex kernels check`). A new operation brings its own:

    @calls_of("swish.forward")
    def swish(random):
        for shape in LENGTHS:
            yield (random.normal(shape),), {}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from minialex.checking.testing.values import distinct_values
from minialex.errors import KernelError
from minialex.kernels import output_shape

LENGTHS = ((1,), (777,), (3, 5, 7), (2, 3, 4, 5))
"""Less than a warp, several blocks with the last one partly empty, and more than one axis."""


@dataclass(frozen=True)
class KernelCall:
    """What a kernel of an operation is called with."""

    operation: str
    arrays: tuple[np.ndarray | None, ...]
    parameters: dict = field(default_factory=dict)

    def __str__(self) -> str:
        shapes = ", ".join("None" if array is None else str(array.shape) for array in self.arrays)
        return f"{self.operation}({shapes})"


class Random:
    """Arrays of one dtype, with values from a seed."""

    def __init__(self, seed: int, dtype):
        self.generator = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)

    def normal(self, *shape) -> np.ndarray:
        return np.asarray(self.generator.standard_normal(_shape(shape)), self.dtype)

    def positive(self, *shape) -> np.ndarray:
        return np.asarray(self.generator.uniform(0.5, 2, _shape(shape)), self.dtype)

    def distinct(self, *shape) -> np.ndarray:
        return distinct_values(self.generator, _shape(shape), self.dtype)


def _shape(given) -> tuple[int, ...]:
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], tuple) else given


_calls: dict[str, Callable[[Random], Iterable[tuple[tuple, dict]]]] = {}


def calls_of(*operations: str):
    """Register the decorated function as the calls of operations; it yields (arrays, parameters)."""

    def register(make: Callable[[Random], Iterable[tuple[tuple, dict]]]):
        for operation in operations:
            _calls[operation] = make
        return make

    return register


def kernel_calls(operation: str, dtype=np.float32, seed: int = 0) -> Iterator[KernelCall]:
    """The calls of an operation, such as ``"conv2d.forward"``.

    Raises
    ------
    KernelError
        If it has none.
    """
    if operation not in _calls:
        raise KernelError(
            f"operation {operation!r} has no calls to check its kernels with; there are: "
            f"{', '.join(sorted(_calls))}. Register others with "
            "minialex.checking.kernels.kernel_calls.calls_of"
        )
    for arrays, parameters in _calls[operation](Random(seed, dtype)):
        yield KernelCall(operation, arrays, parameters)


# x, weight, whether there is a bias, stride, padding, dilation, groups. The last one has several tiles of
# outputs, of positions and of terms, none of them full.
_CONVOLUTIONS = (
    ((1, 1, 1, 1), (1, 1, 1, 1), False, (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    ((2, 3, 9, 7), (5, 3, 3, 3), True, (2, 1), ((1, 0), (2, 1)), (1, 1), 1),
    ((1, 4, 8, 11), (6, 2, 3, 2), False, (1, 3), ((0, 2), (1, 0)), (2, 1), 2),
    ((1, 8, 6, 5), (12, 2, 3, 3), True, (2, 2), ((1, 1), (1, 1)), (1, 1), 4),
    ((2, 5, 10, 9), (70, 5, 3, 3), True, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
)


def _convolutions():
    for x, weight, has_bias, stride, padding, dilation, groups in _CONVOLUTIONS:
        parameters = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        y = output_shape("conv2d", x, weight, **parameters)
        yield x, weight, y, has_bias, parameters


@calls_of("conv2d.forward")
def _conv2d_forward(random):
    for x, weight, _, has_bias, parameters in _convolutions():
        bias = random.normal(weight[0]) if has_bias else None
        yield (random.normal(x), random.normal(weight), bias), parameters


@calls_of("conv2d.input_grad")
def _conv2d_input_grad(random):
    for x, weight, y, _, parameters in _convolutions():
        yield (random.normal(y), random.normal(weight)), {"input_size": x[2:], **parameters}


@calls_of("conv2d.weight_grad")
def _conv2d_weight_grad(random):
    for x, weight, y, _, parameters in _convolutions():
        yield (random.normal(y), random.normal(x)), {"kernel_size": weight[2:], **parameters}


# Rows, terms, columns: one of each, less than a tile, a vector, a long sum, more than one tile of each.
_PRODUCTS = ((1, 1, 1), (3, 5, 7), (1, 301, 75), (5, 700, 9), (67, 35, 133), (133, 20, 67))


@calls_of("matmul.forward")
def _matmul(random):
    for rows, inner, columns in _PRODUCTS:
        yield (random.normal(rows, inner), random.normal(inner, columns)), {}


@calls_of("linear.forward")
def _linear_forward(random):
    for i, (n, inputs, outputs) in enumerate(_PRODUCTS):
        bias = random.normal(outputs) if i % 2 else None
        yield (random.normal(n, inputs), random.normal(outputs, inputs), bias), {}


@calls_of("linear.input_grad")
def _linear_input_grad(random):
    for n, inputs, outputs in _PRODUCTS:
        yield (random.normal(n, outputs), random.normal(outputs, inputs)), {}


@calls_of("linear.weight_grad")
def _linear_weight_grad(random):
    for n, inputs, outputs in _PRODUCTS:
        yield (random.normal(n, outputs), random.normal(n, inputs)), {}


# x, kernel, stride, padding, dilation (of max-pooling), ceil mode.
_POOLINGS = (
    ((1, 1, 1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), False),
    ((2, 3, 7, 6), (3, 2), (2, 2), ((1, 2), (0, 1)), (1, 1), False),
    ((3, 5, 9, 11), (3, 3), (2, 3), ((1, 1), (0, 0)), (2, 1), True),
)


def _poolings(maximum: bool):
    for x, kernel, stride, padding, dilation, ceil in _POOLINGS:
        parameters = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil}
        parameters |= {"dilation": dilation} if maximum else {"count_include_pad": not ceil}
        yield x, output_shape("max_pool2d" if maximum else "avg_pool2d", x, **parameters), parameters


@calls_of("max_pool2d.forward")
def _max_pool2d_forward(random):
    for x, _, parameters in _poolings(True):
        yield (random.distinct(x),), parameters


@calls_of("max_pool2d.scatter")
def _max_pool2d_scatter(random):
    for x, y, _ in _poolings(True):
        index = random.generator.integers(0, x[2] * x[3], y, dtype=np.int32)
        yield (random.normal(y), index), {"input_size": x[2:]}


@calls_of("max_pool2d.gather")
def _max_pool2d_gather(random):
    for x, y, _ in _poolings(True):
        index = random.generator.integers(0, x[2] * x[3], y, dtype=np.int32)
        yield (random.normal(x), index), {}


@calls_of("avg_pool2d.forward")
def _avg_pool2d_forward(random):
    for x, _, parameters in _poolings(False):
        yield (random.normal(x),), parameters


@calls_of("avg_pool2d.input_grad")
def _avg_pool2d_input_grad(random):
    for x, y, parameters in _poolings(False):
        yield (random.normal(y),), {"input_size": x[2:], **parameters}


# Fewer channels than the window, and more; at the paper's alpha of 1e-4 neighbours would hardly count.
_NORMALISED = (((1, 1, 1, 1), 5), ((2, 3, 4, 5), 9), ((2, 7, 11, 13), 3), ((1, 19, 2, 3), 4))


@calls_of("local_response_norm.forward")
def _local_response_norm_forward(random):
    for shape, size in _NORMALISED:
        yield (random.normal(shape),), {"size": size, "alpha": 1.0, "beta": 0.75, "k": 2.0}


@calls_of("local_response_norm.backward")
def _local_response_norm_backward(random):
    for shape, size in _NORMALISED:
        parameters = {"size": size, "alpha": 1.0, "beta": 0.75, "k": 2.0}
        yield (random.normal(shape), random.normal(shape)), parameters


@calls_of("channel_window_sum.forward")
def _channel_window_sum(random):
    for shape, size in _NORMALISED:
        yield (random.normal(shape),), {"size": size}


@calls_of("relu.forward", "absolute.forward", "negative.forward", "exp.forward", "tanh.forward")
def _unary(random):
    for shape in LENGTHS:
        yield (random.distinct(shape),), {}


@calls_of("log.forward", "sqrt.forward")
def _unary_of_positive(random):
    for shape in LENGTHS:
        yield (random.positive(shape),), {}


@calls_of("power.forward")
def _power(random):
    for shape in LENGTHS:
        yield (random.positive(shape),), {"exponent": -0.75}


@calls_of("relu.backward")
def _relu_backward(random):
    for shape in LENGTHS:
        yield (random.normal(shape), np.maximum(random.distinct(shape), 0)), {}


@calls_of("dropout.forward")
def _dropout(random):
    for shape in (*LENGTHS, (2100,)):  # a thread draws four numbers
        yield (random.normal(shape),), {"p": 0.5, "seed": 2**63 + 1, "offset": 7}


@calls_of(
    "add.forward",
    "subtract.forward",
    "multiply.forward",
    "divide.forward",
    "maximum.forward",
    "minimum.forward",
)
def _binary(random):
    for a, b in (
        ((777,), (777,)),
        ((37, 21), (21,)),
        ((2, 1, 4), (3, 1)),
        ((37, 21), (37, 1)),
        ((2, 3, 4, 5), (2, 3, 4, 5)),
        ((5,), ()),
    ):
        yield (random.positive(a), random.positive(b)), {}


# A shape and the axis of its features: few of them with much in each, many with little, one.
_FEATURES = (((3, 5, 4, 7), 1), ((37, 300), 1), ((9, 3, 21, 23), 1), ((2, 2), 0))


def _moments(x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    others = tuple(i for i in range(x.ndim) if i != axis)
    return x.mean(axis=others), x.var(axis=others)


@calls_of("batch_norm.forward")
def _batch_norm_forward(random):
    for shape, axis in _FEATURES:
        weight, bias = random.normal(shape[axis]), random.normal(shape[axis])
        yield (random.normal(shape), weight, bias), {"axis": axis, "eps": 1e-5}


@calls_of("batch_norm.evaluate")
def _batch_norm_evaluate(random):
    for shape, axis in _FEATURES:
        weight, bias, mean = (random.normal(shape[axis]) for _ in range(3))
        yield (
            (random.normal(shape), weight, bias, mean, random.positive(shape[axis])),
            {"axis": axis, "eps": 1e-5},
        )


@calls_of("batch_norm.backward")
def _batch_norm_backward(random):
    for shape, axis in _FEATURES:
        x = random.normal(shape)
        yield (
            (random.normal(shape), x, random.normal(shape[axis]), *_moments(x, axis)),
            {"axis": axis, "eps": 1e-5},
        )


# A shape and the axis of its lines: shorter and longer than a warp and a block, beside each other and apart.
_LINES = (((3, 10), 1), ((2, 301), 1), ((4, 37, 5), 1), ((1, 1), 0))


def _softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@calls_of("softmax.forward", "log_softmax.forward")
def _softmax_forward(random):
    for shape, axis in _LINES:
        yield (random.normal(shape),), {"axis": axis}


@calls_of("softmax.backward")
def _softmax_backward(random):
    for shape, axis in _LINES:
        yield (random.normal(shape), _softmax(random.normal(shape), axis)), {"axis": axis}


@calls_of("log_softmax.backward")
def _log_softmax_backward(random):
    for shape, axis in _LINES:
        yield (random.normal(shape), np.log(_softmax(random.normal(shape), axis))), {"axis": axis}


_CLASSES = ((1, 1), (37, 10), (3, 301))


@calls_of("cross_entropy.forward")
def _cross_entropy_forward(random):
    for shape in _CLASSES:
        yield (random.normal(shape), random.positive(shape)), {}


@calls_of("cross_entropy.backward")
def _cross_entropy_backward(random):
    for shape in _CLASSES:
        yield (random.normal(shape[0]), random.normal(shape), random.positive(shape)), {}


@calls_of("sum.forward", "amax.forward")
def _reduction(random):
    for shape, axis in (
        ((1,), (0,)),
        ((777,), (0,)),
        ((37, 70, 3), (1,)),
        ((5, 301), (1,)),
        ((9, 4, 5), (0, 2)),
        ((2, 3, 4, 5), (0, 2, 3)),
        ((3, 5), ()),
    ):
        yield (random.distinct(shape),), {"axis": axis, "keepdims": False}


@calls_of("index_add.forward")
def _index_add(random):
    rows = random.generator.integers(-1, 5, (7, 11))
    mask = random.generator.random((9, 31)) > 0.5
    for shape, index in (
        ((5, 3), rows),
        ((9, 31), mask),
        ((9, 31), (slice(1, None, 2), slice(None, None, -3))),
    ):
        yield (random.normal(np.empty(shape)[index].shape),), {"index": index, "shape": shape}


@calls_of("sgd.update")
def _sgd(random):
    for shape in LENGTHS:
        for momentum in (0.0, 0.9):
            velocity = random.normal(shape) if momentum else None
            parameters = {"lr": 0.1, "momentum": momentum, "weight_decay": 0.05, "nesterov": bool(momentum)}
            yield (random.normal(shape), random.normal(shape), velocity), parameters


@calls_of("adam.update")
def _adam(random):
    for shape in LENGTHS:
        arrays = random.normal(shape), random.normal(shape), random.normal(shape), random.positive(shape)
        for decoupled in (False, True):
            yield (
                tuple(array.copy() for array in arrays),
                {
                    "lr": 0.1,
                    "beta1": 0.9,
                    "beta2": 0.99,
                    "eps": 1e-8,
                    "weight_decay": 0.05,
                    "decoupled": decoupled,
                    "step": 3,
                },
            )
