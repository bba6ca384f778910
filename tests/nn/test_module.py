"""`Module`: what it registers, in which order, and what is done to all of it."""

import math

import numpy as np
import pytest

import minialex as ma
from minialex import functional as F
from minialex import nn
from minialex.errors import ModelError


class Scale(nn.Module):
    """A parameter, a buffer and a plain attribute, so that all three kinds are told apart."""

    def __init__(self, features):
        super().__init__()
        self.factor = nn.Parameter(np.full(features, 2.0, np.float32))
        self.register_buffer("seen", np.zeros(1, np.float32))
        self.note = "plain"

    def forward(self, x):
        return x * self.factor


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.inner = nn.Sequential(nn.BatchNorm2d(4), Scale(4))
        self.own = nn.Parameter(np.zeros(1, np.float32))

    def forward(self, x):
        return self.inner(self.first(x)) + self.own


def test_names_in_order_of_registration_own_ones_first():
    network = Nested()
    assert [name for name, _ in network.named_parameters()] == [
        "own",
        "first.weight",
        "first.bias",
        "inner.0.weight",
        "inner.0.bias",
        "inner.1.factor",
    ]
    assert [name for name, _ in network.named_buffers()] == [
        "inner.0.running_mean",
        "inner.0.running_var",
        "inner.1.seen",
    ]
    assert [name for name, _ in network.named_modules()] == ["", "first", "inner", "inner.0", "inner.1"]
    assert [name for name, _ in network.named_children()] == ["first", "inner"]


def test_iterators_without_names_give_the_same_objects():
    network = Nested()
    assert [id(p) for p in network.parameters()] == [id(p) for _, p in network.named_parameters()]
    assert [id(b) for b in network.buffers()] == [id(b) for _, b in network.named_buffers()]
    assert list(network.modules()) == [module for _, module in network.named_modules()]
    assert list(network.children()) == [network.first, network.inner]


def test_a_parameter_requires_a_gradient_and_a_plain_tensor_is_not_registered():
    module = nn.Module()
    module.weight = nn.Parameter(np.ones(2, np.float32))
    module.constant = ma.tensor([1.0, 2.0])
    assert module.weight.requires_grad
    assert [name for name, _ in module.named_parameters()] == ["weight"]
    assert module.constant.shape == (2,)


def test_an_attribute_set_again_replaces_the_registered_one():
    scale, other = Scale(2), nn.Parameter(np.zeros(5, np.float32))
    scale.factor = other
    scale.seen = np.ones(3, np.float32)
    assert [p is other for p in scale.parameters()] == [True]
    assert [b.shape for b in scale.buffers()] == [(3,)]


@pytest.mark.parametrize("mode", ["no", math.nan, None, 1])
def test_a_mode_that_is_no_flag_is_refused(mode):
    layer = nn.ReLU()
    with pytest.raises(ModelError, match="mode must be True or False, not"):
        layer.train(mode)
    assert layer.training is True
    assert layer.train(np.False_).training is False


@pytest.mark.parametrize("value", [5, ma.tensor([1.0, 2.0, 3.0]), nn.ReLU()])
def test_what_is_no_parameter_cannot_take_the_place_of_one(value):
    """Else `layer.bias` and what an optimiser gets from `parameters()` would be two things."""
    layer = nn.Linear(2, 3)
    with pytest.raises((TypeError, ma.MiniAlexError), match="bias"):
        layer.bias = value


def test_none_takes_a_parameter_out():
    layer = nn.Linear(2, 3)
    layer.bias = None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    assert layer(ma.tensor([[1.0, 1.0]])).shape == (1, 3)


def test_an_unknown_attribute_is_an_error_with_both_names():
    with pytest.raises(AttributeError, match="Linear has no attribute 'wieght'"):
        _ = nn.Linear(2, 2).wieght


@pytest.mark.parametrize("value", [nn.Parameter(np.zeros(1, np.float32)), nn.ReLU()])
def test_assigning_before_init_says_what_is_missing(value):
    class Forgetful(nn.Module):
        def __init__(self):
            self.thing = value

    with pytest.raises(
        AttributeError, match=r"Forgetful: call super\(\)\.__init__\(\) before assigning 'thing'"
    ):
        Forgetful()


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Module must define forward"):
        nn.Module()(ma.tensor([1.0]))


def test_a_module_is_called_with_keywords_as_its_forward_is():
    class Scaled(nn.Module):
        def forward(self, x, *, factor):
            return x * factor

    assert Scaled()(x=ma.tensor([2.0]), factor=3).item() == 6
    assert Scaled()(ma.tensor([2.0]), factor=4).item() == 8


