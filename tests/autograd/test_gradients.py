"""Every differentiable function against finite differences: its gradient, and the gradients of that.

The upstream gradient is random: with ones, or under a plain sum, whole families of mistakes cancel.
The second and third derivatives are those of random projections of the gradients, with respect to the
inputs and to the upstream gradients, so that every formula in every `backward` counts.
"""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tiers import examples

import minialex as ma
import minialex.functional as F
from minialex import operations
from minialex.checking.kernels.cases import case_of
from minialex.checking.kernels.suite import WITHOUT_GRADIENT
from minialex.checking.testing.compare import assert_close, largest
from minialex.checking.testing.numerical import numerical_vjp
from minialex.checking.testing.strategies import (
    broadcasting_shapes,
    call,
    distinct_values,
    indices,
    normal_values,
    positive_values,
    seeds,
    shapes,
)
from minialex.kernels.contract.examples import operations_with_examples

# Central differences with a step of 1e-5 are off by 1e-10 times a third derivative (up to some hundreds
# here) and by rounding, 1e-11 times the number of terms. A gradient wrong by 0.05 % is off by 5e-4.
TOLERANCE = 1e-7

CASES: dict[str, Callable] = {}


def case(*names):
    """Register a function (draw, generator) -> (function of tensors, arrays) as a case of these names."""

    def register(function):
        CASES.update(dict.fromkeys(names, function))
        return function

    return register


def leaves(arrays):
    return [ma.Tensor(np.array(array), requires_grad=True) for array in arrays]


def gradient_of(function, weights):
    """The weighted sum of the gradients of `function`, as a function of (*inputs, upstream)."""

    def weighted_sum(*arguments):
        *inputs, upstream = arguments
        gradients = ma.grad(function(*inputs), inputs, upstream, create_graph=True, allow_unused=True)
        parts = [(g * w).sum() for g, w in zip(gradients, weights, strict=True) if g is not None]
        return sum(parts[1:], start=parts[0])

    return weighted_sum


def assert_gradients(function, arrays, generator, order=1):
    """Compare the gradients of `function`, differentiated `order` - 1 times before, with differences."""
    for _ in range(order - 1):
        weights = [normal_values(generator, array.shape) for array in arrays]
        upstream = normal_values(generator, function(*leaves(arrays)).shape)
        function, arrays = gradient_of(function, weights), [*arrays, upstream]

    inputs = leaves(arrays)
    result = function(*inputs)
    upstream = normal_values(generator, result.shape)
    gradients = ma.grad(result, inputs, ma.Tensor(upstream), allow_unused=True)

    expected = numerical_vjp(lambda *values: function(*leaves(values)).data, arrays, upstream)
    scale = max(1, largest(*expected))
    for i, (gradient, right) in enumerate(zip(gradients, expected, strict=True)):
        actual = np.zeros(right.shape) if gradient is None else gradient.data
        assert_close(actual, right, TOLERANCE, scale=scale, name=f"gradient of input {i}, order {order}")


# What kernels compute, by the examples of their operations. Every element is moved, so few elements.
LARGEST = 60


def of_kernel(name, **domain):
    """A case for each direction that functions of tensors begin with, drawn as calls of its kernels are."""

    def draw_case(draw, generator):
        drawn = case_of(draw(call(name, **domain)))
        assume(sum(array.size for array in drawn.arrays) <= LARGEST)
        return drawn.function, drawn.arrays

    return draw_case


for _name in operations_with_examples():
    _root, _direction = _name.split(".")
    if _direction == "forward" and _root not in WITHOUT_GRADIENT:
        case(_root)(of_kernel(_name, **({"limit": 2} if _root == "conv2d" else {})))


# What public functions add


@case("local_response_norm, mean")
def _local_response_norm(draw, generator):
    drawn = draw(call("local_response_norm.forward"))
    assume(drawn.elements <= LARGEST)
    return lambda x: F.local_response_norm(x, **drawn.parameters, alpha_mode="mean"), drawn.arrays


def _batch(draw, generator):
    (x, weight, bias), parameters = (drawn := draw(call("batch_norm.forward"))).arrays, drawn.parameters
    assume(0 < x.size <= LARGEST)
    # Some values a feature may be close together: divided by a small deviation, they would have
    # derivatives too large for finite differences.
    axis = parameters["axis"] - draw(st.sampled_from((0, x.ndim)))
    return [x, weight, bias], {"axis": axis, "eps": 0.1}


