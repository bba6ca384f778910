"""Modules in another dtype or on another device, copied, pickled, and with tensors as buffers."""

import copy
import pickle

import numpy as np
import pytest

import minialex as ma
from minialex import nn
from minialex.errors import CheckpointError, DeviceError


class Normalised(nn.Module):
    """A parameter, a tensor and integers as buffers, and what is not saved."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(ma.ones(3))
        self.register_buffer("mean", ma.tensor([1.0, 2.0, 3.0]))
        self.register_buffer("order", np.array([2, 0, 1]))
        self.register_buffer("cache", np.zeros(2, np.float32), persistent=False)
        self.register_buffer("nothing", None)

    def forward(self, x):
        return ((x - self.mean) * self.factor)[:, self.order]


@pytest.mark.parametrize(
    ("convert", "dtype"),
    [
        (lambda m: m.double(), np.float64),
        (lambda m: m.to(ma.float64), np.float64),
        (lambda m: m.to("float64"), np.float64),
        (lambda m: m.to(dtype=np.float64), np.float64),
        (lambda m: m.to("cpu", dtype=np.float64), np.float64),
        (lambda m: m.to(ma.zeros(1, dtype=ma.float64)), np.float64),
        (lambda m: m.double().float(), np.float32),
        (lambda m: m.to("cpu"), np.float32),
        (lambda m: m.cpu(), np.float32),
    ],
)
def test_floats_are_converted_in_place_and_integers_stay(convert, dtype):
    module = Normalised()
    kept = module.factor, module.mean
    assert convert(module) is module
    assert (module.factor, module.mean) == kept or all(
        a is b for a, b in zip(kept, (module.factor, module.mean), strict=True)
    )
    assert module.factor.dtype == module.mean.dtype == module.cache.dtype == dtype
    assert module.order.dtype == np.int64
    x = np.arange(6.0).reshape(2, 3)
    expected = (x - [1, 2, 3])[:, [2, 0, 1]]
    np.testing.assert_array_equal(module(ma.tensor(x, dtype=dtype)).detach().numpy(), expected)


@pytest.mark.parametrize("convert", [lambda m: m.half(), lambda m: m.to("float16"), lambda m: m.to(np.int64)])
def test_other_dtypes_are_refused(convert):
    with pytest.raises(TypeError, match="dtype must be float32 or float64, not"):
        convert(nn.Linear(2, 2))


def test_an_unknown_device_is_refused():
    with pytest.raises(DeviceError, match="device='gpu' is not available"):
        nn.Linear(2, 2).to("gpu")


@pytest.mark.needs_gxx
def test_a_module_moves_with_its_buffers():
    module = Normalised().to("cuda-host")
    assert module.factor.device == module.mean.device == "cuda-host"
    assert module(ma.ones(2, 3, device="cuda-host")).device == "cuda-host"


def test_layers_are_made_where_and_as_they_are_wanted():
    for layer in (
        nn.Linear(2, 3, dtype=np.float64),
        nn.Conv2d(2, 3, 1, dtype=ma.float64),
        nn.LayerNorm(3, dtype="float64"),
        nn.Embedding(2, 3, dtype=np.float64, device="cpu"),
    ):
        assert layer.weight.dtype == np.float64


# Buffers


def test_buffers_of_tensors_are_saved_loaded_and_assigned():
    module, other = Normalised(), Normalised()
    assert list(module.state_dict()) == ["factor", "mean", "order"]
    other.mean = ma.tensor([7.0, 8.0, 9.0])
    other.order = np.array([0, 1, 2])
    module.load_state_dict(other.state_dict())
    assert module.mean.tolist() == [7, 8, 9]
    assert module.order.tolist() == [0, 1, 2]
    assert isinstance(module.mean, ma.Tensor)


def test_integers_and_floats_are_not_taken_for_each_other():
    module = Normalised()
    state = {name: value.copy() for name, value in module.state_dict().items()}
    state["order"], state["mean"] = state["order"].astype(float), state["mean"].astype(int)
    with pytest.raises(CheckpointError, match=r"not floating-point: mean; not integers: order"):
        module.load_state_dict(state)


@pytest.mark.parametrize("value", [3, [1.0, 2.0], "x"])
def test_other_things_are_no_buffers(value):
    with pytest.raises(TypeError, match="buffer b must be an array, a Tensor or None, not"):
        nn.Module().register_buffer("b", value)
    module = Normalised()
    with pytest.raises(TypeError, match="mean is one of its buffers: assign a ndarray, a Tensor or None"):
        module.mean = value


def test_the_arrays_of_buffers_are_found_whatever_these_are():
    module = Normalised()
    assert [type(b).__name__ for b in module.buffers()] == ["Tensor", "ndarray", "ndarray"]
    assert [nn.module.values_of(b).shape for b in module.buffers()] == [(3,), (3,), (2,)]


# Copies


def network():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), Normalised())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_has_the_values_and_none_of_the_memory(copied):
    first = network()
    first[0].weight.grad = ma.ones(*first[0].weight.shape)
    first.eval()
    second = copied(first)
    assert repr(second) == repr(first)
    assert not second[0].training
    before = {name: value.copy() for name, value in first.state_dict().items()}
    for name, value in second.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
        value += 1
    for name, value in first.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert isinstance(second[0].weight, nn.Parameter)
    assert second[0].weight.requires_grad
    assert second[0].weight.grad is not first[0].weight.grad


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_what_is_shared_is_shared_in_the_copy(copied):
    first = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    first[1].weight = first[0].weight
    second = copied(first)
    assert second[1].weight is second[0].weight
    assert second[1].weight is not first[0].weight


def test_a_copied_parameter_has_no_hooks_of_the_first():
    layer, seen = nn.Linear(1, 1), []
    layer.weight.register_hook(lambda g: seen.append("first"))
    copied = copy.deepcopy(layer)
    copied.weight.register_hook(lambda g: seen.append("copy"))
    copied(ma.ones(1, 1)).sum().backward()
    assert seen == ["copy"]
    layer(ma.ones(1, 1)).sum().backward()
    assert seen == ["copy", "first"]
