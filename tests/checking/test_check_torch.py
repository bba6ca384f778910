"""`check_torch`: right and wrong gradients of functions, Functions and modules, and how each kind is told.

The kinds of mistake are those that people reported of `torch.autograd.gradcheck`: the numbers in brackets are
issues of pytorch/pytorch.
"""

import functools
import pickle
import re
import warnings
from collections import namedtuple
from typing import ClassVar

import numpy as np
import pytest

import minialex as ma
from minialex.checking import constraints
from minialex.checking.adapters.torch_tensors import laid_out
from minialex.errors import MiniAlexError

torch = pytest.importorskip("torch")
from torch.autograd.function import once_differentiable  # noqa: E402

pytestmark = pytest.mark.full


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    # Threads of tests that run side by side wait for each other.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def normal(*shape, dtype=torch.float64, seed=0):
    values = np.random.default_rng([seed, *shape]).standard_normal(shape)
    return torch.tensor(values, dtype=dtype, requires_grad=True)


def constant(*shape, seed=1):
    return normal(*shape, seed=seed).detach()


def laid(tensor):
    """A tensor of these strides that is a leaf."""
    return tensor.detach().requires_grad_()


def scripted(module):
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        return torch.jit.script(module)


def derivatives(report):
    """How many derivatives were compared, those that are 0 on both sides included."""
    return report.compared + report.zeros


def failure(function, inputs, **options):
    with pytest.raises(ma.GradcheckError) as caught:
        ma.check_torch(function, inputs, **options)
    return caught.value


class Power(torch.autograd.Function):
    """x ** n, times a weight where there is one."""

    factor = 1.0

    @staticmethod
    def forward(ctx, x, n, weight=None):
        ctx.save_for_backward(x, weight)
        ctx.n = n
        return x**n if weight is None else weight * x**n

    @classmethod
    def backward(cls, ctx, u):
        x, weight = ctx.saved_tensors
        slope = cls.factor * ctx.n * x ** (ctx.n - 1)
        if weight is None:
            return u * slope, None, None
        return u * weight * slope, None, u * x**ctx.n


class WrongPower(Power):
    factor = 1.001


# What is differentiated, and what is passed on


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


# Modules


def test_parameters_are_differentiated_and_named():
    # [5351] gradcheck(nn.Linear(2, 1), x) looks only at x, and in float32.
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh(), torch.nn.Linear(2, 2))
    report = ma.check_torch(module, normal(2, 3))
    assert report.name == "Sequential"
    assert derivatives(report) >= 4 * 6
    assert len(report.inputs) == 1 + 4

    class NoBias(torch.nn.Linear):
        def forward(self, x):
            return x @ self.weight.T + self.bias.detach()

    error = failure(torch.nn.Sequential(NoBias(3, 2)), normal(2, 3))
    assert "the gradient of parameter '0.bias' is wrong" in str(error)
    assert error.pattern == "all zero"


def test_frozen_parameters_are_constants():
    module = torch.nn.Linear(3, 2)
    module.weight.requires_grad_(False)
    report = ma.check_torch(module, constant(4, 3))
    assert [each.input for each in report.inputs] == [0]
    assert len(report.inputs) == 1


def test_inputs_that_require_none_leave_the_parameters():
    embedding = torch.nn.Embedding(4, 3)
    assert len(ma.check_torch(embedding, torch.tensor([0, 2, 2])).inputs) == 1
    sparse = torch.nn.Embedding(4, 3, sparse=True)
    assert len(ma.check_torch(sparse, torch.tensor([0, 2, 2])).inputs) == 1