@case("batch_norm")
def _batch_norm(draw, generator):
    arrays, parameters = _batch(draw, generator)
    arrays = arrays[: draw(st.integers(1, 3))]
    return lambda x, *rest: F.batch_norm(x, None, None, *rest, training=True, **parameters), arrays


@case("batch_norm at evaluation")
def _batch_norm_at_evaluation(draw, generator):
    arrays, parameters = _batch(draw, generator)
    mean, var = normal_values(generator, arrays[1].shape), positive_values(generator, arrays[1].shape)

    def evaluate(x, weight, bias):
        return F.batch_norm(x, mean.astype(x.dtype), var.astype(x.dtype), weight, bias, **parameters)

    return evaluate, arrays


@case("cross_entropy")
def _cross_entropy(draw, generator):
    n, classes = shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
    target = generator.integers(0, classes, n) if draw(st.booleans()) else generator.uniform(0, 1, shape)
    if target.ndim == 1 and n > 1 and draw(st.booleans()):
        target[0] = -100
    options = {
        "weight": generator.uniform(0.5, 2, classes) if draw(st.booleans()) else None,
        "reduction": draw(st.sampled_from(("none", "mean", "sum"))),
        "label_smoothing": draw(st.sampled_from((0.0, 0.3, 1.0))),
    }
    return lambda x: F.cross_entropy(x, target, **options), [normal_values(generator, shape)]


# Sums and layout


def _axes(draw, axes):
    """Some of these axes, in one of the forms that they may be given in."""
    chosen = tuple(draw(st.lists(st.sampled_from(axes), unique=True))) if axes else ()
    return chosen[0] if len(chosen) == 1 and draw(st.booleans()) else chosen


@case("sum")
def _sum(draw, generator):
    x = normal_values(generator, draw(shapes(max_dims=2)))
    axis, keepdims = draw(st.sampled_from((None, _axes(draw, range(-x.ndim, 0))))), draw(st.booleans())
    return lambda x: operations.sum(x, axis, keepdims), [x]


@case("mean", "amax")
def _of_elements(draw, generator):
    x = distinct_values(generator, draw(shapes(max_dims=2, min_side=1)))
    axis, keepdims = draw(st.sampled_from((None, _axes(draw, range(x.ndim))))), draw(st.booleans())
    return (axis, keepdims), [x]


@case("reshape")
def _reshape(draw, generator):
    shape = draw(shapes(max_dims=2, min_side=1))
    other = draw(st.sampled_from(((-1,), (1, *shape), shape[::-1], (*shape, 1, 1))))
    return lambda x: operations.reshape(x, other), [normal_values(generator, shape)]


@case("flatten")
def _flatten(draw, generator):
    shape = draw(shapes(min_dims=2))
    start = draw(st.integers(0, len(shape) - 1))
    return lambda x: F.flatten(x, start), [normal_values(generator, shape)]


@case("transpose")
def _transpose(draw, generator):
    shape = draw(shapes(max_dims=3))
    axes = draw(st.permutations(range(len(shape))))
    return lambda x: operations.transpose(x, *axes), [normal_values(generator, shape)]


@case("broadcast_to")
def _broadcast_to(draw, generator):
    small, large = draw(broadcasting_shapes())
    shape = np.broadcast_shapes(small, large)
    return lambda x: operations.broadcast_to(x, shape), [normal_values(generator, small)]


@case("getitem")
def _getitem(draw, generator):
    shape = draw(shapes(min_dims=1, max_dims=2, min_side=1))
    index = draw(indices(shape))
    return lambda x: operations.getitem(x, index), [normal_values(generator, shape)]


def draw_case(data, name):
    """A function of tensors, the arrays to differentiate it at, and a generator."""
    generator = data.draw(seeds())
    function, arrays = CASES[name](data.draw, generator)
    if callable(function):
        return function, arrays, generator
    arguments = () if function is None else function if isinstance(function, tuple) else (function,)
    return lambda *tensors: getattr(operations, name)(*tensors, *arguments), arrays, generator


every_case = pytest.mark.parametrize("name", sorted(CASES))
# An example differentiates every element of every input: fewer examples than elsewhere do.
some = settings(
    max_examples=examples(50), suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)
few = settings(some, max_examples=examples(30))


