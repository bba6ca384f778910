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
    axes = tuple(draw(st.permutations(range(len(shape)))))
    return lambda x: operations.transpose(x, axes), [normal_values(generator, shape)]


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


def fixed(name, function, *shape_and_values):
    """Register a function of arrays of these shapes as the case of a name; only the values are drawn."""

    @case(name)
    def draw_values(draw, generator):
        return function, [values(generator, shape) for shape, values in shape_and_values]


def normals(*shapes):
    return [(shape, normal_values) for shape in shapes]


def distincts(*shapes):
    return [(shape, distinct_values) for shape in shapes]


_IMAGES = (2, 2, 3, 4)
_TARGET = np.random.default_rng(3).uniform(0.1, 0.9, (3, 4))


def _target(x):
    return ma.Tensor(_TARGET.astype(x.dtype))


_LABELS = np.array([2, 0, 3])
_INDEX = np.array([2, 0, 2])
for _name, _function, _arrays in (
    ("relu6", lambda x: F.relu6(x * 3), distincts((3, 4))),
    ("leaky_relu", lambda x: F.leaky_relu(x, 0.2), distincts((3, 4))),
    ("prelu", F.prelu, [*distincts((2, 3, 2)), *normals((3,))]),
    ("elu", lambda x: F.elu(x, 0.7), distincts((3, 4))),
    ("gelu", F.gelu, normals((3, 4))),
    ("gelu, tanh", lambda x: F.gelu(x, "tanh"), normals((3, 4))),
    ("silu", F.silu, normals((3, 4))),
    ("hardsigmoid", lambda x: F.hardsigmoid(x * 2.1), distincts((3, 4))),
    ("hardswish", lambda x: F.hardswish(x * 2.1), distincts((3, 4))),
    ("softplus", lambda x: F.softplus(x, 1.5), normals((3, 4))),
    ("logsigmoid", F.logsigmoid, normals((3, 4))),
    ("mish", F.mish, normals((3, 4))),
    ("where", lambda a, b: operations.where(_TARGET > 0.5, a, b), normals((3, 4), (4,))),
    ("masked_fill", lambda x: operations.masked_fill(x, _TARGET > 0.5, 2.0), normals((3, 4))),
    ("max", lambda x: operations.max(x, 1).values, distincts((2, 3, 2))),
    ("min", lambda x: operations.min(x, dim=0)[0], distincts((2, 3, 2))),
    ("amin", lambda x: operations.amin(x, dim=1), distincts((2, 3, 2))),
    ("topk", lambda x: operations.topk(x, 2).values, distincts((2, 4))),
    ("gather", lambda x: operations.gather(x, 0, [[2, 0, 0, 1], [0, 2, 0, 1]]), normals((3, 4))),
    ("index_select", lambda x: operations.index_select(x, 1, _INDEX), normals((2, 3))),
    ("cat", lambda a, b: operations.cat([a, b, a], dim=1), normals((2, 3), (2, 1))),
    ("stack", lambda a, b: operations.stack([a, b], dim=-1), normals((2, 3), (2, 3))),
    ("split", lambda x: operations.split(x, [1, 3], 1)[1], normals((2, 4))),
    ("chunk", lambda x: operations.chunk(x, 2, dim=1)[1], normals((2, 3))),
    ("unbind", lambda x: operations.unbind(x, 1)[2], normals((2, 3))),
    ("clone", operations.clone, normals((2, 3))),
    ("squeeze", operations.squeeze, normals((2, 1, 3, 1))),
    ("unsqueeze", lambda x: operations.unsqueeze(x, 1), normals((2, 3))),
    ("permute", lambda x: operations.permute(x, 2, 0, 1), normals((2, 3, 2))),
    ("repeat", lambda x: operations.repeat(x, 2, 1, 3), normals((2, 2))),
    ("to", lambda x: operations.to(x, x.dtype) * 1, normals((2, 3))),
    ("astype", lambda x: operations.astype(x, x.dtype) * 1, normals((2, 3))),
    ("var", lambda x: operations.var(x, dim=1), normals((3, 4))),
    ("std", lambda x: operations.std(x, dim=0, correction=0), normals((3, 4))),
    ("norm", lambda x: operations.norm(x, dim=1), normals((3, 4))),
    ("norm, 3", lambda x: operations.norm(x, 3), distincts((3, 4))),
    ("layer_norm", lambda x, w, b: F.layer_norm(x, 4, w, b, 0.1), normals((3, 4), (4,), (4,))),
    ("group_norm", lambda x, w, b: F.group_norm(x, 2, w, b, 0.1), normals((2, 4, 2), (4,), (4,))),
    ("instance_norm", lambda x: F.instance_norm(x, eps=0.1), normals((2, 2, 3))),
    ("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, (2, 3)), normals(_IMAGES)),
    ("adaptive_max_pool2d", lambda x: F.adaptive_max_pool2d(x, (2, 3)), distincts(_IMAGES)),
    ("max_unpool2d", lambda x: F.max_unpool2d(x, [[[[0, 3], [8, 14]]]], 2), normals((1, 1, 2, 2))),
    ("conv1d", lambda x, w, b: F.conv1d(x, w, b, 2, 1), normals((2, 2, 5), (3, 2, 3), (3,))),
    (
        "conv_transpose2d",
        lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, 1),
        normals((1, 2, 2, 3), (2, 2, 3, 2), (2,)),
    ),
    ("pad", lambda x: F.pad(x, (1, 2, -1, 1)), normals(_IMAGES)),
    ("pad, reflect", lambda x: F.pad(x, (1, 2, 2, 1), "reflect"), normals(_IMAGES)),
    ("unfold", lambda x: F.unfold(x, 2, padding=1, stride=2), normals(_IMAGES)),
    ("fold", lambda x: F.fold(x, (3, 4), (2, 3)), normals((2, 6, 4))),
    ("interpolate", lambda x: F.interpolate(x, size=(5, 2), mode="bilinear"), normals(_IMAGES)),
    ("interpolate, nearest", lambda x: F.interpolate(x, scale_factor=1.6), normals(_IMAGES)),
    ("embedding", lambda table: F.embedding(_INDEX, table), normals((3, 2))),
    ("einsum", lambda a, b: operations.einsum("bij,bkj->ibk", a, b), normals((2, 2, 3), (2, 3, 3))),
    ("matmul, stacks", operations.matmul, normals((2, 1, 2, 3), (2, 3, 2))),
    ("mse_loss", lambda x: F.mse_loss(x, _target(x)), normals((3, 4))),
    ("l1_loss", lambda x: F.l1_loss(x, _target(x) - 0.05, "sum"), distincts((3, 4))),
    ("smooth_l1_loss", lambda x: F.smooth_l1_loss(x, _target(x) * 0, beta=0.7), distincts((3, 4))),
    ("huber_loss", lambda x: F.huber_loss(x, _target(x) * 0, "none", 0.7), distincts((3, 4))),
    ("binary_cross_entropy", lambda x: F.binary_cross_entropy(x.sigmoid(), _target(x)), normals((3, 4))),
    (
        "binary_cross_entropy_with_logits",
        lambda x: F.binary_cross_entropy_with_logits(x, _target(x), pos_weight=2.0),
        normals((3, 4)),
    ),
    ("nll_loss", lambda x: F.nll_loss(x, _LABELS, [1.0, 2.0, 3.0, 4.0]), normals((3, 4))),
    ("kl_div", lambda x: F.kl_div(x, _target(x), "batchmean"), normals((3, 4))),
    ("dropout2d", lambda x: _same_mask(F.dropout2d, x), normals((2, 3, 2, 2))),
    ("cross_entropy of images", lambda x: F.cross_entropy(x, [[2, 0], [1, 1]]), normals((2, 3, 2))),
):
    fixed(_name, _function, *_arrays)


