"""Batch norm where digits are lost easily: large means, outliers, and statistics that are no number."""

import numpy as np
import pytest

from minialex.checking.testing.algorithms import every_algorithm
from minialex.checking.testing.compare import assert_close, rounding
from minialex.kernels import find_kernel

every_kernel = every_algorithm("batch_norm")
FLOAT32 = rounding(np.float32)


def batch(mean, deviation):
    """Float32 numbers (N, C, H, W), and what they normalise to, computed from them in float64."""
    noise = np.random.default_rng(4).standard_normal((6, 5, 4, 7))
    x = (mean + deviation * noise).astype(np.float32)
    wide = x.astype(np.float64)
    mean, var = wide.mean(axis=(0, 2, 3)), wide.var(axis=(0, 2, 3))
    column = (None, slice(None), None, None)
    return x, (wide - mean[column]) / np.sqrt(var[column] + 1e-5), mean, var


def forward(algorithm, x):
    weight, bias = np.ones(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
    return find_kernel("batch_norm.forward", **algorithm)(x, weight, bias, axis=1, eps=1e-5)


@every_algorithm("batch_norm", only=("plain", "one-pass", "block-reduction"))
@pytest.mark.parametrize(
    ("mean", "deviation"), [(1e4, 1.0), (1e6, 1.0), (-3e5, 10.0), (1e3, 0.05), (0.0, 1.0)]
)
def test_a_mean_much_larger_than_the_deviation_costs_no_digits(algorithm, mean, deviation):
    # In float32 the mean of the first is rounded to 1e-3 of the deviation, and its square to 8: a
    # variance as mean(x**2) - mean(x)**2, or x - mean with the rounded mean, is far beyond the tolerance.
    x, expected, right_mean, right_var = batch(mean, deviation)
    y, mean, var = forward(algorithm, x)
    assert_close(y.astype(np.float64), expected, FLOAT32)
    assert_close(mean.astype(np.float64), right_mean, FLOAT32)
    assert_close(var.astype(np.float64), right_var, FLOAT32)


@every_kernel
@pytest.mark.parametrize("place", [0, 3, -1])
def test_one_outlier_does_not_spoil_the_variance(algorithm, place):
    # The first element of a feature is what a kernel may subtract from the others.
    x, *_ = batch(0.0, 1.0)
    x.reshape(6, 5, 28)[0, :, place] = 3e4
    wide = x.astype(np.float64)
    _, mean, var = forward(algorithm, x)
    assert_close(mean.astype(np.float64), wide.mean(axis=(0, 2, 3)), FLOAT32)
    assert_close(var.astype(np.float64), wide.var(axis=(0, 2, 3)), FLOAT32)


@every_kernel
def test_a_constant_feature_has_variance_0_whatever_its_value(algorithm):
    x, *_ = batch(0.0, 1.0)
    x[:, 2] = np.float32(0.1)
    y, mean, var = forward(algorithm, x)
    assert mean[2] == pytest.approx(0.1, rel=FLOAT32)
    assert var[2] == pytest.approx(0, abs=FLOAT32**2)
    assert np.abs(y[:, 2]).max() < 1e-4


@every_kernel
@pytest.mark.parametrize("place", [0, 12])
def test_a_nan_spoils_its_feature_and_no_other(algorithm, place):
    x, expected, *_ = batch(0.0, 1.0)
    x.reshape(6, 5, 28)[0, 3, place] = np.nan
    y, mean, var = forward(algorithm, x)
    assert np.isnan(mean[3])
    assert np.isnan(var[3])
    assert np.isnan(y[:, 3]).all()
    others = [0, 1, 2, 4]
    assert_close(y[:, others].astype(np.float64), expected[:, others], FLOAT32)
