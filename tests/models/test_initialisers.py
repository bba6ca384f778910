"""Initial weights: the distribution each function draws from, and what each recipe sets where.

The samples are drawn from fixed seeds. The tolerances are five standard errors, which a right
distribution would exceed for one seed in a million.
"""

import math

import numpy as np
import pytest

import minialex as ma
from minialex import nn
from minialex.errors import ModelError
from minialex.models import create_model, initialisers
from minialex.nn import init

SHAPE = (64, 40, 5, 3)  # (O, I, KH, KW) that tell fan-in 600 from fan-out 960, and both from O and I
FAN_IN, FAN_OUT = 600, 960

# The kurtosis E[(x - mean)^4] / variance^2, which the error of an estimated deviation depends on.
KURTOSIS = {"normal": 3.0, "uniform": 1.8}


def assert_distributed(sample, kind, std, mean=0.0):
    """Fail unless a float32 sample is centred, spread and bounded as a normal or uniform one should be."""
    assert sample.dtype == np.float32
    values = sample.astype(np.float64).ravel()
    n = values.size
    assert abs(values.mean() - mean) < 5 * std / math.sqrt(n)
    relative_error = math.sqrt((KURTOSIS[kind] - 1) / (4 * n))
    assert abs(values.std() / std - 1) < 5 * relative_error
    if kind == "uniform":
        # The largest of n uniform numbers stays below bound * (1 - 14 / n) with probability e**-14.
        bound, largest = std * math.sqrt(3), np.abs(values - mean).max()
        assert bound * (1 - 14 / n) < largest <= bound * (1 + 1e-6)
    else:
        # Cut off nowhere: of so many normal numbers, some lie beyond three deviations (0.27 %).
        beyond = np.mean(np.abs(values - mean) > 3 * std)
        assert abs(beyond - 0.0027) < 5 * math.sqrt(0.0027 / n)


@pytest.mark.parametrize(
    ("draw", "kind", "std"),
    [
        (init.normal, "normal", 0.01),
        (init.uniform, "uniform", 0.05 / math.sqrt(3)),
        (init.he_normal, "normal", math.sqrt(2 / FAN_IN)),
        (init.he_uniform, "uniform", math.sqrt(2 / FAN_IN)),
        (init.glorot_normal, "normal", math.sqrt(2 / (FAN_IN + FAN_OUT))),
        (init.glorot_uniform, "uniform", math.sqrt(2 / (FAN_IN + FAN_OUT))),
    ],
)
def test_distributions(draw, kind, std):
    assert_distributed(draw(SHAPE), kind, std)


@pytest.mark.parametrize("draw", [init.he_normal, init.he_uniform])
def test_he_by_fan_out(draw):
    kind = draw.__name__.removeprefix("he_")
    assert_distributed(draw(SHAPE, "fan_out"), kind, math.sqrt(2 / FAN_OUT))


def test_given_parameters_of_the_plain_distributions():
    assert_distributed(init.normal(SHAPE, std=0.3, mean=2.0), "normal", 0.3, mean=2.0)
    assert_distributed(init.uniform(SHAPE, 1.0, 4.0), "uniform", 1.5 / math.sqrt(3), mean=2.5)


def test_dense_fans():
    """A dense weight (O, I) has no window: its fans are its lengths."""
    assert_distributed(init.he_normal((100, 400)), "normal", math.sqrt(2 / 400))
    assert_distributed(init.glorot_uniform((100, 400)), "uniform", math.sqrt(2 / 500))


def test_another_fan_is_refused():
    with pytest.raises(ModelError, match="mode must be 'fan_in' or 'fan_out', not 'fan_avg'"):
        init.he_normal(SHAPE, "fan_avg")


# What each recipe sets: per layer the distribution, its deviation given (fan-in, fan-out), and the bias.
def _fixed(std):
    return "normal", lambda fan_in, fan_out: std