@pytest.mark.parametrize(
    "held", [lambda layer: [layer], lambda layer: {"first": layer}, lambda layer: [layer.weight]]
)
@pytest.mark.parametrize(
    "ask", [lambda m: list(m.parameters()), lambda m: m.state_dict(), lambda m: m.zero_grad()]
)
def test_layers_that_only_a_list_or_a_dictionary_holds_are_not_forgotten_in_silence(held, ask):
    class Layers(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(2, 1)
            self.layers = held(nn.Linear(2, 2))

    with pytest.raises(
        TypeError, match=r"^Layers\.layers holds a (Linear|Parameter) that would not be trained"
    ):
        ask(nn.Sequential(Layers()))


def test_a_list_of_registered_layers_and_a_tuple_that_hides_them_are_allowed():
    class Layers(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(2, 2), nn.Linear(2, 1)
            self.order = [self.last, self.first]
            self.weights = {"last": self.last.weight}
            self.teacher = (nn.Linear(2, 1),)
            self.numbers = [1, 2]

    names = [name for name, _ in Layers().named_parameters()]
    assert names == ["first.weight", "first.bias", "last.weight", "last.bias"]


def test_train_and_eval_reach_every_level():
    network = Nested()
    assert all(module.training for module in network.modules())
    assert network.eval() is network
    assert not any(module.training for module in network.modules())
    network.inner.train()
    assert [module.training for module in network.modules()] == [False, False, True, True, True]


def test_apply_visits_leaves_first_and_the_module_last():
    network, visited = Nested(), []
    assert network.apply(visited.append) is network
    assert visited == [network.first, network.inner[0], network.inner[1], network.inner, network]


def test_zero_grad_forgets_all_gradients():
    network = Nested().eval()
    network(ma.tensor(np.ones((2, 3), np.float32))).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.zero_grad()
    assert all(parameter.grad is None for parameter in network.parameters())


def test_frozen_parameters_receive_no_gradient_and_the_others_do():
    network = Nested().eval()
    assert network.first.requires_grad_(False) is network.first
    network(ma.tensor(np.ones((2, 3), np.float32))).sum().backward()
    received = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert received == {"own", "inner.0.weight", "inner.0.bias", "inner.1.factor"}
    network.requires_grad_(True)
    assert all(parameter.requires_grad for parameter in network.parameters())


def _kernels_run(monkeypatch, network):
    """The convolution kernels that a backward pass from images, which need no gradient, runs."""
    from minialex import kernels

    ran, run = [], kernels.run

    def recorded(operation, *args, **parameters):
        ran.append(operation)
        return run(operation, *args, **parameters)

    y = network(ma.tensor(np.ones((1, 2, 5, 5), np.float32)))
    with monkeypatch.context() as patched:
        patched.setattr(kernels, "run", recorded)
        F.flatten(y).sum().backward()
    return [name for name in ran if name.startswith("conv2d.")]


def test_the_images_gradient_is_not_computed(monkeypatch):
    """In AlexNet the input gradient of conv1 would cost as much as its forward pass, for nothing."""
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3))
    expected = ["conv2d.input_grad", "conv2d.weight_grad", "conv2d.weight_grad"]
    assert sorted(_kernels_run(monkeypatch, network)) == expected


def test_a_frozen_first_layer_costs_no_backward_pass(monkeypatch):
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3))
    network[0].requires_grad_(False)
    assert _kernels_run(monkeypatch, network) == ["conv2d.weight_grad"]


def test_astype_converts_parameters_and_buffers_in_place():
    network = Nested()
    parameters = list(network.parameters())
    network.eval()(ma.tensor(np.ones((2, 3), np.float32))).sum().backward()
    assert network.astype(np.float64) is network
    assert all(now is before for now, before in zip(network.parameters(), parameters, strict=True))
    assert {p.dtype for p in network.parameters()} == {np.dtype(np.float64)}
    assert {b.dtype for b in network.buffers()} == {np.dtype(np.float64)}
    assert all(p.grad is None for p in network.parameters()), "a gradient of another dtype is of no use"
    assert network(ma.Tensor(np.ones((2, 3)))).dtype == np.float64


def test_repr_shows_the_tree():
    network = nn.Sequential(
        {
            "conv1": nn.Conv2d(3, 4, 5, stride=2, padding="same", groups=1, bias=False),
            "head": nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.25)),
        }
    )
    assert repr(network) == (
        "Sequential(\n"
        "  (conv1): Conv2d(3, 4, kernel_size=(5, 5), stride=2, padding='same', bias=False)\n"
        "  (head): Sequential(\n"
        "    (0): Linear(4, 2)\n"
        "    (1): Dropout(p=0.25)\n"
        "  )\n"
        ")"
    )


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.ReLU(), "ReLU()"),
        (nn.MaxPool2d(3, 2), "MaxPool2d(3, stride=2, padding=0)"),
        (nn.AvgPool2d(2), "AvgPool2d(2, stride=2, padding=0)"),
        (nn.BatchNorm2d(7), "BatchNorm2d(7, eps=1e-05, momentum=0.1)"),
        (nn.BatchNorm2d(7, axis=2), "BatchNorm2d(7, eps=1e-05, momentum=0.1, axis=2)"),
        (nn.Linear(2, 3, bias=False), "Linear(2, 3, bias=False)"),
        (nn.LocalResponseNorm(3, 0.5), "LocalResponseNorm(3, alpha=0.5, beta=0.75, k=2.0, alpha_mode='sum')"),
    ],
)
def test_repr_of_a_layer(layer, text):
    assert repr(layer) == text