def test_every_public_function_has_a_case():
    assert set(F.__all__) <= set(operations.__all__)
    comparisons = {"equal", "greater", "greater_equal", "less", "less_equal", "not_equal"}
    logic = {"all", "any", "bitwise_and", "bitwise_or", "bitwise_xor", "invert"}
    of_functions = {"batch_norm at evaluation", "local_response_norm, mean"}
    of_kernels = {"index_add"}
    assert set(operations.__all__) | of_functions | of_kernels == set(CASES) | comparisons | logic


@every_case
@some
@given(st.data())
def test_first_derivative(name, data):
    assert_gradients(*draw_case(data, name))


@every_case
@few
@given(st.data())
def test_second_derivative(name, data):
    assert_gradients(*draw_case(data, name), order=2)


@pytest.mark.parametrize(
    "name",
    ["batch_norm", "conv2d", "cross_entropy", "exp", "getitem", "local_response_norm", "multiply", "softmax"],
)
@settings(few, max_examples=examples(15))
@given(st.data())
def test_third_derivative(name, data):
    assert_gradients(*draw_case(data, name), order=3)


@every_case
@some
@given(st.data())
def test_backward_gives_writable_gradients_of_their_own_and_changes_nothing(name, data):
    function, arrays, generator = draw_case(data, name)
    inputs = leaves(arrays)
    result = function(*inputs)
    upstream = normal_values(generator, result.shape)
    before = [result.data.copy(), upstream.copy()]

    result.backward(upstream)

    for tensor, array in zip(inputs, arrays, strict=True):
        np.testing.assert_array_equal(tensor.data, array)
    np.testing.assert_array_equal(result.data, before[0])
    np.testing.assert_array_equal(upstream, before[1])
    gradients = [tensor.grad.data for tensor in inputs]
    taken = [upstream, result.data, *(tensor.data for tensor in inputs)]
    for tensor, gradient in zip(inputs, gradients, strict=True):
        assert isinstance(gradient, np.ndarray)
        assert gradient.shape == tensor.shape
        assert gradient.dtype == tensor.dtype
        assert gradient.flags.writeable
        assert not any(np.may_share_memory(gradient, other) for other in taken)
        taken.append(gradient)


@every_case
@few
@given(st.data())
def test_float32_stays_float32(name, data):
    function, arrays, generator = draw_case(data, name)
    inputs = leaves(array.astype(np.float32) for array in arrays)
    result = function(*inputs)
    weights = [normal_values(generator, array.shape, np.float32) for array in arrays]
    upstream = ma.Tensor(normal_values(generator, result.shape, np.float32), requires_grad=True)
    gradients = ma.grad(result, inputs, upstream, create_graph=True)
    twice = ma.grad(gradient_of(function, weights)(*inputs, upstream), upstream)
    assert {t.dtype for t in (result, *gradients, *twice)} == {np.dtype(np.float32)}


# What finite differences cannot see: kinks


def gradient_at(function, *arrays):
    inputs = leaves(np.array(array, dtype=float) for array in arrays)
    result = function(*inputs)
    gradients = ma.grad(result, inputs, ma.Tensor(np.full(result.shape, 3.0)))
    return [gradient.data.tolist() for gradient in gradients]


def test_the_gradient_at_a_kink_follows_the_stated_convention():
    assert gradient_at(F.relu, [0.0, -0.0, 1.0]) == [[0, 0, 3]]
    assert gradient_at(operations.absolute, [0.0, -1.0]) == [[0, -3]]
    assert gradient_at(operations.maximum, [1.0, 2.0], [1.0, 0.0]) == [[1.5, 3], [1.5, 0]]
    assert gradient_at(operations.minimum, [1.0, 2.0], [1.0, 0.0]) == [[1.5, 0], [1.5, 3]]
    assert gradient_at(operations.amax, [2.0, 1.0, 2.0]) == [[1.5, 0, 1.5]]
    tie = [[[[5.0, 5.0], [5.0, 1.0]]]]
    assert gradient_at(lambda x: F.max_pool2d(x, 2), tie) == [[[[[3, 0], [0, 0]]]]]


def test_powers_have_their_gradient_at_zero_and_at_negative_numbers():
    assert gradient_at(lambda x: x**2, [0.0, -2.0]) == [[0, -12]]
    assert gradient_at(lambda x: x**0, [0.0, 2.0]) == [[0, 0]]
    assert gradient_at(lambda x: x**1, [0.0, 2.0]) == [[3, 3]]


# The methods of Tensor are those functions