_HE_IN = ("normal", lambda fan_in, fan_out: math.sqrt(2 / fan_in))
_HE_OUT = ("normal", lambda fan_in, fan_out: math.sqrt(2 / fan_out))
_HE_UNIFORM = ("uniform", lambda fan_in, fan_out: math.sqrt(2 / fan_in))
_GLOROT = ("uniform", lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out)))
_PYTORCH = ("uniform", lambda fan_in, fan_out: 1 / math.sqrt(3 * fan_in))
_KERAS_UNIFORM = ("uniform", lambda fan_in, fan_out: 0.05 / math.sqrt(3))
_RAISED = ("conv2", "conv4", "conv5", "fc6", "fc7")

WEIGHTS = {
    "paper": (_fixed(0.01), _fixed(0.01), _fixed(0.01)),
    "caffe": (_fixed(0.01), _fixed(0.005), _fixed(0.01)),
    "caffenet": (_fixed(0.01), _fixed(0.005), _fixed(0.01)),
    "pytorch": (_PYTORCH, _PYTORCH, _PYTORCH),
    "keras": (_GLOROT, _GLOROT, _GLOROT),
    "keras_uniform_convolutions": (_KERAS_UNIFORM, _GLOROT, _GLOROT),
    "keras_he_normal_convolutions": (_HE_IN, _GLOROT, _GLOROT),
    "he": (_HE_IN, _HE_IN, _HE_IN),
    "he_fan_out": (_HE_OUT, _fixed(0.01), _fixed(0.01)),
    "zfnet": (_fixed(0.01), _fixed(0.01), _fixed(0.01)),
    "googlenet": (_fixed(0.01), _fixed(0.01), _fixed(0.01)),
    "resnet": (_HE_OUT, _PYTORCH, _PYTORCH),
    "densenet": (_HE_IN, _PYTORCH, _PYTORCH),
    "squeezenet": (_HE_UNIFORM, _HE_UNIFORM, _HE_UNIFORM),
}  # convolutions, fc6 and fc7, fc8
BIASES = {"paper": 1.0, "caffe": 0.1, "caffenet": 1.0}  # in the five raised layers; 0 otherwise


def network_of_eight():
    convolutions = {f"conv{i}": nn.Conv2d(24, 32, (5, 3)) for i in range(1, 6)}
    return nn.Sequential(convolutions | {f"fc{i}": nn.Linear(80, 120) for i in range(6, 9)})


# Those whose layers differ in another way have tests of their own.
OTHERS = {"nin", "mobilenet_v1"}


def test_the_table_has_every_recipe():
    assert set(WEIGHTS) | OTHERS == set(initialisers.INITIALISERS)


@pytest.mark.parametrize("recipe", WEIGHTS)
def test_weights_of_a_recipe(recipe):
    network = network_of_eight()
    initialisers.initialise(network, recipe)
    of_convolutions, of_hidden, of_last = WEIGHTS[recipe]
    for name, layer in network.named_children():
        is_convolution = name.startswith("conv")
        kind, std = of_convolutions if is_convolution else of_last if name == "fc8" else of_hidden
        fans = (24 * 15, 32 * 15) if is_convolution else (80, 120)
        assert_distributed(layer.weight.numpy(), kind, std(*fans))


def test_nin_s_first_third_and_last_convolutions_start_smaller():
    smaller = ("conv1", "conv3", "cccp8-1024")
    names = (*smaller, "conv2", "cccp1", "conv4-1024")
    network = nn.Sequential({name: nn.Conv2d(24, 32, (5, 3)) for name in names})
    initialisers.initialise(network, "nin")
    for name, layer in network.named_children():
        assert_distributed(layer.weight.numpy(), "normal", 0.01 if name in smaller else 0.05)
        assert not layer.bias.numpy().any()


def test_squeezenet_s_classifier_starts_smaller():
    network = nn.Sequential({"classifier": nn.Sequential(nn.ReLU(), nn.Conv2d(24, 32, (5, 3)))})
    initialisers.initialise(network, "squeezenet")
    assert_distributed(network[0][1].weight.numpy(), "normal", 0.01)


