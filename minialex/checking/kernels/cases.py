"""Small differentiable functions of every operation, for `minialex gradcheck` to check.

They are the small examples of its kernels (`minialex.kernels.contract.examples`), called as users call them,
and what the public functions add: labels, "same" padding, means. A function of your own brings its cases:

    @cases_of("swish")
    def swish_cases(random):
        yield Case("3x4", swish, (random.standard_normal((3, 4)),))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from minialex import functional as F
from minialex import operations as ops
from minialex.checking.kernels import compositions
from minialex.checking.testing.calls import Call
from minialex.checking.testing.values import distinct_values
from minialex.checks import in_words
from minialex.errors import KernelError
from minialex.kernels.contract.examples import example_calls, operations_with_examples
from minialex.operations.conv2d_relu import conv2d_relu
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
    roots = {name.split(".")[0] for name in operations_with_examples()}
    return sorted({*filter(called_first, roots), *_cases, *compositions.names()})


def called_first(root: str) -> list[str]:
    """The directions of an operation's kernels that functions of tensors call first, such as its forward."""
    names = [f"{root}.{direction}" for direction in ("forward", "evaluate", "forward_relu")]
    return [name for name in names if name in operations_with_examples() and _function(name) is not None]


def make_cases(operation: str, seed: int) -> list[Case]:
    """The cases of an operation, with values drawn from a seed.

    Raises
    ------
    KernelError
        If the operation has no cases, or its examples or cases are not as they must be.
    """
    if operation not in operations_with_cases():
        raise KernelError(
            f"operation {operation!r} has no gradient checks; there are: "
            f"{', '.join(operations_with_cases())}. Register others with minialex.checking.cases_of"
        )
    cases = []
    for name in called_first(operation):
        direction = name.split(".")[1]
        for example in example_calls(name, "small"):
            label = example.name if direction == "forward" else f"{example.name}, {direction}"
            cases.append(replace(case_of(Call.of(example, np.float64, seed)), name=label))
    random = np.random.default_rng(seed)
    cases += [Case(each.name, each.function, each.draw(random)) for each in compositions.of(operation)]
    return cases + _own_cases(operation, seed)


def _own_cases(operation: str, seed: int) -> list[Case]:
    """What was registered with `cases_of`, checked."""
    if operation not in _cases:
        return []
    made = _cases[operation](np.random.default_rng(seed))
    if not isinstance(made, Iterable):
        raise KernelError(
            f"cases of {operation}: the function must yield Case(...), not return {in_words(made)}"
        )
    own = list(made)
    for each in own:
        if not isinstance(each, Case):
            raise KernelError(f"cases of {operation}: each must be Case(...), not {in_words(each)}")
        if not isinstance(each.arrays, tuple) or not all(isinstance(a, np.ndarray) for a in each.arrays):
            raise KernelError(
                f"cases of {operation}, {each.name!r}: arrays must be a tuple of arrays, "
                f"not {in_words(each.arrays)}"
            )
    return own


# Functions of tensors whose arguments are not those of the kernel


def _constant(array: np.ndarray, like: Tensor) -> Tensor:
    return Tensor(np.array(array, like.dtype), device=like.device)


def _batch_norm(arrays, parameters) -> Case:
    def normalise(x, weight, bias):
        return F.batch_norm(x, None, None, weight, bias, training=True, **parameters)

    return Case("", normalise, arrays)


def _batch_norm_evaluate(arrays, parameters) -> Case:
    *differentiated, mean, var = arrays

    def evaluate(x, weight, bias):
        return F.batch_norm(x, _constant(mean, x), _constant(var, x), weight, bias, **parameters)

    return Case("", evaluate, tuple(differentiated))


def _cross_entropy(arrays, parameters) -> Case:
    x, target = arrays
    return Case("", lambda x: F.cross_entropy(x, _constant(target, x), reduction="none"), (x,))


def _dropout(arrays, parameters) -> Case:
    def dropout(x):
        with seeded(parameters["seed"]):
            return F.dropout(x, parameters["p"])

    return Case("", dropout, arrays)