def _same_mask(dropout, x):
    ma.manual_seed(5)
    return dropout(x, 0.5)


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
    places = {"argmax", "argmin"}
    in_place = {"add_", "copy_", "div_", "fill_", "mul_", "setitem_"}
    of_kernels = {"index_add"}
    cases = {name.partition(",")[0].split(" ")[0] for name in CASES}
    assert set(operations.__all__) | of_kernels == cases | comparisons | logic | places | in_place


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

_MASK = np.eye(3) > 0

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
    "max": (lambda a, b: a.max(axis=0), lambda a, b: operations.amax(a, 0)),
    "reshape": (lambda a, b: a.reshape(1, -1), lambda a, b: operations.reshape(a, (1, -1))),
    "transpose": (lambda a, b: a.transpose(0, 1), lambda a, b: operations.transpose(a, (1, 0))),
    "T": (lambda a, b: a.T, lambda a, b: operations.transpose(a)),
    "add": (lambda a, b: a.add(b), lambda a, b: operations.add(a, b)),
    "sub": (lambda a, b: a.sub(b), lambda a, b: operations.subtract(a, b)),
    "mul": (lambda a, b: a.mul(b), lambda a, b: operations.multiply(a, b)),
    "div": (lambda a, b: a.div(b), lambda a, b: operations.divide(a, b)),
    "matmul": (lambda a, b: a.matmul(b), lambda a, b: operations.matmul(a, b)),
    "mm": (lambda a, b: a.mm(b), lambda a, b: operations.matmul(a, b)),
    "neg": (lambda a, b: a.neg(), lambda a, b: operations.negative(a)),
    "pow": (lambda a, b: a.pow(3), lambda a, b: operations.power(a, 3)),
    "square": (lambda a, b: a.square(), lambda a, b: operations.multiply(a, a)),
    "log1p": (lambda a, b: a.log1p(), lambda a, b: operations.log1p(a)),
    "sigmoid": (lambda a, b: a.sigmoid(), lambda a, b: operations.sigmoid(a)),
    "relu": (lambda a, b: a.relu(), lambda a, b: operations.relu(a)),
    "erf": (lambda a, b: a.erf(), lambda a, b: operations.erf(a)),
    "clamp": (lambda a, b: a.clamp(max=1.0), lambda a, b: operations.clamp(a, None, 1.0)),
    "clip": (lambda a, b: a.clip(0.6, 1.0), lambda a, b: operations.clamp(a, 0.6, 1.0)),
    "masked_fill": (lambda a, b: a.masked_fill(_MASK, 2), lambda a, b: operations.masked_fill(a, _MASK, 2)),
    "where": (lambda a, b: a.where(_MASK, b), lambda a, b: operations.where(_MASK, a, b)),
    "amax": (lambda a, b: a.amax(dim=1), lambda a, b: operations.amax(a, 1)),
    "amin": (lambda a, b: a.amin(1), lambda a, b: operations.amin(a, 1)),
    "min": (lambda a, b: a.min(0)[0], lambda a, b: operations.amin(a, 0)),
    "topk": (lambda a, b: a.topk(2)[0], lambda a, b: operations.topk(a, 2)[0]),
    "var": (lambda a, b: a.var(0), lambda a, b: operations.var(a, 0)),
    "std": (lambda a, b: a.std(dim=0), lambda a, b: operations.std(a, 0)),
    "norm": (lambda a, b: a.norm(dim=1), lambda a, b: operations.norm(a, 2, 1)),
    "softmax": (lambda a, b: a.softmax(0), lambda a, b: operations.softmax(a, 0)),
    "log_softmax": (lambda a, b: a.log_softmax(dim=0), lambda a, b: operations.log_softmax(a, 0)),
    "view": (lambda a, b: a.view(-1), lambda a, b: operations.reshape(a, -1)),
    "view_as": (lambda a, b: a.view_as(b), lambda a, b: operations.reshape(a, 3, 3)),
    "flatten": (lambda a, b: a.flatten(), lambda a, b: operations.reshape(a, 9)),
    "squeeze": (lambda a, b: a[:, :1].squeeze(1), lambda a, b: operations.getitem(a, (slice(None), 0))),
    "unsqueeze": (lambda a, b: a.unsqueeze(0), lambda a, b: operations.reshape(a, 1, 3, 3)),
    "permute": (lambda a, b: a.permute(1, 0), lambda a, b: operations.transpose(a)),
    "t": (lambda a, b: a.t(), lambda a, b: operations.transpose(a)),
    "expand_as": (lambda a, b: a[:1].expand_as(b), lambda a, b: operations.broadcast_to(a[:1], 3, 3)),
    "repeat": (lambda a, b: a.repeat(2, 1), lambda a, b: operations.cat([a, a])),
    "split": (lambda a, b: a.split(2, 1)[1], lambda a, b: operations.getitem(a, (slice(None), slice(2, 3)))),
    "chunk": (lambda a, b: a.chunk(2)[0], lambda a, b: operations.getitem(a, slice(2))),
    "unbind": (lambda a, b: a.unbind(1)[2], lambda a, b: operations.getitem(a, (slice(None), 2))),
    "gather": (lambda a, b: a.gather(0, [[2, 0, 1]]), lambda a, b: a[[2, 0, 1], [0, 1, 2]].reshape(1, 3)),
    "index_select": (lambda a, b: a.index_select(1, [2, 2]), lambda a, b: a[:, [2, 2]]),
    "clone": (lambda a, b: a.clone(), lambda a, b: operations.reshape(a, 3, 3)),
    "contiguous": (lambda a, b: a.T.contiguous(), lambda a, b: operations.transpose(a)),
    "type_as": (lambda a, b: a.type_as(b), lambda a, b: a * 1),
    "float": (
        lambda a, b: a.float().double(),
        lambda a, b: operations.astype(operations.astype(a, "f4"), "f8"),
    ),
    "double": (lambda a, b: a.double(), lambda a, b: a * 1),
    "cpu": (lambda a, b: a.cpu() * 1, lambda a, b: a * 1),
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
    "add_",
    "argmax",
    "argmin",
    "bool",
    "clamp_",
    "copy_",
    "cuda",
    "dim",
    "div_",
    "eq",
    "fill_",
    "ge",
    "grad_fn",
    "gt",
    "hooks",
    "int",
    "is_cuda",
    "is_floating_point",
    "le",
    "long",
    "lt",
    "mul_",
    "ndimension",
    "ne",
    "numel",
    "register_hook",
    "retain_grad",
    "sub_",
    "zero_",
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
    public = {name for name in dir(ma.Tensor) if not name.startswith("_")}
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
        (x.max(axis=0), a.max(0)),
        (x.sum((0, 1)), np.asarray(a.sum())),
        (x.T, a.T),
        (x[1, ::2], a[1, ::2]),
        (x.expand(2, 3, 3), np.broadcast_to(a, (2, 3, 3))),
        (-x, -a),
    ):
        assert_close(mine.data, right, 1e-15)