METHODS = {
    "__add__": (lambda a, b: a + b, operations.add),
    "__sub__": (lambda a, b: a - b, operations.subtract),
    "__mul__": (lambda a, b: a * b, operations.multiply),
    "__truediv__": (lambda a, b: a / b, operations.divide),
    "__matmul__": (lambda a, b: a @ b, operations.matmul),
    "__radd__": (lambda a, b: 2 + a, lambda a, b: operations.add(2, a)),
    "__rsub__": (lambda a, b: 2 - a, lambda a, b: operations.subtract(2, a)),
    "__rmul__": (lambda a, b: 2 * a, lambda a, b: operations.multiply(2, a)),
    "__rtruediv__": (lambda a, b: 2 / a, lambda a, b: operations.divide(2, a)),
    "__neg__": (lambda a, b: -a, lambda a, b: operations.negative(a)),
    "__pow__": (lambda a, b: a**1.5, lambda a, b: operations.power(a, 1.5)),
    "__getitem__": (lambda a, b: a[1, ::2], lambda a, b: operations.getitem(a, (1, slice(None, None, 2)))),
    "exp": (lambda a, b: a.exp(), lambda a, b: operations.exp(a)),
    "log": (lambda a, b: a.log(), lambda a, b: operations.log(a)),
    "sqrt": (lambda a, b: a.sqrt(), lambda a, b: operations.sqrt(a)),
    "tanh": (lambda a, b: a.tanh(), lambda a, b: operations.tanh(a)),
    "abs": (lambda a, b: a.abs(), lambda a, b: operations.absolute(a)),
    "sum": (lambda a, b: a.sum(1, True), lambda a, b: operations.sum(a, 1, True)),
    "mean": (lambda a, b: a.mean((0, 1)), lambda a, b: operations.mean(a, (0, 1))),
    "max": (lambda a, b: a.max(0), lambda a, b: operations.amax(a, 0)),
    "reshape": (lambda a, b: a.reshape(1, -1), lambda a, b: operations.reshape(a, (1, -1))),
    "transpose": (lambda a, b: a.transpose(1, 0), lambda a, b: operations.transpose(a, (1, 0))),
    "T": (lambda a, b: a.T, lambda a, b: operations.transpose(a)),
    "expand": (lambda a, b: a.expand(2, 3, 3), lambda a, b: operations.broadcast_to(a, (2, 3, 3))),
}
NOT_DIFFERENTIABLE = {
    "all",
    "any",
    "backward",
    "detach",
    "device",
    "data",
    "creator",
    "dtype",
    "grad",
    "index",
    "is_leaf",
    "item",
    "ndim",
    "numpy",
    "requires_grad",
    "requires_grad_",
    "shape",
    "size",
    "to",
    "tolist",
    "version",
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_its_function(name):
    generator = np.random.default_rng(3)
    a, b = leaves(positive_values(generator, (3, 3)) for _ in range(2))
    method, function = METHODS[name]
    results = method(a, b), function(a, b)
    np.testing.assert_array_equal(results[0].data, results[1].data)
    upstream = ma.Tensor(normal_values(generator, results[0].shape))
    pairs = zip(*(ma.grad(result, (a, b), upstream, allow_unused=True) for result in results), strict=True)
    for mine, right in pairs:
        assert (mine is None) == (right is None)
        if mine is not None:
            np.testing.assert_array_equal(mine.data, right.data)


def test_every_public_method_is_tried_here():
    public = {name for name in vars(ma.Tensor) if not name.startswith("_")}
    assert public - NOT_DIFFERENTIABLE <= set(METHODS)


def test_a_method_computes_what_numpy_does():
    a, b = (positive_values(np.random.default_rng(5), (3, 3)) for _ in range(2))
    x, y = ma.Tensor(a), ma.Tensor(b)
    for mine, right in (
        (x - y, a - b),
        (x / y, a / b),
        (x @ y, a @ b),
        (2 - x, 2 - a),
        (2 / x, 2 / a),
        (x**1.5, a**1.5),
        (x.mean(1), a.mean(1)),
        (x.max(0), a.max(0)),
        (x.sum((0, 1)), np.asarray(a.sum())),
        (x.T, a.T),
        (x[1, ::2], a[1, ::2]),
        (x.expand(2, 3, 3), np.broadcast_to(a, (2, 3, 3))),
        (-x, -a),
    ):
        assert_close(mine.data, right, 1e-15)