def test_a_module_is_left_as_it_was():
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5))
    module.requires_grad_(True)
    module[0].bias.requires_grad_(False)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    ma.check_torch(module, normal(5, 3))
    assert module.training
    for name, value in module.state_dict().items():
        assert value.dtype == before[name].dtype, name
        assert torch.equal(value, before[name]), name
    assert [p.requires_grad for p in module.parameters()] == [True, False, True, True]
    assert all(p.grad is None for p in module.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_default_dtype() == torch.float32


def test_batch_norm_does_not_drift():
    # torch/nn#744: running statistics that each call moves.
    class Momentum(torch.nn.Module):
        """Depends on its buffer, which it changes."""

        def __init__(self, replace):
            super().__init__()
            self.replace = replace
            self.register_buffer("mean", torch.zeros(3))

        def forward(self, x):
            mean = 0.9 * self.mean + 0.1 * x.mean(0)
            if self.replace:
                self.mean = mean.detach()
            else:
                self.mean.copy_(mean.detach())
            return x - mean

    for module in (Momentum(True), Momentum(False), torch.nn.BatchNorm1d(3)):
        report = ma.check_torch(module, normal(4, 3))
        (note,) = report.notes
        assert re.match(r"changes buffers \((mean|running_mean, running_var, num_batches_tracked)\)", note)
    assert ma.check_torch(torch.nn.BatchNorm1d(3).eval(), normal(4, 3)).notes == ()


def test_what_a_module_keeps_of_a_call():
    class Caches(torch.nn.Linear):
        """Computes something from its weight, or from its input, in the first call only."""

        kept = None

        def __init__(self, source):
            super().__init__(2, 2, bias=False)
            self.source = source

        def forward(self, x):
            if self.kept is None:
                sources = {"weight": self.weight.sum(), "input": x.sum(), "shape": torch.tensor(x.shape[1])}
                self.kept = 2 * sources[self.source].detach()
            return super().forward(x) * self.kept

    for source in ("weight", "input"):
        error = failure(Caches(source), normal(3, 2))
        assert error.check == "not deterministic"
        assert "different for a module that was called before" in str(error)
    assert ma.check_torch(Caches("shape"), normal(3, 2)).compared > 0


def test_a_method_of_a_module():
    class Coder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor([[0.5, -1.0]]))

        def encode(self, x):
            return x @ self.weight.T

        def wrong(self, x):
            return x @ self.weight.detach().T

    coder = Coder()
    report = ma.check_torch(coder.encode, normal(3, 2))
    assert report.name.endswith("Coder.encode")
    assert len(report.inputs) == 2
    assert "parameter 'weight'" in str(failure(coder.wrong, normal(3, 2)))


@pytest.mark.parametrize("tied", [True, False])
def test_tied_parameters_are_one(tied):
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Linear(2, 2, bias=False)
            self.b = torch.nn.Linear(2, 2, bias=False)
            if tied:
                self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(torch.tanh(self.a(x)))

    assert len(ma.check_torch(Tied(), constant(2, 2)).inputs) == (1 if tied else 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.nn.LSTM(2, 2),
        lambda: torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(2, 3)).eval(),
        lambda: torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 3)),
        lambda: torch.nn.LayerNorm(2),
        lambda: torch.nn.PReLU(),
        lambda: scripted(torch.nn.Linear(2, 3)),
    ],
    ids=["LSTM", "spectral_norm", "weight_norm", "LayerNorm", "PReLU", "scripted"],
)
def test_modules_of_pytorch(make):
    torch.manual_seed(0)
    module = make()
    report = ma.check_torch(module, normal(3, 1, 2))
    assert report.compared > 0
    assert len(report.inputs) == 1 + len(list(module.parameters()))


def test_a_hook_of_a_parameter_is_not_left_out_silently():
    layer = torch.nn.Linear(3, 2)
    layer.weight.register_hook(lambda gradient: 2 * gradient)
    with pytest.raises(ma.MiniAlexError, match="parameter 'weight' has a hook"):
        ma.check_torch(layer, [normal(4, 3)])


def test_weights_that_a_hook_computes_can_be_copied():
    torch.manual_seed(0)
    with pytest.warns(FutureWarning):
        module = torch.nn.utils.weight_norm(torch.nn.Linear(2, 3))
    module(constant(1, 2).float())
    assert not module.weight.is_leaf
    assert len(ma.check_torch(module, normal(2, 2)).inputs) == 1 + 3


