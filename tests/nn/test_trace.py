"""What `trace` finds out about modules, against running them."""

import numpy as np
import pytest

import minialex as ma
import minialex.functional as F
from minialex import nn
from minialex.errors import DeviceError, ShapeError
from minialex.nn.trace import trace


class Branches(nn.Module):
    """Two ways to the same sum, one of which is written in functions; a layer that runs twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.same = nn.Conv2d(8, 8, 1)
        self.weight = nn.Parameter(np.zeros((4, 16), np.float32))

    def forward(self, x):
        x = F.relu(self.conv(x))
        y = self.same(self.same(x)) + x
        features = ma.cat([y.mean(dim=(2, 3)), y.amax(dim=(2, 3))], dim=1)
        return F.linear(features, self.weight)


def ran(network, *shapes):
    """The output shape of each run of a module, by hooks around a run with values."""
    found = []
    for name, module in network.named_modules():
        module.register_forward_hook(lambda m, args, y, name=name: found.append((name, y.shape)))
    with ma.no_grad():
        network(*(ma.randn(*shape) for shape in shapes))
    return found


def test_shapes_are_those_of_a_run():
    network = Branches()
    found = [(layer.name, layer.y) for layer in trace(network, (2, 3, 9, 7)).layers]
    assert sorted(found) == sorted(ran(network, (2, 3, 9, 7)))
    assert [name for name, _ in found] == ["", "conv", "same", "same"]


def test_products_are_counted_where_they_run():
    by_name = {layer.name: layer.macs for layer in trace(Branches(), (2, 3, 9, 7)).layers}
    # 5 x 4 positions after the stride of 2; the last product belongs to no layer below the network.
    assert by_name == {"conv": 2 * 8 * 5 * 4 * 3 * 9, "same": 2 * 8 * 5 * 4 * 8, "": 2 * 4 * 16}


def test_the_module_is_as_before():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    state = {name: value.copy() for name, value in network.state_dict().items()}
    heard = []
    network[0].register_forward_hook(lambda *_: heard.append(1))
    ma.manual_seed(3)
    before = ma.rand(2).tolist()
    ma.manual_seed(3)
    result = trace(network, (2, 3, 8, 8), training=True)
    assert ma.rand(2).tolist() == before
    assert [layer.module for layer in result.layers] == list(network)
    assert heard == []
    assert network.training
    assert all(parameter.device == "cpu" for parameter in network.parameters())
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(value, state[name])


def test_training_differs_from_evaluation_where_the_module_does():
    class Twice(nn.Module):
        def forward(self, x):
            return (x, x) if self.training else x

    assert trace(Twice(), (3,)).outputs == ((3,),)
    assert trace(Twice(), (3,), training=True).outputs == ((3,), (3,))


def test_the_dtype_is_that_of_the_parameters():
    trace(nn.Linear(3, 2).double(), (5, 3))
    with pytest.raises(TypeError, match=r"float32 .* float64|float64 .* float32"):
        trace(nn.Linear(3, 2).double(), (5, 3), dtype="float32")


def test_a_size_that_does_not_fit_is_told_by_the_layer():
    with pytest.raises(ShapeError, match="does not fit"):
        trace(nn.Conv2d(3, 4, 5), (1, 3, 4, 4))


def test_a_module_that_asks_for_values_is_refused():
    class Looks(nn.Module):
        def forward(self, x):
            return x if float(x.sum()) > 0 else -x

    with pytest.raises(DeviceError, match=r"on .meta. has a shape, .*, and no values"):
        trace(Looks(), (3,))


def test_it_takes_no_memory():
    """A network whose weights alone would take 40 TB, on images of a megapixel."""
    with nn.init.deferred():
        big = nn.Conv2d(3, 8, 3)
    big.weight.data = np.broadcast_to(np.float32(0), (10**10, 3, 18, 18))
    big.bias = None
    (layer,) = trace(big, (64, 3, 1024, 1024)).layers
    assert layer.y == (64, 10**10, 1007, 1007)
    assert layer.macs == 64 * 10**10 * 1007**2 * 3 * 18**2


@pytest.mark.parametrize("shape", [3, (1, -3, 5, 5), (1, 3.0, 5, 5), "abc"])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(ShapeError, match="trace: the shape of an input must be a tuple of integers"):
        trace(nn.Conv2d(3, 4, 1), shape)


def test_what_is_no_network_is_refused():
    with pytest.raises(TypeError, match="trace: the network must be a Module, not"):
        trace(len, (1, 3, 5, 5))
