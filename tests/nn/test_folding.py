"""Batch normalisation folded into the convolutions before it."""

import numpy as np
import pytest

import minialex as ma
import minialex.functional as F
from minialex import nn
from minialex.models import create_model
from minialex.nn.utils import fold_batch_norm


def with_statistics(network):
    """Random parameters and running statistics in float64: those of a new network would hide mistakes."""
    generator = np.random.default_rng(3)
    for module in network.double().modules():
        if isinstance(module, nn.BatchNorm2d):
            for kept in (module.weight, module.bias):
                if kept is not None:
                    kept.data[...] = generator.uniform(-2, 2, kept.shape)
            if module.running_mean is not None:
                module.running_mean[...] = generator.normal(0, 1, module.running_mean.shape)
                module.running_var[...] = generator.uniform(0.2, 3, module.running_var.shape)
    return network.eval()


def norms_left(network):
    return [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]


def assert_same(network, folded, shape):
    x = ma.randn(*shape, dtype="float64")
    with ma.no_grad():
        expected, found = network(x).numpy(), folded(x).numpy()
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert error < 1e-12


@pytest.mark.parametrize(
    ("name", "left"), [("shufflenet_v2_x1_0", 0), ("resnet18", 0), ("mobilenet_v2", 0), ("densenet121", 62)]
)
def test_models_give_the_same_with_fewer_layers(name, left):
    network = with_statistics(create_model(name, 5))
    shape = (2, 3, 64, 64)
    folded = fold_batch_norm(network, shape)
    remaining = norms_left(folded)
    # Of DenseNet each first normalisation of a layer reads concatenated maps, not a convolution's.
    assert len(remaining) == left
    assert len(norms_left(network)) > len(remaining)
    assert_same(network, folded, shape)


def test_without_weights_biases_and_with_groups():
    network = nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=2, bias=False),
        nn.BatchNorm2d(8, affine=False),
        nn.Conv2d(8, 6, 1),
        nn.BatchNorm2d(6, bias=False, eps=0.1),
    )
    folded = fold_batch_norm(with_statistics(network), (2, 4, 7, 6))
    assert norms_left(folded) == []
    assert_same(network, folded, (2, 4, 7, 6))


class Odd(nn.Module):
    """What must not be folded: a result that is read twice, a layer that runs twice, another order."""

    def __init__(self):
        super().__init__()
        self.read_twice, self.norm1 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.runs_twice, self.norm2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.between, self.norm3 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.batch_only, self.norm4 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, x):
        y = self.read_twice(x)
        x = self.norm1(y) + y.reshape(y.shape)
        x = self.norm2(self.runs_twice(self.runs_twice(x)))
        x = self.norm3(F.relu(self.between(x)))
        return self.norm4(self.batch_only(x))


def test_what_is_not_the_same_is_left():
    network = with_statistics(Odd())
    folded = fold_batch_norm(network, (2, 4, 5, 5))
    assert norms_left(folded) == ["norm1", "norm2", "norm3", "norm4"]
    assert_same(network, folded, (2, 4, 5, 5))


def test_the_network_itself_stays():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    weight = network[0].weight.numpy().copy()
    folded = fold_batch_norm(network, (1, 3, 8, 8))
    assert network.training
    assert not folded.training
    assert isinstance(network[1], nn.BatchNorm2d)
    assert isinstance(folded[1], nn.Identity)
    np.testing.assert_array_equal(network[0].weight.numpy(), weight)
    folded[0].weight.data[:] = 0
    np.testing.assert_array_equal(network[0].weight.numpy(), weight)
