"""Softmax and cross-entropy at the ends of the number range, and the exponential that they share."""

import numpy as np
import pytest

from minialex.kernels import find_kernel
from minialex.kernels.compiled import compiled
from minialex.kernels.softmax.exponential import exp_float32
from minialex.testing.algorithms import every_algorithm
from minialex.testing.compare import assert_close, rounding

every_kernel = every_algorithm("softmax", only=("numpy", "numba", "cuda"))
FLOAT32 = rounding(np.float32)


@compiled
def exponentials(x, y):
    for i in range(len(x)):
        y[i] = exp_float32(x[i])


def exp(x):
    y = np.empty_like(x)
    exponentials(x, y)
    return y


def test_the_exponential_is_within_a_unit_of_rounding():
    x = -np.concatenate([np.geomspace(1e-9, 87.33, 200_001), np.linspace(0, 87.33, 200_001)]).astype(
        np.float32
    )
    right = np.exp(x.astype(np.float64))
    assert (np.abs(exp(x) - right) <= np.finfo(np.float32).eps * right).all()


def test_the_exponential_at_the_ends_of_its_range():
    x = np.array([0.0, -0.0, -87.34, -104.0, -1e30, -np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(exp(x), np.array([1, 1, 0, 0, 0, 0, np.nan], np.float32))


@every_kernel
def test_logits_that_lie_far_apart_or_at_the_ends_of_the_range(algorithm):
    x = np.array([[1e38, 0, -1e38, 1e38], [-1e30, -1e30, -1e30, -1e30], [90, 0, -90, 89]], np.float32)
    y = find_kernel("softmax.forward", **algorithm)(x, axis=1)
    z = find_kernel("log_softmax.forward", **algorithm)(x[1:], axis=1)
    share = 1 / (1 + np.exp(-1))
    right = np.array([[0.5, 0, 0, 0.5], [0.25] * 4, [share, 0, 0, 1 - share]])
    assert_close(y.astype(np.float64), right, FLOAT32)
    assert_close(z[0].astype(np.float64), np.full(4, -np.log(4)), FLOAT32, scale=1)
    assert_close(z[1] - x[2].astype(np.float64), np.full(4, np.log(share) - 90), FLOAT32)


@every_kernel
def test_a_class_ruled_out_by_minus_infinity_gets_nothing(algorithm):
    x = np.array([[0, -np.inf, 0, -np.inf]], np.float32)
    y = find_kernel("softmax.forward", **algorithm)(x, axis=1)
    np.testing.assert_array_equal(y, np.array([[0.5, 0, 0.5, 0]], np.float32))


@every_kernel
@pytest.mark.parametrize("place", [0, 1, 70])
def test_a_nan_spoils_its_row_and_no_other(algorithm, place):
    x = np.random.default_rng(0).standard_normal((3, 71)).astype(np.float32)
    x[1, place] = np.nan
    target, g = np.eye(3, 71, dtype=np.float32), np.ones(3, np.float32)
    for operation, arrays, parameters in (
        ("softmax.forward", (x,), {"axis": 1}),
        ("log_softmax.forward", (x,), {"axis": 1}),
        ("cross_entropy.forward", (x, target), {}),
        ("cross_entropy.backward", (g, x, target), {}),
    ):
        result = find_kernel(operation, **algorithm)(*arrays, **parameters)
        assert np.isnan(result[1]).all(), operation
        assert np.isfinite(result[[0, 2]]).all(), operation


@every_kernel
@pytest.mark.parametrize("place", [0, 1, 63, 64, 70])
def test_the_largest_logit_is_found_wherever_it_stands(algorithm, place):
    # Beside any other maximum its exponential is beyond float32.
    x = np.zeros((1, 71), np.float32)
    x[0, place] = 200
    y = find_kernel("softmax.forward", **algorithm)(x, axis=1)
    np.testing.assert_array_equal(y, np.eye(1, 71, place, dtype=np.float32))