def test_modules_that_cannot_be_checked():
    with pytest.raises(MiniAlexError, match="parameter 'weight' has no shape yet: call the module once"):
        ma.check_torch(torch.nn.LazyLinear(2), normal(2, 3))
    with pytest.raises(MiniAlexError, match=r"parameter 'weight' is torch\.complex64: complex parameters"):
        ma.check_torch(torch.nn.Linear(2, 2, dtype=torch.complex64), normal(2, 2))

    class Uncopied(torch.nn.Linear):
        def __deepcopy__(self, memo):
            raise TypeError("not this one")

    with pytest.raises(MiniAlexError, match=r"cannot be copied \(TypeError: not this one\).*pass a function"):
        ma.check_torch(Uncopied(2, 2), normal(2, 2))
    with pytest.raises(MiniAlexError, match="is a class; pass an object of it"):
        ma.check_torch(torch.nn.Linear, normal(2, 2))


# dtype


def test_float32_is_converted():
    # [8649, 44662] "fails" in float32: the inputs are too coarse for the differences.
    seen = set()

    def pooled(x):
        seen.add(x.dtype)
        return torch.nn.functional.adaptive_avg_pool2d(x, (1, 2))

    x = normal(1, 2, 3, 4, dtype=torch.float32)
    report = ma.check_torch(pooled, x)
    assert (report.dtype, seen) == ("float64", {torch.float64})
    assert report.worst_error < 1e-9
    assert x.dtype == torch.float32
    seen.clear()
    for dtype in (np.float32, "float32", torch.float32):
        report = ma.check_torch(pooled, x, dtype=dtype)
        assert (report.dtype, report.weak, seen) == ("float32", True, {torch.float32})


def test_half_precision_inputs_and_constants_are_converted():
    x, w = normal(3, dtype=torch.bfloat16), constant(3).half()
    assert derivatives(ma.check_torch(torch.mul, [x, w])) == 9


def test_what_a_converted_function_creates_is_converted():
    def with_state(x):
        return torch.zeros(2, 3) @ x + torch.ones(2, 3) @ x

    assert ma.check_torch(with_state, normal(3, 2, dtype=torch.float32)).compared > 0
    # It was asked for in float64, in which it cannot be called: it is not repaired.
    error = failure(with_state, normal(3, 2))
    assert error.check == "raises"
    assert "raises RuntimeError" in str(error)


def test_a_function_of_float32_alone():
    def single(x):
        if x.dtype != torch.float32:
            raise RuntimeError("expected scalar type Float but found Double")
        return x**2

    error = failure(single, normal(3, dtype=torch.float32))
    assert "tensors were converted to float64: dtype='float32' checks it in the other" in str(error)
    assert ma.check_torch(single, normal(3, dtype=torch.float32), dtype="float32").weak


def test_a_result_in_another_dtype():
    error = failure(lambda x: (x.sin(), x.float()), normal(3))
    assert error.check == "dtype"
    assert "result[1] is float32 for inputs of float64" in str(error)
    assert failure(lambda x: x.bfloat16(), normal(3)).check == "dtype"


def test_float32_inside_is_found():
    class Single(Power):
        @staticmethod
        def backward(ctx, u):
            x = ctx.saved_tensors[0].float()
            return u * ctx.n * x ** (ctx.n - 1), None, None

    assert failure(Single, [normal(5), 3]).check == "values"


# Layouts


class SeesStrides(torch.autograd.Function):
    """x², noting the strides that it meets; wrong where asked to assume an order."""

    assume = None
    seen: ClassVar[set] = set()

    @classmethod
    def forward(cls, ctx, x):
        cls.seen.add(x.stride())
        ctx.save_for_backward(x)
        return (x**2).contiguous()

    @classmethod
    def backward(cls, ctx, u):
        (x,) = ctx.saved_tensors
        if cls.assume == "x":
            # A kernel that walks through memory, whatever the strides.
            memory = x.as_strided((x.numel(),), (1,), x.storage_offset())
            return 2 * u * memory.reshape(x.shape)
        if cls.assume == "u" and u.numel() and 0 not in u.stride():
            memory = u.as_strided((u.numel(),), (1,), u.storage_offset())
            return 2 * memory.reshape(u.shape) * x
        return 2 * u * x


