"""`check_torch`: what is differentiated, what is passed on, and functions of several results."""

import functools
from collections import namedtuple

import pytest
from torch_samples import (
    Power,
    WrongPower,
    constant,
    derivatives,
    failure,
    laid,
    normal,
    torch,
)

import minialex as ma

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("one_torch_thread")]


def test_a_function_of_one_tensor():
    x = normal(3, 4)
    report = ma.check_torch(torch.tanh, x)
    assert report.name == "tanh"
    assert derivatives(report) == 12 * 12
    assert report.notes == ()
    error = failure(lambda x: torch.tanh(x.detach()) * x, [x])
    assert (error.check, error.input) == ("values", 0)


@pytest.mark.parametrize("given", [Power, Power.apply, functools.partial(Power.apply)])
def test_a_function_class_or_its_apply(given):
    assert derivatives(ma.check_torch(given, [normal(5), 3])) == 25


def test_names_of_functions():
    x = normal(2)
    assert ma.check_torch(Power, [x, 2]).name == "Power"
    assert ma.check_torch(Power.apply, [x, 2]).name == "Power.apply"
    assert ma.check_torch(functools.partial(torch.sum, dim=0), x).name == "sum"
    assert ma.check_torch(torch.sin, x, name="mine").name == "mine"


def test_a_factor_of_1_001_is_found():
    error = failure(WrongPower, [normal(5), 3])
    assert error.check == "values"
    assert error.wrong == 5
    assert error.pattern == "a constant factor of 1.001"
    assert "the gradient of inputs[0] is wrong" in str(error)
    assert error.operation == "WrongPower"


@pytest.mark.parametrize("n", [2, 3.0])
def test_arguments_that_are_no_tensors_are_passed_on(n):
    seen = []

    def power(x, exponent, mode, options, nothing):
        seen.append((exponent, mode, options, nothing))
        return x**exponent

    options = {"a": [1, 2]}
    ma.check_torch(power, [normal(3), n, "mean", options, None])
    assert all(each == (n, "mean", {"a": [1, 2]}, None) for each in seen)
    assert all(each[2] is options for each in seen)


def test_optional_arguments():
    x, weight = normal(4), normal(4, seed=5)
    assert derivatives(ma.check_torch(Power, [x, 2, None])) == 16
    assert derivatives(ma.check_torch(Power, [x, 2, weight])) == 32
    assert "inputs[0]" in str(failure(WrongPower, [x, 2, weight]))


def test_the_tensor_that_is_wrong_has_its_name():
    class Wrong(Power):
        @staticmethod
        def backward(ctx, u):
            right = Power.backward(ctx, u)
            return right[0], None, -right[2]

    error = failure(Wrong, [normal(4), 2, normal(4, seed=5)])
    assert "the gradient of inputs[2] is wrong" in str(error)
    assert "worst      inputs[2] at" in str(error)


def test_integers_are_constants():
    index = torch.tensor([0, 2, 0])
    dtypes = set()

    def take(x, index):
        dtypes.add(index.dtype)
        return x[index]

    assert derivatives(ma.check_torch(take, [normal(3, 2), index])) == 6 * 6
    assert dtypes == {torch.int64}


def test_without_requires_grad_a_tensor_is_a_constant():
    x, w = normal(3), constant(3)
    assert derivatives(ma.check_torch(torch.mul, [x, w])) == 9
    # The gradient of w is wrong, and nobody asked for it.
    assert derivatives(ma.check_torch(lambda x, w: x * w.detach(), [x, w])) == 9
    assert failure(lambda x, w: x * w.detach(), [x, laid(w)]).input == 1


def test_nests_of_tensors_are_differentiated():
    Pair = namedtuple("Pair", "a b")

    def weighted(pairs, scale):
        return sum(p.a * p.b for p in pairs["list"]) * scale["s"][0]

    pairs = {"list": [Pair(normal(3), normal(3, seed=2)), Pair(constant(3), normal(3, seed=3))]}
    report = ma.check_torch(weighted, [pairs, {"s": (normal(1), "text")}])
    assert derivatives(report) == 3 * (3 * 3 + 1)

    def wrong(pairs, scale):
        return weighted(pairs, {"s": (scale["s"][0].detach(),)})

    assert "inputs[1]['s'][0]" in str(failure(wrong, [pairs, {"s": (normal(1),)}]))