def _index_add(arrays, parameters) -> Case:
    # It is the gradient of indexing: elements that are named several times are added up.
    x = np.random.default_rng(arrays[0].size).standard_normal(parameters["shape"])
    return Case("", lambda x: x[parameters["index"]], (x,))


def _conv2d_relu(arrays, parameters) -> Case:
    return Case("", lambda *t: conv2d_relu(*t, **parameters), arrays)


def _clamp(arrays, parameters) -> Case:
    return Case("", lambda x: ops.clamp(x, parameters["low"], parameters["high"]), arrays)


_ADAPTED: dict[str, Callable] = {
    "batch_norm.forward": _batch_norm,
    "batch_norm.evaluate": _batch_norm_evaluate,
    "clamp.forward": _clamp,
    "conv2d.forward_relu": _conv2d_relu,
    "cross_entropy.forward": _cross_entropy,
    "dropout.forward": _dropout,
    "index_add.forward": _index_add,
}


def case_of(call: Call) -> Case:
    """The differentiable function that makes a kernel's call, and values for it.

    Raises
    ------
    KernelError
        If there is no function of tensors for the call's operation.
    """
    arrays = tuple(np.array(a, order="C") for a in call.arrays if a is not None)
    make = _function(call.operation)
    if make is None:
        raise KernelError(f"no function of tensors is known that calls {call.operation}")
    case = make(arrays, call.parameters)
    shapes = ", ".join(str(a.shape) for a in case.arrays)
    return Case(f"drawn for inputs {shapes}", case.function, case.arrays)


def _function(name: str) -> Callable[..., Case] | None:
    """What makes a case from a kernel's arrays and parameters; None if no function calls the kernel first."""
    root, direction = name.split(".")
    if name in _ADAPTED or direction != "forward" or not hasattr(ops, root):
        return _ADAPTED.get(name)
    function = getattr(ops, root)
    return lambda arrays, parameters: Case("", lambda *t: function(*t, **parameters), arrays)


# What public functions add to kernels


def _normal(random, *shapes) -> tuple[np.ndarray, ...]:
    return tuple(random.standard_normal(shape) for shape in shapes)


@cases_of("conv2d")
def _conv2d(random):
    arrays = _normal(random, (2, 1, 4, 5), (2, 1, 3, 3), (2,))
    yield Case("SAME at stride 2", lambda *t: F.conv2d(*t, stride=2, padding="same"), arrays)


@cases_of("max_pool2d")
def _max_pool2d(random):
    x = distinct_values(random, (1, 2, 5, 4))
    yield Case("SAME", lambda x: F.max_pool2d(x, 3, 2, padding="same"), (x,))


@cases_of("local_response_norm", "channel_window_sum")
def _local_response_norm(random):
    options = {"size": 3, "alpha": 0.9, "k": 1.0, "alpha_mode": "mean"}
    yield Case("mean, k 1", lambda x: F.local_response_norm(x, **options), _normal(random, (2, 6, 2, 1)))
    yield Case("the window sum", lambda x: ops.channel_window_sum(x, 3) * x, _normal(random, (2, 5, 1, 2)))


@cases_of("relu")
def _relu(random):
    at_zero = distinct_values(random, (4, 5))
    at_zero[1, 2] = 0
    # The gradient does not depend on x but at that element, where it jumps.
    yield Case("one element at 0", F.relu, (at_zero,), max_skipped=1.0)


@cases_of("cross_entropy")
def _cross_entropy(random):
    labels, weight = np.array([1, 0, 4]), random.random(5)
    for name, options in (
        ("labels", {}),
        ("smoothing", {"reduction": "sum", "label_smoothing": 0.2}),
        (
            "class weights, smoothing and a label to ignore",
            {"weight": weight, "ignore_index": 0, "label_smoothing": 0.2},
        ),
    ):
        yield Case(
            name,
            lambda x, options=options: F.cross_entropy(x, labels, **options),
            _normal(random, (3, 5)),
        )


@cases_of("sum")
def _sum(random):
    yield Case("of squares", lambda x: ops.sum(x * x, 1), _normal(random, (3, 4, 2)))


@cases_of("amax")
def _amax(random):
    yield Case("all", lambda x: ops.amax(x) * x, (distinct_values(random, (3, 4)),))