LAYOUTS = {
    "contiguous": lambda: normal(2, 3, 4, 5),
    "channels_last": lambda: laid(normal(2, 3, 4, 5).to(memory_format=torch.channels_last)),
    "transposed": lambda: laid(normal(3, 4).T),
    "every second": lambda: laid(normal(3, 8)[:, ::2]),
    "expanded": lambda: laid(normal(1, 4).expand(3, 4)),
    "windows": lambda: laid(normal(6).unfold(0, 3, 1)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_keep_their_strides(layout):
    # [38586] elements that share memory cannot be moved by themselves: gradcheck fails on a right gradient.
    x = LAYOUTS[layout]()

    class Square(SeesStrides):
        seen: ClassVar[set] = set()

    report = ma.check_torch(Square, x)
    assert derivatives(report) == x.numel() ** 2
    assert x.stride() in Square.seen


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_backward_that_ignores_the_strides_of_its_input(layout):
    class Wrong(SeesStrides):
        assume = "x"

    # For contiguous inputs it is right; those are checked in other layouts, too.
    assert failure(Wrong, LAYOUTS[layout]()).check in ("values", "layout", "raises")


def test_a_backward_that_ignores_the_strides_of_the_upstream_gradient():
    class Wrong(SeesStrides):
        assume = "u"

    assert failure(Wrong, normal(3, 4)).check == "layout"


def test_a_forward_that_is_wrong_for_these_strides_alone():
    def function(x):
        # Right for what it computes, which is another function for channels_last.
        return x**2 if x.is_contiguous() else x**3

    x = LAYOUTS["channels_last"]()
    error = failure(function, x)
    assert error.check == "layout"
    assert "different for contiguous inputs than for inputs[0] as it came" in str(error)


def test_a_function_may_refuse_a_layout():
    def flat(x):
        return x.view(-1).sin()

    assert derivatives(ma.check_torch(flat, normal(3, 4))) == 144
    error = failure(flat, LAYOUTS["transposed"]())
    assert error.check == "raises"
    assert "view size is not compatible" in str(error)

    def only_channels_last(x):
        if not x.is_contiguous(memory_format=torch.channels_last):
            raise ValueError("channels_last, please")
        return x.sin()

    x = laid(normal(1, 2, 2, 3).to(memory_format=torch.channels_last))
    assert derivatives(ma.check_torch(only_channels_last, x)) == 144


def test_memory_between_the_elements_is_filled():
    values = constant(3, 2)
    strided = laid_out(values, (5, 2))
    assert torch.equal(strided, values)
    memory = strided.as_strided((13,), (1,))
    assert (memory == torch.finfo(torch.float64).max).sum() == 13 - 6
    assert laid_out(values, (0, 1)) is None
    assert laid_out(values[:1].expand(3, 2), (0, 1)).stride() == (0, 1)


# What is changed in place


class Doubled(torch.autograd.Function):
    """2 x, with something done in place on the way."""

    @staticmethod
    def forward(ctx, x, constant=None):
        ctx.save_for_backward(x)
        return 2 * x

    @staticmethod
    def backward(ctx, u):
        return 2 * u, None


def in_forward(ctx, x, constant=None):
    x.mul_(2)
    return x.clone()


def marked_dirty(ctx, x, constant=None):
    ctx.mark_dirty(x)
    return x.mul_(2)


def of_a_constant(ctx, x, constant):
    constant.add_(1)
    return 2 * x


def in_backward(ctx, u):
    (x,) = ctx.saved_tensors
    x.zero_()
    return 2 * u, None


def of_upstream(ctx, u):
    return u.mul_(2), None


@pytest.mark.parametrize(
    ("method", "change", "says"),
    [
        ("forward", in_forward, r"the function changes inputs\[0\] in place"),
        # [97332]
        ("forward", marked_dirty, "the function changes an input or a parameter in place"),
        ("forward", of_a_constant, r"the function changes inputs\[1\] in place"),
        ("backward", in_backward, r"backward changes inputs\[0\] in place"),
        ("backward", of_upstream, "backward changes the upstream gradient in place"),
    ],
    ids=["input", "mark_dirty", "constant", "saved", "upstream"],
)
def test_changes_in_place(method, change, says):
    made = type("Changing", (Doubled,), {method: staticmethod(change)})
    x, c = normal(3), constant(3)
    kept = x.detach().clone(), c.clone()
    error = failure(made, [x, c])
    assert error.check == "changed input"
    assert re.search(says, str(error))
    assert torch.equal(x, kept[0])
    assert torch.equal(c, kept[1])
    assert derivatives(ma.check_torch(Doubled, [x, c])) == 9


def test_an_in_place_activation():
    assert failure(lambda x: torch.relu_(x), normal(3)).check == "changed input"
    assert derivatives(ma.check_torch(lambda x: torch.relu_(x.clone()), normal(3))) == 9


@pytest.mark.parametrize("trained", [True, False])
def test_a_module_that_changes_its_parameter(trained):
    class Clips(torch.nn.Linear):
        def forward(self, x):
            self.weight.data.clamp_(-0.1, 0.1)
            return super().forward(x)

    module = Clips(3, 2)
    module.weight.requires_grad_(trained)
    error = failure(module, normal(2, 3))
    assert error.check == "changed input"
    assert "the function changes parameter 'weight' in place" in str(error)


def test_a_buffer_that_the_next_call_overwrites():
    kept = torch.zeros(3, dtype=torch.float64)

    class Reuses(Doubled):
        @staticmethod
        def backward(ctx, u):
            torch.mul(u, 2, out=kept)
            return kept, None

    assert failure(Reuses, [normal(3)]).check == "aliasing"


def test_gradients_that_are_one_tensor_are_no_fault():
    assert derivatives(ma.check_torch(torch.add, [normal(3), normal(3, seed=1)])) == 18
    assert derivatives(ma.check_torch(lambda x: x, normal(3))) == 9
    parts = [normal(2), normal(3)]
    assert derivatives(ma.check_torch(lambda a, b, c: torch.cat([a, b]) + c, [*parts, normal(5)])) == 50


# Random numbers


def test_dropout_repeats():
    # [114333]
    x = normal(4, 5)
    assert derivatives(ma.check_torch(torch.nn.Dropout(0.4), x)) == 400
    # A mask is drawn in the order of memory, so that it is different for other strides.
    assert derivatives(ma.check_torch(torch.nn.Dropout(0.4), laid(x.T))) == 400

    class Redrawn(torch.autograd.Function):
        """Drops with one mask forward, and with another one backward."""

        @staticmethod
        def forward(ctx, x):
            return x * (torch.rand_like(x) > 0.4)

        @staticmethod
        def backward(ctx, u):
            return u * (torch.rand_like(u) > 0.4)

    assert failure(Redrawn, x).check in ("values", "layout")


def test_random_numbers_of_others_are_told():
    generator = np.random.default_rng(0)
    error = failure(lambda x: x * float(generator.standard_normal()), normal(3))
    assert error.check == "not deterministic"


def test_the_callers_state_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    with torch.no_grad():
        ma.check_torch(torch.nn.Dropout(0.5), normal(3))
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.rand(4), expected)
    with torch.inference_mode():
        assert derivatives(ma.check_torch(torch.sin, normal(3))) == 9


# The second order


def test_second_order():
    x = normal(3, 2)
    report = ma.check_torch(torch.tanh, x, order=2)
    assert report.name == "gradient of tanh"
    # The derivatives of 6 gradients by 6 inputs and 6 upstream gradients.
    assert derivatives(report) == 6 * (6 + 6)
    assert re.match(r"first order: \d+ derivatives agree to", report.notes[-1])
    assert derivatives(ma.check_torch(Power, [x, 3], order=2)) == 72
    assert ma.check_torch(torch.nn.Linear(2, 2), x, order=2).compared > 0


def test_second_order_checks_the_first():
    assert failure(WrongPower, [normal(3), 3], order=2).operation == "WrongPower"


def test_intermediates_on_ctx_are_wrong_in_second_order():
    # [58509, 76185] what is saved on ctx is a constant to PyTorch; gradgradcheck has to see it.
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.doubled = 2 * x
            return x**2

        @staticmethod
        def backward(ctx, u):
            return ctx.doubled * u

    x = normal(3)
    assert derivatives(ma.check_torch(Square, x)) == 9
    error = failure(Square, x, order=2)
    assert (error.check, error.pattern) == ("values", "all zero")
    assert "gradient of" in error.operation
    assert "the gradient of inputs[0] is wrong" in str(error)


def test_a_wrong_second_gradient():
    class WrongTwice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, u):
            ctx.save_for_backward(x, u)
            return 2 * x * u

        @staticmethod
        def backward(ctx, v):
            x, u = ctx.saved_tensors
            return 2 * u * v, 2.002 * x * v

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        def backward(ctx, u):
            return WrongTwice.apply(ctx.saved_tensors[0], u)

    assert derivatives(ma.check_torch(Square, normal(3))) == 9
    error = failure(Square, normal(3), order=2)
    assert "the gradient of the upstream gradient of result is wrong" in str(error)
    assert error.pattern == "a constant factor of 1.001"


