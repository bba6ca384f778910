"""The outputs of layers: against convolution by scipy, and pooling and choosing by hand."""

import numpy as np
import pytest
from scipy.signal import correlate2d

import minialex as ma
from minialex import nn
from minialex.training.report.feature_maps import layer_maps


@pytest.fixture
def network():
    """Two stages and a dense layer; dropout and flatten between."""
    ma.manual_seed(3)
    network = nn.Sequential(
        {
            "conv1": nn.Conv2d(2, 5, 3),
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(5, 4, 2),
            "flatten": nn.Flatten(),
            "drop": nn.Dropout(0.5),
            "fc3": nn.Linear(4 * 2 * 2, 300),
        }
    )
    return network.eval()


@pytest.fixture
def images():
    """Three images (3, 2, 8, 8)."""
    return np.random.default_rng(1).standard_normal((3, 2, 8, 8), dtype=np.float32)


def convolved(layer, x):
    """The output of a convolution without padding, by scipy."""
    weight, bias = layer.weight.numpy(), layer.bias.numpy()
    return np.stack(
        [
            [
                sum(correlate2d(image[c], weight[o, c], "valid") for c in range(len(image))) + bias[o]
                for o in range(len(weight))
            ]
            for image in x
        ]
    )


def test_maps_are_the_layers_outputs(network, images):
    layers = {each.name: each for each in layer_maps(network, images, channels=10)}
    assert list(layers) == ["conv1", "relu1", "pool1", "conv2", "fc3"]
    first = convolved(network.conv1, images)
    pooled = np.maximum(first, 0).reshape(3, 5, 3, 2, 3, 2).max(axis=(3, 5))
    expected = {
        "conv1": first,
        "relu1": np.maximum(first, 0),
        "pool1": pooled,
        "conv2": convolved(network.conv2, pooled),
    }
    for name, output in expected.items():
        assert layers[name].shape == output.shape[1:]
        assert layers[name].channels == tuple(range(output.shape[1]))
        np.testing.assert_allclose(layers[name].maps, output, rtol=1e-4, atol=1e-5)
        assert layers[name].low == pytest.approx(output.min(), rel=1e-4, abs=1e-5)
        assert layers[name].high == pytest.approx(output.max(), rel=1e-4)
    assert layers["conv1"].kind == "Conv2d"


def test_features_are_folded_into_rows_of_128(network, images):
    layer = layer_maps(network, images)[-1]
    flat = convolved(network.conv2, layer_maps(network, images, channels=5)[2].maps).reshape(3, -1)
    expected = flat @ network.fc3.weight.numpy().T + network.fc3.bias.numpy()
    assert (layer.shape, layer.channels, layer.maps.shape) == ((300,), (), (3, 1, 3, 128))
    folded = layer.maps.reshape(3, -1)
    np.testing.assert_allclose(folded[:, :300], expected, rtol=1e-3, atol=1e-4)
    assert np.isnan(folded[:, 300:]).all()
    assert np.isfinite([layer.low, layer.high]).all()


def test_few_features_are_one_short_row():
    network = nn.Sequential({"flatten": nn.Flatten(), "fc1": nn.Linear(12, 10)}).eval()
    (layer,) = layer_maps(network, np.ones((2, 3, 2, 2), np.float32))
    assert layer.maps.shape == (2, 1, 1, 10)


def test_a_stage_shows_the_channels_that_vary_most_in_its_last_layer(network, images):
    network.conv1.bias.data[2] = -50  # the channel that varies most, until the ReLU
    layers = {each.name: each for each in layer_maps(network, images, channels=2)}
    full = {each.name: each for each in layer_maps(network, images, channels=5)}
    deviations = [float(np.std(full["pool1"].maps[:, c])) for c in range(5)]
    expected = tuple(sorted(sorted(range(5), key=lambda c: -deviations[c])[:2]))
    # Otherwise the test could not tell by which layer they were chosen.
    by_conv = sorted(range(5), key=lambda c: -float(np.std(full["conv1"].maps[:, c])))[:2]
    assert tuple(sorted(by_conv)) != expected
    for name in ("conv1", "relu1", "pool1"):
        assert layers[name].channels == expected
        np.testing.assert_array_equal(layers[name].maps, full[name].maps[:, expected])
    assert len(layers["conv2"].channels) == 2


def test_the_scale_is_that_of_what_is_shown(network, images):
    layer = layer_maps(network, images, channels=1)[0]
    assert layer.maps.shape == (3, 1, 6, 6)
    assert (layer.low, layer.high) == (layer.maps.min(), layer.maps.max())


def test_numbers_that_are_not_finite_do_not_spoil_the_scale(network, images):
    network.conv1.bias.data[2] = np.nan
    layer = layer_maps(network, images, channels=5)[0]
    assert np.isnan(layer.maps[:, 2]).all()
    others = np.delete(layer.maps, 2, axis=1)
    assert (layer.low, layer.high) == (others.min(), others.max())
    network.conv1.bias.data[:] = np.nan
    layer = layer_maps(network, images)[0]
    assert (layer.low, layer.high) == (0, 0)
