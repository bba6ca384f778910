"""Where the time of a step goes, and that nothing is left behind in the engine."""

import numpy as np
import pytest

import minialex as ma
from minialex import functional as F
from minialex import kernels, nn
from minialex.autograd import Operation
from minialex.benchmarking.profiling import OUTSIDE, profiled


class Slow(Operation):
    """The identity, which takes 2 seconds forward and 3 back on a clock."""

    def __init__(self, clock):
        self.clock = clock

    def forward(self, x):
        self.clock[0] += 2
        return self.kernel("relu.forward", x)

    def backward(self, g):
        self.clock[0] += 3
        return (g,)


class SlowLayer(nn.Module):
    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def forward(self, x):
        return Slow(self.clock)(Slow(self.clock)(x))


@pytest.fixture
def step():
    """A network with one slow layer, its clock, and a function that does a training step."""
    clock = [0.0]
    network = nn.Sequential({"fc1": nn.Linear(4, 3), "slow": SlowLayer(clock), "fc2": nn.Linear(3, 2)})
    x = ma.Tensor(np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32))
    optimizer = ma.optim.SGD(network.parameters(), lr=0.1)

    def run():
        optimizer.zero_grad()
        F.cross_entropy(network(x), np.array([0, 1, 0, 1, 1])).backward()
        optimizer.step()

    return network, clock, run


def test_time_is_given_to_layer_and_direction(step):
    network, clock, run = step
    with profiled(network, clock=lambda: clock[0]) as profile:
        run()
        run()
    assert profile.layers["slow", "forward"] == 2 * 2 * 2
    assert profile.layers["slow", "backward"] == 2 * 2 * 3
    assert sum(profile.layers.values()) == 2 * 10
    assert list(profile.layers)[:6] == [
        (name, way) for name in ("fc1", "slow", "fc2") for way in ("forward", "backward")
    ]


def test_kernels_are_counted_by_layer(step):
    network, _, run = step
    with profiled(network) as profile:
        run()
    calls = {(layer, operation): entry[0] for (layer, operation, _), entry in profile.kernels.items()}
    assert calls["fc1", "linear.forward"] == calls["fc2", "linear.forward"] == 1
    assert calls["fc1", "linear.weight_grad"] == 1
    assert ("fc1", "linear.input_grad") not in calls
    assert calls["fc2", "linear.input_grad"] == 1
    assert calls["slow", "relu.forward"] == 2
    assert calls[OUTSIDE, "cross_entropy.forward"] == 1
    # Updates of the two weights and the two biases, which differ in shape.
    updates = {
        shapes: entry[0] for (_, name, shapes), entry in profile.kernels.items() if name == "sgd.update"
    }
    assert sorted(updates) == ["2, 2", "2x3, 2x3", "3, 3", "3x4, 3x4"]
    assert set(updates.values()) == {1}
    answer = profile.to_dict(steps=2)
    assert {row["calls"] for row in answer["kernels"] if row["layer"] == "fc1"} == {0.5}


def test_nothing_is_left_behind(step):
    network, _, run = step
    before = kernels.run

    def fails_while_profiled():
        with profiled(network):
            assert kernels.run is not before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails_while_profiled()
    assert kernels.run is before
    assert all("forward" not in vars(layer) for layer in network.children())
    run()


def test_gradients_are_the_same(step):
    network, _, _ = step
    x = ma.Tensor(np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32))

    def gradients():
        network.zero_grad()
        F.cross_entropy(network(x), np.array([0, 1, 0, 1, 1])).backward()
        return [p.grad.numpy() for p in network.parameters()]

    plain = gradients()
    with profiled(network):
        timed = gradients()
    assert all(np.array_equal(a, b) for a, b in zip(plain, timed, strict=True))
