"""Times of layers, with layers whose time is known."""

import time

import numpy as np
import pytest

from minialex import nn
from minialex.training.report import layer_times
from minialex.training.report.layer_times import time_layers


class Slow(nn.Module):
    """Passes on its input after so many seconds: one entry a call, the last one for all that follow."""

    def __init__(self, *seconds):
        super().__init__()
        self.seconds = list(seconds)
        self.calls = 0

    def forward(self, x):
        time.sleep(self.seconds[min(self.calls, len(self.seconds) - 1)])
        self.calls += 1
        return x * 1.0


@pytest.fixture
def build():
    """Make a network with a slow layer between two dense ones, and a batch for it."""

    def make(*seconds):
        network = nn.Sequential({"fc1": nn.Linear(6, 6), "slow": Slow(*seconds), "fc2": nn.Linear(6, 3)})
        x = np.random.default_rng(0).standard_normal((4, 6), dtype=np.float32)
        return network, x, np.array([0, 1, 2, 0])

    return make


def test_a_slow_layer_takes_its_time(build):
    network, x, labels = build(0.02)
    times = time_layers(network, x, labels)
    assert list(times.forward) == list(times.backward) == ["fc1", "slow", "fc2"]
    assert 0.02 <= times.forward["slow"] < 0.1
    rest = [times.forward["fc1"], times.forward["fc2"], *times.backward.values()]
    assert len(rest) == 5
    assert all(0 < each < 0.02 for each in rest)
    assert (times.steps, times.batch, network.slow.calls) == (5, 4, 6)


def test_the_first_step_and_a_single_slow_one_do_not_count(build):
    times = time_layers(*build(0.3, 0.001, 0.2, 0.001))
    assert 0.001 <= times.forward["slow"] < 0.05


def test_a_slow_network_is_timed_once(build, monkeypatch):
    monkeypatch.setattr(layer_times, "_ENOUGH_SECONDS", 0.0)
    network, x, labels = build(0.02)
    assert time_layers(network, x, labels).steps == 1
    assert network.slow.calls == 2


def test_the_weights_stay(build):
    network, x, labels = build(0)
    before = {name: array.copy() for name, array in network.state_dict().items()}
    time_layers(network, x, labels)
    assert before.keys() == {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}
    for name, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.training