def test_mobilenet_v1_s_distribution_ends_at_two_deviations():
    layer = nn.Conv2d(24, 320, (5, 3))
    initialisers.mobilenet_v1(layer, "")
    values = layer.weight.numpy().astype(np.float64)
    # Of a normal distribution cut off at two deviations: mean 0, deviation 0.87962566.
    assert abs(values.mean()) < 5 * 0.09 / math.sqrt(values.size)
    assert values.std() == pytest.approx(0.09 * 0.87962566, rel=5 / math.sqrt(2 * values.size))
    assert 0.179 < np.abs(values).max() <= 0.18 * (1 + 1e-6)
    assert not layer.bias.numpy().any()


# Of those, the bias has PyTorch's default, too, in some layers.
_DRAWN_BIASES = ("pytorch", "googlenet", "resnet")


@pytest.mark.parametrize("recipe", [recipe for recipe in WEIGHTS if recipe not in _DRAWN_BIASES])
def test_biases_of_a_recipe(recipe):
    network = network_of_eight()
    initialisers.initialise(network, recipe)
    for name, layer in network.named_children():
        expected = BIASES.get(recipe, 0.0) if name in _RAISED else 0.0
        np.testing.assert_array_equal(layer.bias.numpy(), np.full(layer.bias.shape, expected, np.float32))


def test_pytorch_biases_have_the_weights_bound():
    layer = nn.Conv2d(24, 4000, (5, 3))
    init.pytorch(layer)
    assert_distributed(layer.bias.numpy(), "uniform", 1 / math.sqrt(3 * 24 * 15))


def test_a_layer_without_bias_is_initialised():
    convolution, dense = nn.Conv2d(24, 32, 3, bias=False), nn.Linear(80, 120, bias=False)
    network = nn.Sequential({"conv2": convolution, "fc6": dense})
    for recipe in initialisers.INITIALISERS:
        initialisers.initialise(network, recipe)
        assert convolution.bias is None
        assert dense.weight.numpy().std() > 0


def test_an_unknown_recipe_is_refused_with_those_there_are():
    with pytest.raises(ModelError, match="initialiser 'xavier' is unknown; there are: paper, caffe"):
        initialisers.initialise(network_of_eight(), "xavier")


def test_layers_draw_pytorch_s_default_when_built():
    assert_distributed(nn.Conv2d(24, 32, (5, 3)).weight.numpy(), *_resolved(_PYTORCH, 24 * 15, 0))
    assert_distributed(nn.Linear(80, 120).weight.numpy(), *_resolved(_PYTORCH, 80, 0))


def test_deferred_layers_leave_the_random_numbers_alone():
    def next_number():
        return ma.random.generator().random()

    ma.manual_seed(5)
    undisturbed = next_number()
    ma.manual_seed(5)
    with init.deferred():
        nn.Conv2d(3, 4, 3)
    assert next_number() == undisturbed
    ma.manual_seed(5)
    nn.Conv2d(3, 4, 3)
    assert next_number() != undisturbed


@pytest.mark.parametrize(
    ("name", "raised", "dense_std"),
    [("alexnet", 1.0, 0.01), ("alexnet_caffe", 0.1, 0.005), ("caffenet", 1.0, 0.005)],
)
def test_the_paper_s_and_caffe_s_networks_start_as_published(name, raised, dense_std):
    layers = dict(create_model(name).named_children())
    for i, layer_name in enumerate(("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")):
        bias = layers[layer_name].bias.numpy()
        expected = np.float32(raised if layer_name in _RAISED else 0.0)
        assert (bias == expected).all(), layer_name
        # Part of a dense weight is sample enough, and quick.
        weight = layers[layer_name].weight.numpy()[:96]
        assert_distributed(weight, "normal", dense_std if i in (5, 6) else 0.01)


def _resolved(distribution, fan_in, fan_out):
    kind, std = distribution
    return kind, std(fan_in, fan_out)