def test_backwards_that_cannot_be_differentiated():
    class Once(Power):
        @staticmethod
        @once_differentiable
        def backward(ctx, u):
            x, _ = ctx.saved_tensors
            return u * ctx.n * x ** (ctx.n - 1), None, None

    class Detached(Power):
        @staticmethod
        def backward(ctx, u):
            return Power.backward(ctx, u)[0].detach(), None, None

    for made, says in ((Once, "@once_differentiable"), (Detached, "is not part of the graph")):
        assert derivatives(ma.check_torch(made, [normal(3), 3])) == 9
        error = failure(made, [normal(3), 3], order=2)
        assert error.check == "result"
        assert says in str(error)
        assert "leave out order=2" in str(error)

    def nested(x):
        return torch.sin(Once.apply(torch.exp(x), 2))

    assert "@once_differentiable" in str(failure(nested, normal(3), order=2))

    class NoSecond(torch.autograd.Function):
        """Its backward calls what has no derivative in turn."""

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        def backward(ctx, u):
            return Raising.apply(ctx.saved_tensors[0], u)

    class Raising(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, u):
            return 2 * x * u

        @staticmethod
        def backward(ctx, v):
            raise NotImplementedError("no third kernel")

    error = failure(NoSecond, normal(3), order=2)
    assert error.check == "raises"
    assert "differentiating its gradient raises NotImplementedError: no third kernel" in str(error)


