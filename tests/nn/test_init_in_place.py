"""Initialisers under PyTorch's names: ranges and deviations by their formulas, and what is refused."""

import math

import numpy as np
import pytest

import minialex as ma
from minialex import nn
from minialex.errors import MiniAlexError, ModelError, ShapeError
from minialex.nn import init

SHAPE = (100, 50, 3, 4)  # fan-in 600, fan-out 1200


def filled(function, *args, shape=SHAPE, **options):
    ma.manual_seed(1)
    t = nn.Parameter(np.full(shape, 9.0))
    assert function(t, *args, **options) is t
    return t.numpy()


@pytest.mark.parametrize(
    ("function", "options", "bound"),
    [
        (init.xavier_uniform_, {}, math.sqrt(6 / 1800)),
        (init.xavier_uniform_, {"gain": 2}, 2 * math.sqrt(6 / 1800)),
        (init.kaiming_uniform_, {}, math.sqrt(6 / 600)),
        (init.kaiming_uniform_, {"a": math.sqrt(5)}, 1 / math.sqrt(600)),
        (init.kaiming_uniform_, {"mode": "fan_out", "nonlinearity": "linear"}, math.sqrt(3 / 1200)),
        (init.uniform_, {"a": -0.5, "b": 0.5}, 0.5),
    ],
)
def test_uniform_numbers_fill_their_range(function, options, bound):
    """Of 60,000 numbers the largest is within a thousandth of the bound, save once in e**30 runs."""
    values = filled(function, **options)
    assert bound * 0.999 < values.max() <= bound
    assert -bound <= values.min() < -bound * 0.999


@pytest.mark.parametrize(
    ("function", "options", "std"),
    [
        (init.normal_, {"std": 3}, 3),
        (init.xavier_normal_, {"gain": 5 / 3}, 5 / 3 * math.sqrt(2 / 1800)),
        (init.kaiming_normal_, {}, math.sqrt(2 / 600)),
        (init.kaiming_normal_, {"mode": "fan_out", "nonlinearity": "tanh"}, 5 / 3 / math.sqrt(1200)),
    ],
)
def test_normal_numbers_have_their_deviation(function, options, std):
    """Of 60,000 numbers: up to 5 standard errors."""
    values = filled(function, **options)
    assert values.std() == pytest.approx(std, rel=5 / math.sqrt(2 * values.size))
    assert abs(values.mean()) < 5 * std / math.sqrt(values.size)


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [
        (0, 1, -2, 2),
        (1, 2, -1, 1.5),
        (0, 1, 3, 4),
        (0, 1, -9, -8),
        (5, 0, -2, 2),
        (0, 1, -math.inf, math.inf),
    ],
)
def test_truncated_numbers_lie_inside_and_have_the_mean_by_the_formula(mean, std, a, b):
    values = filled(init.trunc_normal_, mean, std, a, b)
    assert a <= values.min() <= values.max() <= b
    if std == 0:
        assert (values == b).all()
        return

    def density(z):
        return math.exp(-z * z / 2) / math.sqrt(2 * math.pi) if math.isfinite(z) else 0.0

    low, high = (a - mean) / std, (b - mean) / std
    if low > 0:
        inside = (math.erfc(low / math.sqrt(2)) - math.erfc(high / math.sqrt(2))) / 2
    else:
        inside = (math.erfc(-high / math.sqrt(2)) - math.erfc(-low / math.sqrt(2))) / 2
    expected = mean + std * (density(low) - density(high)) / inside
    assert values.mean() == pytest.approx(expected, abs=5 * values.std() / math.sqrt(values.size))


def test_constants_and_the_identity():
    assert (filled(init.constant_, 0.25) == 0.25).all()
    assert (filled(init.zeros_) == 0).all()
    assert (filled(init.ones_) == 1).all()
    np.testing.assert_array_equal(filled(init.eye_, shape=(2, 3)), [[1, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 2, 2)])
def test_orthogonal_matrices(shape):
    matrix = filled(init.orthogonal_, shape=shape).reshape(shape[0], -1)
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-14)


def test_values_are_changed_in_place_and_the_change_is_counted():
    layer = nn.Linear(3, 2)
    memory, version = layer.weight.data, layer.weight.version
    init.normal_(layer.weight)
    assert layer.weight.data is memory
    assert layer.weight.dtype == np.float32
    assert layer.weight.version == version + 1


def test_numbers_follow_from_the_seed_or_a_generator_of_ones_own():
    first, again = filled(init.normal_), filled(init.normal_)
    np.testing.assert_array_equal(first, again)
    own = filled(init.normal_, generator=np.random.default_rng(3))
    np.testing.assert_array_equal(own, np.random.default_rng(3).standard_normal(SHAPE))


def test_an_empty_weight_stays_empty():
    for function in (init.kaiming_uniform_, init.xavier_normal_, init.orthogonal_):
        assert filled(function, shape=(0, 3)).shape == (0, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: init.kaiming_normal_(t[0]), ShapeError, "2 or more axes to have fans"),
        (lambda t: init.xavier_uniform_(t[0]), ShapeError, "2 or more axes to have fans"),
        (lambda t: init.eye_(t[0]), ShapeError, "must have 2 axes"),
        (
            lambda t: init.kaiming_normal_(t, mode="in"),
            ModelError,
            "mode must be 'fan_in' or 'fan_out', not 'in'",
        ),
        (
            lambda t: init.kaiming_normal_(t, nonlinearity="swish"),
            ModelError,
            "nonlinearity must be .*, not 'swish'",
        ),
        (lambda t: init.calculate_gain("leaky_relu", "x"), ModelError, "param must be a number"),
        (lambda t: init.normal_(t, std=-1), MiniAlexError, "std must be a number 0 or more, not -1"),
        (lambda t: init.normal(t.shape, std=-1), ModelError, "std must be a number 0 or more, not -1"),
        (lambda t: init.normal(t.shape, std=math.nan), ModelError, "std must be .*, not nan"),
        (lambda t: init.he_normal((2,)), ShapeError, r"2 or more axes to have fans, not shape \(2,\)"),
        (lambda t: init.uniform_(t, 2, 1), MiniAlexError, "b must be a number 2 or more, not 1"),
        (
            lambda t: init.normal_(t, generator=3),
            TypeError,
            "generator must be a numpy.random.Generator, not int",
        ),
        (lambda t: init.normal_(np.ones((2, 2))), TypeError, "be a tensor, not ndarray"),
        (lambda t: init.normal_(ma.tensor([1])), TypeError, "must be of floats, not int64"),
        (lambda t: init.trunc_normal_(t, 0, 1, 100, 101), ModelError, "leave room"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(ma.ones(2, 2))


def test_results_and_frozen_weights_are_refused():
    t = ma.ones(2, 2, requires_grad=True)
    with pytest.raises(MiniAlexError, match="inside of the graph"):
        init.zeros_(t * 2)
    layer = nn.Linear(2, 2).freeze()
    with pytest.raises(ValueError, match="read-only"):
        init.zeros_(layer.weight)