def test_arguments_by_name():
    def affine(x, *, weight, bias=None):
        return x * weight + (0 if bias is None else bias)

    kwargs = {"weight": normal(3, seed=1), "bias": normal(1)}
    assert derivatives(ma.check_torch(affine, [normal(3)], kwargs=kwargs)) == 3 * (3 + 3 + 1)
    error = failure(lambda x, weight: x * weight.detach(), [normal(3)], kwargs={"weight": normal(3, seed=1)})
    assert "the gradient of kwargs['weight'] is wrong" in str(error)


# Several results


def test_several_results_in_tuples_lists_and_dicts():
    x = normal(2, 3)
    for function in (
        lambda x: (x.sin(), x.sum(0)),
        lambda x: [x.sin(), x.sum(0)],
        lambda x: {"sin": x.sin(), "sums": [x.sum(0)]},
    ):
        assert derivatives(ma.check_torch(function, x)) == (6 + 3) * 6
    assert failure(lambda x: (x.sin(), x.detach().cos() * x.sum()), x).check == "values"


def test_integer_results_are_ignored_and_said_so():
    report = ma.check_torch(lambda x: torch.max(x, 1), normal(3, 4))
    assert derivatives(report) == 3 * 12
    assert report.notes == ("result[1] is int64 and has no gradient",)
    assert str(report).endswith("result[1] is int64 and has no gradient")
    report = ma.check_torch(
        torch.nn.MultiheadAttention(2, 1), [normal(3, 1, 2)] * 3, kwargs={"need_weights": False}
    )
    assert report.notes == ("result[1] is None and has no gradient",)


def test_a_result_outside_the_graph_is_a_constant():
    report = ma.check_torch(lambda x: (x.sin(), torch.ones(2, dtype=x.dtype)), normal(2))
    assert report.notes == ("result[1] is outside the graph: its derivatives have to be 0",)
    error = failure(lambda x: (x.sin(), x.detach() ** 2), normal(2))
    assert (error.check, error.analytic) == ("values", 0.0)


class SumAndProduct(torch.autograd.Function):
    """Two results, whose upstream gradients are None where they are not used."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(a, b)
        return a + b, a * b

    @staticmethod
    def backward(ctx, u, v):
        a, b = ctx.saved_tensors
        u = torch.zeros_like(a) if u is None else u
        v = torch.zeros_like(a) if v is None else v
        return u + v * b, u + v * a


def test_each_result_alone():
    class Raises(SumAndProduct):
        @staticmethod
        def backward(ctx, u, v):
            a, b = ctx.saved_tensors
            return u + v * b, u + v * a

    class Ignores(SumAndProduct):
        @staticmethod
        def backward(ctx, u, v):
            if u is None:
                return torch.zeros_like(v), torch.zeros_like(v)
            return SumAndProduct.backward(ctx, u, v)

    inputs = [normal(3), normal(3, seed=1)]
    assert derivatives(ma.check_torch(SumAndProduct, inputs)) == 2 * 3 * 6
    error = failure(Raises, inputs)
    assert error.check == "raises"
    assert (
        "where only result[0] is used, so that others have no upstream gradient backward raises TypeError"
        in str(error)
    )
    error = failure(Ignores, inputs)
    assert error.check == "values"
    assert "the gradient of inputs[0] is different where only result[1] is used" in str(error)


def test_each_input_alone():
    class Swapped(SumAndProduct):
        @staticmethod
        def backward(ctx, u, v):
            a, b = ctx.saved_tensors
            both = all(ctx.needs_input_grad)
            return u + v * (b if both else a), u + v * (a if both else b)

    error = failure(Swapped, [normal(3), normal(3, seed=1)])
    assert error.check == "values"
    assert "different where only inputs[0] requires a gradient (ctx.needs_input_grad)" in str(error)


def test_each_parameter_alone():
    class Affine(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight, bias):
            ctx.save_for_backward(x, weight)
            return x * weight + bias

        @staticmethod
        def backward(ctx, u):
            x, weight = ctx.saved_tensors
            # The slip: the gradient of the weight is made where that of the bias is wanted.
            by_weight = u * x if ctx.needs_input_grad[2] else torch.zeros_like(u)
            return u * weight, by_weight, u

    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor([0.5, -1.0, 2.0]))
            self.bias = torch.nn.Parameter(torch.tensor([0.1, 0.2, 0.3]))

        def forward(self, x):
            return Affine.apply(x, self.weight, self.bias)

    error = failure(Layer(), normal(3))
    assert error.check == "values"
    assert "different where only parameter 'weight' requires a gradient" in str(error)