def test_second_order_with_an_input_that_is_not_used():
    # [57649]
    assert ma.check_torch(lambda x, y: x**3, [normal(3), normal(2)], order=2).compared > 0


# What is refused


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda x: x.sum().item(), "what it returns is .*: return floating-point tensors"),
        (lambda x: (x, x.detach().numpy()), r"result\[1\] is an array of float64 and shape \(3,\): return"),
        (lambda x: None, "what it returns is None"),
        (lambda x: x.argmax(), "what it returns is int64"),
        (lambda x: (x.argmax(), None), "returns no floating-point tensor"),
        (lambda x: x.detach() ** 2, "nothing that it returns is part of the graph"),
        (lambda x: torch.tensor(x.tolist()).double(), "nothing that it returns is part of the graph"),
        (lambda x: torch.no_grad()(torch.sin)(x), "nothing that it returns is part of the graph"),
        (lambda x: torch.complex(x, x), "what it returns is torch.complex128: return real"),
        (lambda x: x.to_sparse(), "what it returns is not dense: return y.to_dense"),
    ],
    ids=["item", "array", "None", "argmax", "integers", "detached", "tolist", "no_grad", "complex", "sparse"],
)
def test_results_that_cannot_be_checked(function, says):
    error = failure(function, normal(3))
    assert error.check == "result"
    assert re.search(says, str(error))


def test_a_number_of_results_that_changes():
    calls = []

    def function(x):
        calls.append(0)
        return (x, x) if len(calls) == 1 else (x, x, x)

    with pytest.raises(
        (ma.GradcheckError, ValueError), match="returns 3 results here, and 2 in the first call"
    ):
        ma.check_torch(function, normal(3))


