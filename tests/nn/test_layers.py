"""Layers: each is its function with the options it was given; batch normalisation and dropout have modes."""

import numpy as np
import pytest

import minialex as ma
from minialex import functional as F
from minialex import nn
from minialex.checking.testing.compare import assert_close, rounding
from minialex.errors import ShapeError


def images(*shape, seed=0):
    return ma.Tensor(np.random.default_rng(seed).standard_normal(shape))


def in_float64(layer):
    return layer.astype(np.float64)


# A layer, the shape of its input, and the function call that it stands for. Every option differs from its
# default, and heights differ from widths, so that one that is not handed on shows.
CASES = {
    "Conv2d": (
        in_float64(nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2)),
        (2, 4, 7, 8),
        lambda x, layer: F.conv2d(x, layer.weight, layer.bias, (2, 1), (1, 2), (1, 2), 2),
    ),
    "Conv2d without bias": (
        in_float64(nn.Conv2d(3, 2, 3, padding="same", bias=False)),
        (2, 3, 5, 4),
        lambda x, layer: F.conv2d(x, layer.weight, None, padding="same"),
    ),
    "Linear": (in_float64(nn.Linear(5, 3)), (4, 5), lambda x, layer: F.linear(x, layer.weight, layer.bias)),
    "Linear without bias": (
        in_float64(nn.Linear(5, 3, bias=False)),
        (4, 5),
        lambda x, layer: F.linear(x, layer.weight),
    ),
    "MaxPool2d": (
        nn.MaxPool2d((3, 2), stride=(2, 3), padding=1, dilation=(1, 2), ceil_mode=True),
        (2, 3, 8, 9),
        lambda x, layer: F.max_pool2d(x, (3, 2), (2, 3), 1, (1, 2), True),
    ),
    "MaxPool2d, stride not given": (nn.MaxPool2d(2), (1, 2, 6, 4), lambda x, layer: F.max_pool2d(x, 2, 2)),
    "AvgPool2d": (
        nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
        (2, 3, 6, 8),
        lambda x, layer: F.avg_pool2d(x, 3, 2, 1, True, False),
    ),
    "LocalResponseNorm": (
        nn.LocalResponseNorm(3, alpha=0.7, beta=0.6, k=1.5, alpha_mode="mean"),
        (2, 5, 3, 4),
        lambda x, layer: F.local_response_norm(x, 3, 0.7, 0.6, 1.5, "mean"),
    ),
    "ReLU": (nn.ReLU(), (3, 4), lambda x, layer: F.relu(x)),
    "Flatten": (nn.Flatten(), (2, 3, 4, 5), lambda x, layer: x.reshape(2, 60)),
    "Flatten, some axes": (nn.Flatten(0, 2), (2, 3, 4, 5), lambda x, layer: x.reshape(24, 5)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_layer_is_its_function(case):
    layer, shape, function = CASES[case]
    x = images(*shape)
    np.testing.assert_array_equal(layer(x).numpy(), function(x, layer).numpy())


def test_lrn_layer_defaults_are_the_paper_s():
    x = images(1, 7, 2, 2)
    by_formula = np.empty_like(x.data)
    for c in range(7):
        window = x.data[:, max(0, c - 2) : c + 3]
        by_formula[:, c] = x.data[:, c] / (2 + 1e-4 * (window**2).sum(axis=1)) ** 0.75
    assert_close(nn.LocalResponseNorm()(x).numpy(), by_formula, rounding(np.float64))


@pytest.mark.parametrize("channels", [(5, 4, 2), (4, 5, 2), (4, 4, 0), (4, 6, 3)])
def test_channels_that_groups_do_not_divide_are_refused(channels):
    in_channels, out_channels, groups = channels
    with pytest.raises(
        ShapeError, match=rf"groups={groups}|groups must be an integer 1 or more, not {groups}"
    ):
        nn.Conv2d(in_channels, out_channels, 3, groups=groups)


@pytest.mark.parametrize("make", [lambda: nn.Linear(0, 3), lambda: nn.Conv2d(0, 3, 3)])
def test_a_layer_without_inputs_is_refused(make):
    with pytest.raises(ma.MiniAlexError, match="in_"):
        make()


def test_weight_shapes():
    assert nn.Conv2d(6, 4, (3, 5), groups=2).weight.shape == (4, 3, 3, 5)
    assert nn.Linear(6, 4).weight.shape == (4, 6)


# Sequential


def test_sequential_applies_in_order():
    double, shift = nn.Linear(1, 1), nn.Linear(1, 1)
    for layer, weight, bias in ((double, 2, 0), (shift, 1, 3)):
        layer.weight.data[...], layer.bias.data[...] = weight, bias
    x = ma.tensor([[5.0]])
    assert nn.Sequential(double, shift)(x).item() == 13
    assert nn.Sequential(shift, double)(x).item() == 16


def test_sequential_is_a_sequence():
    layers = nn.ReLU(), nn.Flatten(), nn.Dropout()
    network = nn.Sequential(*layers)
    assert len(network) == 3
    assert tuple(network) == layers
    assert network[-1] is layers[2]
    assert [name for name, _ in network.named_children()] == ["0", "1", "2"]


def test_a_slice_of_a_sequential_is_one_with_the_same_modules_and_names():
    layers = nn.Sequential({"first": nn.Linear(2, 3), "act": nn.ReLU(), "last": nn.Linear(3, 1)})
    part = layers[:2]
    assert type(part) is nn.Sequential
    assert list(part) == [layers[0], layers[1]]
    assert [name for name, _ in part.named_parameters()] == ["first.weight", "first.bias"]


@pytest.mark.parametrize(
    "made", [lambda: nn.Sequential(nn.ReLU(), F.relu), lambda: nn.Sequential({"1": "relu"})]
)
def test_what_is_no_module_is_refused(made):
    with pytest.raises(TypeError, match=r"Sequential takes modules; 1 is of type (function|str)"):
        made()


def test_sequential_takes_names():
    network = nn.Sequential({"fc6": nn.Linear(2, 3), "relu6": nn.ReLU()})
    assert [name for name, _ in network.named_parameters()] == ["fc6.weight", "fc6.bias"]


def test_an_empty_sequential_is_the_identity():
    x = images(2, 3)
    assert nn.Sequential()(x) is x


# Batch normalisation


def batch_norm(features, **options):
    """A layer in float64 whose weight and bias are not 1 and 0."""
    layer = nn.BatchNorm2d(features, **options).astype(np.float64)
    generator = np.random.default_rng(9)
    layer.weight.data[...] = generator.uniform(0.5, 2, features)
    layer.bias.data[...] = generator.standard_normal(features)
    return layer


@pytest.mark.parametrize(
    ("shape", "axis"), [((4, 3, 5, 2), 1), ((4, 3, 5, 2), 2), ((4, 3, 5, 2), -1), ((6, 3), 1)]
)
def test_training_normalises_by_the_batch_and_moves_the_running_statistics(shape, axis):
    """Two steps by the formula; the running variance is unbiased, the one that divides is not."""
    features, momentum, eps = shape[axis], 0.3, 0.01
    layer = batch_norm(features, eps=eps, momentum=momentum, axis=axis)
    mean, var = np.zeros(features), np.ones(features)
    for step in range(2):
        x = 2 + 3 * np.random.default_rng(step).standard_normal(shape)
        rows = np.moveaxis(x, axis, 0).reshape(features, -1)
        column = (slice(None), *([None] * (x.ndim - 1)))
        normalised = (np.moveaxis(x, axis, 0) - rows.mean(axis=1)[column]) / np.sqrt(
            rows.var(axis=1)[column] + eps
        )
        expected = layer.weight.numpy()[column] * normalised + layer.bias.numpy()[column]
        mean = (1 - momentum) * mean + momentum * rows.mean(axis=1)
        var = (1 - momentum) * var + momentum * rows.var(axis=1, ddof=1)

        y = layer(ma.Tensor(x)).numpy()
        assert_close(y, np.moveaxis(expected, 0, axis), rounding(np.float64))
        assert_close(layer.running_mean, mean, rounding(np.float64))
        assert_close(layer.running_var, var, rounding(np.float64))


@pytest.mark.parametrize("axis", [1, 2])
def test_evaluation_uses_the_running_statistics_and_leaves_them(axis):
    shape = (2, 3, 4, 5)
    layer = batch_norm(shape[axis], axis=axis).eval()
    layer.running_mean[...] = np.arange(shape[axis])
    layer.running_var[...] = 1 + np.arange(shape[axis])
    before = layer.running_mean.copy(), layer.running_var.copy()
    x = images(*shape)
    column = tuple(slice(None) if i == axis else None for i in range(4))
    mean, var = (statistic[column] for statistic in before)
    weight, bias = layer.weight.numpy()[column], layer.bias.numpy()[column]

    y = layer(x).numpy()
    assert_close(y, weight * (x.numpy() - mean) / np.sqrt(var + 1e-5) + bias, rounding(np.float64))
    np.testing.assert_array_equal((layer.running_mean, layer.running_var), before)


def test_gradients_at_evaluation_are_those_of_the_statistics_then():
    # Training moves the running statistics in place, here between forward and backward.
    layer = batch_norm(3)
    layer.running_mean[...] = 1.0, -2.0, 0.5
    x, g = images(2, 3, 2, 4), images(2, 3, 2, 4).numpy()
    gradients = []
    for train_between in (False, True):
        layer.zero_grad()
        y = layer.eval()(x)
        if train_between:
            layer.train()(x)
        y.backward(g)
        gradients.append([layer.weight.grad.numpy(), layer.bias.grad.numpy()])
    np.testing.assert_array_equal(gradients[0], gradients[1])


def test_evaluation_takes_a_single_element():
    layer = batch_norm(3).eval()
    assert np.isfinite(layer(images(1, 3, 1, 1)).numpy()).all()


@pytest.mark.parametrize(("shape", "count"), [((1, 3, 1, 1), 1), ((0, 3, 2, 2), 0), ((1, 3), 1)])
def test_a_batch_without_a_variance_is_refused(shape, count):
    layer = batch_norm(3)
    with pytest.raises(ShapeError, match=rf"has {count} element\(s\) for each of 3 features; .* at least 2"):
        layer(images(*shape))
    np.testing.assert_array_equal(layer.running_mean, np.zeros(3))


def test_another_number_of_features_is_refused():
    with pytest.raises(ShapeError, match=r"batch_norm: weight must have shape \(4,\) .*, not \(3,\)"):
        batch_norm(3)(images(2, 4, 5, 5))


def test_a_constant_feature_gives_its_bias_not_a_division_by_zero():
    layer = batch_norm(2)
    y = layer(ma.Tensor(np.full((3, 2, 2, 2), 7.0))).numpy()
    assert_close(y, np.broadcast_to(layer.bias.numpy()[:, None, None], y.shape), rounding(np.float64))


# Dropout


def test_dropout_keeps_and_scales_in_training():
    """Of 40,000 elements a quarter is dropped, up to 5 standard errors; the others are multiplied by 4/3."""
    layer, x = nn.Dropout(0.25), ma.Tensor(np.full((200, 200), 3.0))
    y = layer(x).numpy()
    assert set(np.unique(y)) == {0.0, 4.0}
    assert abs(np.mean(y == 0) - 0.25) < 5 * np.sqrt(0.25 * 0.75 / y.size)


def test_dropout_is_the_identity_in_evaluation():
    x = images(3, 4)
    assert nn.Dropout(0.9).eval()(x) is x


def test_dropout_draws_a_new_mask_each_time_and_repeats_under_a_seed():
    layer, x = nn.Dropout(0.5), ma.Tensor(np.ones(64))

    def two_masks(seed):
        ma.manual_seed(seed)
        return [tuple(layer(x).numpy()) for _ in range(2)]

    first, second = two_masks(1)
    assert first != second
    assert two_masks(1) == [first, second]
    assert two_masks(2)[0] != first


def test_dropout_s_gradient_has_the_mask_of_its_forward_pass():
    x = ma.Tensor(np.ones((8, 8)), requires_grad=True)
    y = nn.Dropout(0.5)(x)
    upstream = np.random.default_rng(0).standard_normal((8, 8))
    y.backward(upstream)
    np.testing.assert_array_equal(x.grad.numpy(), upstream * y.numpy())


@pytest.mark.parametrize("p", [-0.1, 1.5])
def test_an_impossible_probability_is_refused(p):
    with pytest.raises(ShapeError, match=rf"p must be a number from 0 to 1, not {p}"):
        nn.Dropout(p)(images(2, 2))


def test_dropping_everything_gives_zeros_and_nothing_gives_the_input():
    x = images(3, 3)
    assert not nn.Dropout(1)(x).numpy().any()
    assert nn.Dropout(0)(x) is x
