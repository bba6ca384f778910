"""The parts of networks, and what is seen of their runs."""

import numpy as np

import minialex as ma
from minialex import nn
from minialex.benchmarking.profiling import OUTSIDE, profiled
from minialex.nn.parts import named_layers, named_parts, outputs_seen
from minialex.training.diagnosis import first_non_finite_layer
from minialex.training.report.feature_maps import layer_maps


class Block(nn.Module):
    """A convolution beside a shortcut."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(x + self.conv(x))


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()))
        self.stage = nn.Sequential({"first": Block(4), "second": Block(4)})
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.stage(self.stem(x)).mean(dim=(2, 3)))


PARTS = ["stem.0", "stem.1.0", "stem.1.1", "stage.first", "stage.second", "head"]


def test_sequences_are_opened_and_blocks_are_not():
    network = Blocks()
    assert [name for name, _ in named_parts(network)] == PARTS
    assert [name for name, _ in named_parts(ma.models.create_model("alexnet_cifar_thinner4"))][:2] == [
        "conv1",
        "relu1",
    ]
    layers = [name for name, _ in named_layers(network)]
    assert layers == [
        *PARTS[:3],
        *(f"{PARTS[i]}.{name}" for i in (3, 4) for name in ("conv", "relu")),
        "head",
    ]


def test_a_layer_is_its_only_part():
    layer = nn.Linear(3, 2)
    assert list(named_parts(layer)) == [("", layer)]


def test_a_sequence_with_a_forward_of_its_own_is_not_opened():
    class Twice(nn.Sequential):
        def forward(self, x):
            return super().forward(super().forward(x))

    network = nn.Sequential(Twice(nn.Linear(3, 3)), nn.ReLU())
    assert [name for name, _ in named_parts(network)] == ["0", "1"]


def test_outputs_are_seen_in_the_block_only():
    network = Blocks()
    seen = []
    with outputs_seen(named_parts(network), lambda name, module, y: seen.append((name, y.shape))):
        network(ma.randn(2, 1, 6, 6))
    network(ma.randn(2, 1, 6, 6))
    assert [name for name, _ in seen] == PARTS
    assert dict(seen)["stage.first"] == (2, 4, 4, 4)


def test_maps_are_shown_of_each_block():
    network = Blocks().eval()
    x = np.random.default_rng(0).standard_normal((3, 1, 8, 8), np.float32)
    maps = {each.name: each for each in layer_maps(network, x, channels=2)}
    assert list(maps) == PARTS
    expected = network.stage[0](network.stem(ma.Tensor(x))).numpy()
    shown = maps["stage.first"]
    assert shown.kind == "Block"
    np.testing.assert_array_equal(shown.maps, expected[:, shown.channels])


def test_the_layer_that_fails_first_is_found_inside_a_block():
    network = Blocks().eval()
    x = np.zeros((2, 1, 6, 6), np.float32)
    assert first_non_finite_layer(network, x, "cpu") is None
    network.stage[1].conv.weight.data[0, 0, 0, 0] = np.nan
    found = first_non_finite_layer(network, x, "cpu")
    assert found == "layer stage.second.conv (Conv2d), whose weight is no longer finite"


def test_blocks_are_timed_forward_and_backward():
    network = Blocks()
    ticks = iter(range(10**6))
    with profiled(network, clock=lambda: next(ticks)) as profile:
        (network(ma.randn(2, 1, 6, 6)) * ma.randn(2, 3)).sum().backward()
    names = list(dict.fromkeys(name for name, _ in profile.layers if name != OUTSIDE))
    assert names == PARTS
    assert all(profile.layers[name, way] > 0 for name in PARTS for way in ("forward", "backward"))
    ran = {layer for layer, operation, _ in profile.kernels if operation == "conv2d.weight_grad"}
    assert ran == {"stem.0", "stage.first", "stage.second"}


def test_lists_and_dictionaries_of_modules_are_opened():
    """They are never called, so their modules are what runs."""
    network = nn.Module()
    network.blocks = nn.ModuleList([nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), nn.Linear(4, 2)])
    network.heads = nn.ModuleDict({"a": nn.Identity()})
    assert [name for name, _ in named_parts(network)] == ["blocks.0.0", "blocks.0.1", "blocks.1", "heads.a"]