@pytest.mark.parametrize(
    ("inputs", "options", "says"),
    [
        # [9192] with nothing that requires a gradient nothing was tested.
        ([constant(3)], {}, "there is nothing to differentiate.*requires_grad_"),
        ([np.ones(3)], {}, "pass tensors instead of arrays"),
        ([normal(3).to(torch.complex128)], {}, r"inputs\[0\] is torch.complex128: complex inputs cannot"),
        ([laid(constant(3, 3).to_sparse())], {}, r"inputs\[0\] is sparse_coo: only dense tensors"),
        ([laid(torch.empty(3, device="meta"))], {}, r"inputs\[0\] is on the device meta"),
        (7, {}, "inputs must be a tensor, or a list.*, not 7"),
        ([normal(3)], {"kwargs": [1]}, r"kwargs must be a dict.*, not \[1\]"),
        ([normal(3)], {"order": 3}, "order must be 1.*, not 3"),
        ([normal(3)], {"order": True}, "order must be 1.*, not True"),
        ([normal(3)], {"wrt": [0]}, "wrt is not an option of check_torch: requires_grad says"),
        ([normal(3)], {"branches": len}, "branches is not an option of check_torch"),
        ([normal(3)], {"method": "complex"}, 'method="complex" is not for check_torch'),
        ([normal(3)], {"dtype": torch.float16}, "dtype=float16 cannot be checked"),
        ([normal(3)], {"seed": -1}, "seed must be an integer 0 or more, not -1"),
        ([normal(3)], {"mode": "full"}, "mode must be .*, not 'full'"),
    ],
    ids=lambda value: None if isinstance(value, list) else str(value)[:20],
)
def test_arguments_that_cannot_be_checked(inputs, options, says):
    with pytest.raises(MiniAlexError, match=says) as caught:
        ma.check_torch(torch.sin, inputs, **options)
    assert not isinstance(caught.value, ma.GradcheckError)


def test_a_function_must_be_callable():
    with pytest.raises(MiniAlexError, match="function must be a function, not 3"):
        ma.check_torch(3, normal(3))


def test_a_subclass_of_tensor_is_refused():
    class Labelled(torch.Tensor):
        pass

    with pytest.raises(MiniAlexError, match="is a Labelled: of a tensor that is not plain"):
        ma.check_torch(torch.sin, laid(constant(3).as_subclass(Labelled)))


def test_constants_may_be_sparse_or_complex():
    adjacency = torch.eye(3).to_sparse()
    assert ma.check_torch(lambda a, x: torch.sparse.mm(a, x), [adjacency, normal(3, 2)]).compared > 0
    phase = torch.exp(1j * torch.arange(3.0))
    assert ma.check_torch(lambda x, p: torch.view_as_real(x * p), [normal(3), phase]).compared > 0


def test_functions_that_raise():
    def raises(x):
        raise ValueError("three is\n  too many")

    error = failure(raises, normal(3))
    assert error.check == "raises"
    assert "the function raises ValueError: three is too many" in str(error)
    assert isinstance(error.__cause__, ValueError)

    class Two(Doubled):
        @staticmethod
        def backward(ctx, u):
            return 2 * u

    # [13540] a backward with too few gradients.
    error = failure(Two, [normal(3), None])
    assert error.check == "raises"
    assert "backward raises RuntimeError" in str(error)
    assert "incorrect number of gradients" in str(error)


# Options, reports and messages


def test_options_are_passed_on():
    x = normal(6)
    report = ma.check_torch(torch.sin, x, mode="directions", directions=3, seed=4)
    assert (report.mode, report.directions, report.seed) == ("directions", 3, 4)


def test_nothing_compared_is_no_pass():
    for function, x in ((lambda x: x.sum(0), torch.zeros(0, 3)), (lambda x: 0 * x + 1, torch.ones(2))):
        x.requires_grad_()
        assert failure(function, x).check == "nothing compared"
        assert ma.check_torch(function, x, min_compared=0).compared == 0


