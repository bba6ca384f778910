"""Hooks of modules: what they get, what they change, and when they are called no more.

That values and order are PyTorch's is a test of tests/oracles.
"""

import copy

import numpy as np
import pytest

import minialex as ma
from minialex import nn
from minialex.errors import GraphError


class Two(nn.Module):
    """Two outputs from two inputs, and a number that is no tensor."""

    def forward(self, x, scale, y, *, shift=0.0):
        return x * scale + shift, y * x


def test_a_pre_hook_sees_the_module_and_its_arguments_and_may_replace_them():
    layer, seen = nn.ReLU(), []

    def hook(module, args):
        seen.append((module, args))
        return (args[0] + 1,)

    handle = layer.register_forward_pre_hook(hook)
    x = ma.tensor([-3.0, 2.0])
    assert layer(x).tolist() == [0, 3]
    assert seen[0][0] is layer
    assert seen[0][1][0] is x
    handle.remove()
    assert layer(x).tolist() == [0, 2]


def test_a_forward_hook_may_replace_the_output_and_a_none_leaves_it():
    layer = nn.ReLU()
    layer.register_forward_hook(lambda module, args, output: None)
    with layer.register_forward_hook(lambda module, args, output: output * 2):
        assert layer(ma.tensor([3.0])).item() == 6
    assert layer(ma.tensor([3.0])).item() == 3


def test_hooks_are_called_in_order_and_prepended_ones_first():
    layer, order = nn.ReLU(), []
    for name in "abc":
        layer.register_forward_hook(lambda m, a, o, name=name: order.append(name), prepend=name == "c")
        layer.register_forward_pre_hook(lambda m, a, name=name: order.append(name.upper()))
    layer(ma.tensor([1.0]))
    assert "".join(order) == "ABCcab"


def test_hooks_with_kwargs():
    module = Two()
    module.register_forward_pre_hook(lambda m, a, k: (a, {"shift": k["shift"] + 1}), with_kwargs=True)
    seen = []
    module.register_forward_hook(lambda m, a, k, o: seen.append(k), with_kwargs=True)
    assert module(ma.tensor([1.0]), 2.0, ma.tensor([5.0]), shift=3.0)[0].item() == 6
    assert seen == [{"shift": 4.0}]


def test_a_pre_hook_with_kwargs_that_returns_something_else_is_refused():
    module = nn.ReLU()
    module.register_forward_pre_hook(lambda m, a, k: a, with_kwargs=True)
    with pytest.raises(TypeError, match=r"must be None or \(args, kwargs\)"):
        module(ma.tensor([1.0]))


def test_a_backward_hook_gets_a_place_for_each_argument_and_output():
    module, seen = Two(), []
    module.register_full_backward_hook(lambda m, i, o: seen.append((m, i, o)))
    x, y = ma.tensor([3.0], requires_grad=True), ma.tensor([5.0])
    first, second = module(x, 2.0, y)
    (first + second * 10).sum().backward()
    ((hooked, grad_input, grad_output),) = seen
    assert hooked is module
    assert [None if g is None else g.item() for g in grad_input] == [52, None, None]
    assert [g.item() for g in grad_output] == [1, 10]
    assert x.grad.item() == 52


def test_a_backward_hook_changes_what_flows_on_and_not_the_weights():
    layer = nn.Linear(1, 1)
    layer.register_full_backward_hook(lambda m, i, o: (i[0] * 100,))
    x = ma.tensor([[3.0]], requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.item() == pytest.approx(100 * layer.weight.item())
    assert layer.weight.grad.item() == 3


def test_images_that_need_no_gradient_give_none():
    layer, seen = nn.Linear(2, 1), []
    layer.register_full_backward_hook(lambda m, i, o: seen.append((i, o[0].tolist())))
    layer(ma.ones(1, 2)).sum().backward()
    assert seen == [((None,), [[1.0]])]


def test_a_backward_hook_that_returns_too_few_is_refused():
    module = Two()
    module.register_full_backward_hook(lambda m, i, o: (i[0],))
    first, _ = module(ma.tensor([3.0], requires_grad=True), 2.0, ma.tensor([5.0]))
    with pytest.raises(GraphError, match="must be 3 gradients, one for each argument, not 1"):
        first.backward()


def test_a_backward_hook_cannot_make_gradients_that_nobody_asked_for():
    layer = nn.Linear(2, 1)
    layer.register_full_backward_hook(lambda m, i, o: i)
    with pytest.raises(GraphError, match="must return None where no input of its module requires a gradient"):
        layer(ma.ones(1, 2)).sum().backward()


def test_second_derivatives_go_through_hooked_modules():
    module, seen = nn.Sequential(nn.Tanh()), []
    module.register_full_backward_hook(lambda m, i, o: seen.append(i))
    x = ma.tensor([0.3], dtype=ma.float64, requires_grad=True)
    (slope,) = ma.grad(module(x).sum(), x, create_graph=True)
    (curvature,) = ma.grad(slope.sum(), x)
    t = np.tanh(0.3)
    assert curvature.item() == pytest.approx(-2 * t * (1 - t * t), rel=1e-12)
    assert seen


def test_nothing_is_recorded_under_no_grad():
    layer, seen = nn.Linear(2, 1), []
    layer.register_full_backward_hook(lambda m, i, o: seen.append(i))
    with ma.no_grad():
        assert not layer(ma.ones(1, 2)).requires_grad
    assert not seen


def test_a_copy_has_hooks_of_its_own():
    layer, seen = nn.ReLU(), []
    layer.register_forward_hook(lambda m, a, o: seen.append(m))
    copied = copy.deepcopy(layer)
    copied.register_forward_hook(lambda m, a, o: seen.append("copy"))
    copied(ma.tensor([1.0]))
    layer(ma.tensor([1.0]))
    assert seen == [copied, "copy", layer]


@pytest.mark.parametrize(
    "register", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"]
)
def test_what_cannot_be_called_is_no_hook(register):
    with pytest.raises(TypeError, match="hook must be a function, not int"):
        getattr(nn.ReLU(), register)(3)


def test_a_pre_hook_may_make_a_tensor_of_an_array():
    layer = nn.ReLU()
    layer.register_forward_pre_hook(lambda m, a: ma.Tensor(a[0]))
    assert layer(np.array([-1.0, 2.0])).tolist() == [0, 2]
