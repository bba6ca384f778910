"""Tensors on ``meta``: shapes, dtypes and gradients without values."""

import numpy as np
import pytest

import minialex as ma
import minialex.functional as F
from minialex import nn
from minialex.errors import DeviceError
from minialex.stand_ins import counting, is_stand_in, stand_in


def test_a_training_step_gives_the_shapes_of_one_with_values():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)
    )
    shapes = {}
    for device in ("cpu", "meta"):
        network.to(device)
        x = ma.randn(2, 3, 8, 8, device=device, requires_grad=True)
        loss = F.cross_entropy(network(x), np.array([1, 4]))
        loss.backward()
        shapes[device] = [(t.grad.shape, t.grad.dtype) for t in (x, *network.parameters())]
        assert loss.device == device
    assert shapes["meta"] == shapes["cpu"]
    assert all(is_stand_in(p.grad.data) for p in network.parameters())


@pytest.mark.parametrize(
    "function",
    [
        lambda x: ma.cat([x, x], dim=1),
        lambda x: ma.where(x > 0, x, 0),
        lambda x: F.pad(x, (1, 2)),
        lambda x: x.reshape(-1).unsqueeze(0).expand(3, -1),
        lambda x: x.permute(2, 0, 1)[1:, ..., :2],
        lambda x: x.clone(),
        lambda x: F.softmax(x, dim=1) @ x.transpose(1, 2),
        lambda x: F.gelu(x).mean(dim=(0, 2), keepdim=True),
    ],
    ids=["cat", "where", "pad", "expand", "index", "clone", "softmax", "gelu"],
)
def test_results_are_stand_ins_of_the_same_shape(function):
    values = ma.randn(2, 3, 5)
    y, on_meta = function(values), function(values.to("meta"))
    assert (on_meta.shape, on_meta.dtype, on_meta.device) == (y.shape, y.dtype, "meta")
    assert is_stand_in(on_meta.data)


@pytest.mark.parametrize(
    "ask",
    [lambda t: t.numpy(), lambda t: t.to("cpu"), np.asarray, lambda t: t.sum().item(), lambda t: t.tolist()],
    ids=["numpy", "to", "asarray", "item", "tolist"],
)
def test_there_are_no_values(ask):
    with pytest.raises(DeviceError, match=r"has a shape, .*, and no values"):
        ask(ma.zeros(3, 4, device="meta"))


def test_it_is_shown_without_values():
    assert repr(ma.zeros(3, 4, device="meta")) == "Tensor(..., shape=(3, 4), dtype=float32, device='meta')"


def test_the_device_has_pytorchs_name():
    assert ma.device("meta") == "meta"
    assert ma.Tensor(np.ones(3)).to("meta").device == "meta"


def test_it_meets_no_tensor_of_another_device():
    with pytest.raises(DeviceError, match="meta"):
        ma.zeros(3, device="meta") + ma.zeros(3)


def test_bytes_are_counted_while_arrays_live():
    with counting() as live:
        a = stand_in((10, 10), np.float64)
        view = a.T[2:]
        b = stand_in((5,), np.float32)
        assert live.now == live.peak == 820
        del a
        assert live.now == 820  # its view holds it
        del view, b
        assert live.now == 0
        live.pass_through(100)
    stand_in((1000,))
    assert (live.now, live.peak) == (0, 820)