def test_constraints_are_given_for_each_argument():
    a = constant(3, 3)
    a = laid(a @ a.T + torch.eye(3))
    a = laid((a + a.T) / 2)

    def factor(n, a, scale):
        return n * torch.linalg.cholesky(a) * scale

    inputs = [2, a, laid(torch.tensor(1e-3))]
    given = [None, constraints.positive_definite, constraints.positive]
    for order in (1, 2):
        assert ma.check_torch(factor, inputs, constraints=given, order=order).compared > 0
    error = failure(lambda n, a, scale: factor(n, a, scale.detach()), inputs, constraints=given)
    assert "the gradient of inputs[2] is wrong along move 0 of positive" in str(error)
    with pytest.raises(MiniAlexError, match="must be a list with one for each of the 3 arguments"):
        ma.check_torch(factor, inputs, constraints=given[:2])
    with pytest.raises(MiniAlexError, match=r"^inputs\[1\] is not in positive"):
        ma.check_torch(lambda n, x: n * x, [2, laid(-a)], constraints=[None, constraints.positive])


def test_constraints_leave_parameters_free():
    module = torch.nn.Linear(2, 2)
    x = laid(torch.tensor([[0.5, 2.0]]))
    assert ma.check_torch(module, x, constraints=[constraints.positive]).compared > 0


def test_redraw_gives_other_inputs():
    # A plateau: all of its derivatives lie at kinks where the elements are 0.
    def redraw(generator):
        return [torch.tensor(1 + generator.random(3), requires_grad=True), 2]

    x = laid(torch.zeros(3, dtype=torch.float64))
    report = ma.check_torch(lambda x, n: n * x.abs(), [x, 2], redraw=redraw)
    assert report.redrawn == 1
    with pytest.raises(MiniAlexError, match="redraw must give as many arrays"):
        ma.check_torch(lambda x, n: n * x.abs(), [x, 2], redraw=lambda g: [normal(4), 2])


def run_lines(text, **names):
    """Run the lines of an error, with `function` defined."""
    lines = text.splitlines()
    exec("\n".join(lines), {**names})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_lines_of_a_failure_repeat_it(layout):
    x = LAYOUTS[layout]()
    error = failure(WrongPower, [x, 3, None], seed=2)
    with pytest.raises(ma.GradcheckError) as again:
        run_lines(error.reproduce, function=WrongPower)
    assert again.value.index == error.index
    assert (again.value.analytic, again.value.numeric) == (error.analytic, error.numeric)
    assert f"{tuple(x.stride())}" in error.reproduce or x.is_contiguous()


def test_the_lines_of_a_failing_module_and_of_nests():
    class Wrong(torch.nn.BatchNorm1d):
        def forward(self, x, options, *, mask):
            return super().forward(x) * self.weight.detach() * mask * options["scale"][0]

    torch.manual_seed(0)
    module = Wrong(3)
    torch.nn.init.normal_(module.weight)
    arguments = [normal(4, 3), {"scale": (normal(1), "a")}]
    error = failure(module, arguments, kwargs={"mask": torch.tensor([True, False, True])}, order=2)
    assert "order=2" in error.reproduce
    # Another module of the class, in the dtype of the lines.
    with pytest.raises(ma.GradcheckError) as again:
        run_lines(error.reproduce, function=Wrong(3).double())
    assert again.value.summary == error.summary
    assert (again.value.analytic, again.value.numeric) == (error.analytic, error.numeric)


def test_an_error_can_be_pickled():
    error = failure(WrongPower, [normal(3), 3])
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.names == ("inputs[0]",)


def test_the_fixture(gradcheck):
    assert derivatives(gradcheck.torch(torch.sin, [normal(3)])) == 9
    with pytest.raises(ma.GradcheckError):
        gradcheck.torch(WrongPower, [normal(3), 3])


def test_tensors_stay_on_their_device():
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no GPU")
    seen = set()

    def function(x, n, w):
        seen.update({x.device.type, n.device.type, w.device.type})
        return (x * w).sum(0)[n] + torch.rand(1, device=x.device, dtype=x.dtype)

    x, n, w = laid(normal(3, 2).cuda()), torch.tensor([0, 1]).cuda(), constant(3, 2).cuda()
    assert ma.check_torch(function, [x, n, w], order=2).compared > 0
    assert seen == {"cuda"}
    assert failure(WrongPower, [x, 3]).check == "values"