# What PyTorch's hands expect besides


def test_parts_are_found_by_their_dotted_names():
    network = Nested()
    assert network.get_submodule("") is network
    assert network.get_submodule("inner.1") is network.inner[1]
    assert network.get_parameter("inner.1.factor") is network.inner[1].factor
    assert network.get_buffer("inner.1.seen") is network.inner[1].seen


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda m: m.get_submodule("inner.7"), "Nested has no module 'inner.7'"),
        (lambda m: m.get_submodule("first.weight"), "Nested has no module 'first.weight'"),
        (lambda m: m.get_submodule("own.data"), "Nested has no module 'own.data'"),
        (lambda m: m.get_parameter("first"), "Nested has no parameter 'first'"),
        (lambda m: m.get_buffer("inner.1.factor"), "Nested has no buffer 'inner.1.factor'"),
    ],
)
def test_a_part_that_is_not_there_is_an_attribute_error(ask, message):
    with pytest.raises(AttributeError, match=message):
        ask(Nested())


def test_its_own_parameters_and_buffers_only():
    network = Nested()
    assert [name for name, _ in network.named_parameters(recurse=False)] == ["own"]
    assert list(network.parameters(recurse=False)) == [network.own]
    assert list(network.buffers(recurse=False)) == []
    assert [name for name, _ in network.inner[1].named_buffers("x", recurse=False)] == ["x.seen"]
    assert [name for name, _ in network.first.named_parameters("first")] == ["first.weight", "first.bias"]


def test_a_shared_module_is_visited_once():
    act = nn.ReLU()
    network = nn.Sequential(act, nn.Sequential(act), act)
    assert [name for name, _ in network.named_modules()] == ["", "0", "1"]
    assert [name for name, _ in network.named_modules(remove_duplicate=False)] == ["", "0", "1", "1.0", "2"]
    assert list(network.children()) == [act, network[1]]
    assert len(network) == 3


def test_gradients_are_set_to_zero_in_their_memory():
    network = Nested().eval()
    network(ma.tensor(np.ones((2, 3), np.float32))).sum().backward()
    before = [parameter.grad.data for parameter in network.parameters()]
    network.zero_grad(set_to_none=False)
    for parameter, memory in zip(network.parameters(), before, strict=True):
        assert parameter.grad.data is memory
        assert not memory.any()


def test_a_module_is_added_by_name():
    network = nn.Module()
    network.add_module("act", nn.ReLU())
    network.add_module("none", None)
    assert isinstance(network.act, nn.ReLU)
    assert [name for name, _ in network.named_modules()] == ["", "act"]
    assert "act" in repr(network)


@pytest.mark.parametrize(
    ("name", "module", "error", "message"),
    [
        ("a", 3, TypeError, "module a must be a Module or None, not int"),
        ("a.b", nn.ReLU(), KeyError, "name must be a word without a dot, not 'a.b'"),
        ("", nn.ReLU(), KeyError, "name must be a word without a dot, not ''"),
        ("forward", nn.ReLU(), KeyError, "name must be a new one, not 'forward', an attribute of Module"),
    ],
)
def test_what_cannot_be_added_is_refused(name, module, error, message):
    with pytest.raises(error, match=message):
        nn.Module().add_module(name, module)


def test_attributes_are_deleted():
    network = Nested()
    del network.own, network.first, network.inner[1].seen, network.training
    assert [name for name, _ in network.named_modules()] == ["", "inner", "inner.0", "inner.1"]
    assert "own" not in dict(network.named_parameters())
    assert "inner.1.seen" not in dict(network.named_buffers())
    with pytest.raises(AttributeError):
        _ = network.first


def test_a_parameter_of_a_tensor_has_its_memory_and_device():
    t = ma.tensor([1.0, 2.0])
    parameter = nn.Parameter(t)
    assert parameter.data is t.data
    assert parameter.requires_grad
    assert nn.Parameter(parameter * 2, requires_grad=False).tolist() == [2, 4]


def test_only_parameters_are_registered_as_such():
    with pytest.raises(TypeError, match="parameter w must be a Parameter or None, not"):
        nn.Module().register_parameter("w", ma.tensor([1.0]))
