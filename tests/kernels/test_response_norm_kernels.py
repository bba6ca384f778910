"""Local response normalisation: a direct formula at alpha 1, both conventions of alpha, adjoints."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import correlate1d

import minialex as ma
import minialex.functional as F
from minialex.checking.testing.algorithms import every_algorithm
from minialex.checking.testing.compare import assert_close, largest, rounding
from minialex.checking.testing.strategies import call, normal_values, seeds
from minialex.errors import ShapeError
from minialex.kernels import find_kernel

every_kernel = every_algorithm("local_response_norm")
EXACT = rounding(np.float64)

images = st.tuples(st.integers(1, 2), st.integers(1, 7), st.integers(1, 3), st.integers(1, 3))
sizes = st.sampled_from((1, 3, 5, 7, 9))


def formula(x, size, alpha, beta, k):
    """The paper's formula, the sums over channels by scipy.ndimage (zero beyond the first and last)."""
    sums = correlate1d(x * x, np.ones(size), axis=1, mode="constant")
    return x / (k + alpha * sums) ** beta


@every_kernel
@given(images, seeds(), sizes, st.sampled_from((0.75, 0.5, 1.0)))
def test_forward_is_the_formula_at_alpha_1(algorithm, shape, generator, size, beta):
    x = normal_values(generator, shape)
    y = find_kernel("local_response_norm.forward", **algorithm)(x, size=size, alpha=1.0, beta=beta, k=2.0)
    assert_close(y, formula(x, size, 1.0, beta, 2.0), EXACT)


def gradient(g, x, size, alpha, beta, k):
    """The formula's gradient, its sums over channels by scipy.ndimage."""

    def window(v):
        return correlate1d(v, np.ones(size), axis=1, mode="constant")

    d = k + alpha * window(x * x)
    return g / d**beta - 2 * alpha * beta * x * window(g * x / d ** (beta + 1))


@every_kernel
@pytest.mark.parametrize("beta", [0.75, 0.5, 1.0, 0.6])
@given(seeds(), st.integers(8, 14), st.sampled_from((3, 5, 7, 9, 13, 29)))
def test_windows_among_many_channels(algorithm, beta, generator, channels, size):
    g, x = normal_values(generator, (2, 2, channels, 3, 5))
    parameters = {"size": size, "alpha": 1.0, "beta": beta, "k": 1.0}
    y = find_kernel("local_response_norm.forward", **algorithm)(x, **parameters)
    gx = find_kernel("local_response_norm.backward", **algorithm)(g, x, **parameters)
    assert_close(y, formula(x, **parameters), EXACT)
    assert_close(gx, gradient(g, x, **parameters), EXACT)


@every_kernel
def test_the_power_is_as_exact_as_float32_allows(algorithm):
    # One channel: d = k + alpha x x is off by 2 units, its power by 3/4 of that and 2.25, y by half more.
    x = np.geomspace(1e-3, 1e9, 3000).reshape(1, 1, 50, 60).astype(np.float32)
    parameters = {"size": 5, "alpha": 0.9, "beta": 0.75, "k": 2.0}
    y = find_kernel("local_response_norm.forward", **algorithm)(x, **parameters)
    wide = x.astype(np.float64)
    error = np.abs(y / (wide / (2.0 + 0.9 * wide**2) ** 0.75) - 1)
    assert error.max() < 4.25 * np.finfo(np.float32).eps


@given(images, seeds(), sizes)
def test_alpha_multiplies_the_sum_or_the_mean(shape, generator, size):
    x = normal_values(generator, shape)
    of_sum = F.local_response_norm(ma.Tensor(x), size, 0.9, 0.75, 1.0)
    of_mean = F.local_response_norm(ma.Tensor(x), size, 0.9, 0.75, 1.0, alpha_mode="mean")
    assert_close(of_sum.data, formula(x, size, 0.9, 0.75, 1.0), EXACT)
    assert_close(of_mean.data, formula(x, size, 0.9 / size, 0.75, 1.0), EXACT)


def test_the_defaults_are_the_papers():
    x = 50 * normal_values(np.random.default_rng(1), (1, 9, 2, 2))
    assert_close(F.local_response_norm(ma.Tensor(x)).data, formula(x, 5, 1e-4, 0.75, 2.0), EXACT)


@every_kernel
@given(st.data(), seeds())
def test_the_window_sum_is_its_own_adjoint(algorithm, data, generator):
    drawn = data.draw(call("channel_window_sum.forward"))
    kernel = find_kernel("channel_window_sum.forward", **algorithm)
    (x,) = drawn.arrays
    g = normal_values(generator, x.shape)
    forward, back = kernel(x, **drawn.parameters), kernel(g, **drawn.parameters)
    terms = np.abs(forward).ravel() @ np.abs(g).ravel() + 1
    assert np.vdot(forward, g) == pytest.approx(np.vdot(x, back), rel=0, abs=EXACT * terms)


@every_kernel
@given(st.data(), seeds())
def test_backward_is_linear_in_the_upstream_gradient(algorithm, data, generator):
    drawn = data.draw(call("local_response_norm.backward"))
    kernel = find_kernel("local_response_norm.backward", **algorithm)
    g, x = drawn.arrays
    other = normal_values(generator, g.shape)
    apart = kernel(g, x, **drawn.parameters) + 2 * kernel(other, x, **drawn.parameters)
    together = kernel(g + 2 * other, x, **drawn.parameters)
    assert_close(together, apart, EXACT, scale=largest(g, x, other, apart))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("size", size) for size in (-5, 4, True, "5")),
        *((name, value) for name in ("alpha", "beta", "k") for value in (np.nan, -1.0, "1")),
    ],
)
def test_a_direct_call_is_checked_as_the_function_is(name, value):
    options = {"size": 5, "alpha": 1.0, "beta": 0.75, "k": 2.0, name: value}
    allowed = "an odd integer 1 or more" if name == "size" else "a number 0 or more"
    with pytest.raises(ShapeError, match=f"local_response_norm: {name} must be {allowed}, not {value!r}"):
        find_kernel("local_response_norm.forward", algo="reference")(np.ones((1, 6, 1, 1)), **options)
