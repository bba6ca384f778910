"""Softmax and cross-entropy at the ends of the number range, and the exponential that they share."""

import numpy as np
import pytest

from minialex.checking.testing.algorithms import every_algorithm
from minialex.checking.testing.compare import assert_close, rounding
from minialex.kernels import find_kernel
from minialex.kernels.runtime.compiled import compiled
from minialex.kernels.softmax.exponential import exp_float32

every_kernel = every_algorithm("softmax", only=("plain", "one-pass", "block-reduction"))
every_kernel_and_the_reference = every_algorithm("softmax")
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


INF, NAN = np.inf, np.nan
# Rows of logits, a target, and by hand: the loss, and softmax(x) T - target.
ENDS = [
    ([0, -INF, 1], [0, 0, 1], np.log(1 + np.exp(-1)), [1 / (1 + np.e), 0, -1 / (1 + np.e)]),
    ([2e38, -2e38, 0], [1, 0, 0], 0, [0, 0, 0]),
    ([2e38, -2e38, 0], [0, 1, 0], INF, [1, -1, 0]),  # 4e38 is beyond float32
    ([-INF, 3, -INF], [0, 1, 0], 0, [0, 0, 0]),
    ([-INF, 3, -INF], [0.5, 0.5, 0], INF, [-0.5, 0.5, 0]),
    ([-INF, 3, 3], [0, 0.5, 0.5], np.log(2), [0, 0, 0]),
    ([-INF, 3, 3], [0, 1, 2], 3 * np.log(2), [0, 0.5, -0.5]),
    ([-1e38, -1e38, -INF], [0.25, 0.75, 0], np.log(2), [0.25, -0.25, 0]),
    ([-INF, -INF, -INF], [0, 1, 0], NAN, [NAN, NAN, NAN]),
    ([INF, 0, 0], [0, 1, 0], NAN, [NAN, NAN, NAN]),
    ([1, NAN, 2], [1, 0, 0], NAN, [NAN, NAN, NAN]),
    # What has no weight does not count.
    ([1, 2, 3], [0, 0, 0], 0, [0, 0, 0]),
    ([1, NAN, 2], [0, 0, 0], 0, [0, 0, 0]),
    ([INF, -INF, 2], [0, 0, 0], 0, [0, 0, 0]),
]


@every_kernel_and_the_reference
def test_cross_entropy_at_the_ends_of_the_range(algorithm):
    x, target = (np.array([row[i] for row in ENDS], np.float32) for i in (0, 1))
    losses = np.array([row[2] for row in ENDS])
    g = np.linspace(-1, 2, len(ENDS)).astype(np.float32)
    gx = np.array([row[3] for row in ENDS]) * g[:, None]
    found = find_kernel("cross_entropy.forward", **algorithm)(x, target)
    np.testing.assert_allclose(found, losses, rtol=1e-6, atol=1e-7)
    assert not np.signbit(found[found == 0]).any()
    found = find_kernel("cross_entropy.backward", **algorithm)(g, x, target)
    np.testing.assert_allclose(found, gx, rtol=1e-6, atol=1e-7)


@every_kernel_and_the_reference
def test_softmax_at_the_ends_of_the_range(algorithm):
    x = np.array([[0, -INF, 1], [2e38, 2e38, -1e38], [-INF, 3, -INF], [-INF] * 3, [INF, 0, 0], [1, NAN, 2]])
    far = 1 + np.e
    softmax = np.array([[1 / far, 0, np.e / far], [0.5, 0.5, 0], [0, 1, 0], [NAN] * 3, [NAN] * 3, [NAN] * 3])
    log_softmax = np.array(
        [[-np.log(far), -INF, 1 - np.log(far)], [-np.log(2), -np.log(2), -3e38], [-INF, 0, -INF]]
        + [[NAN] * 3] * 3
    )
    for operation, right in (("softmax.forward", softmax), ("log_softmax.forward", log_softmax)):
        function = find_kernel(operation, **algorithm)
        found = function(x.astype(np.float32), axis=1)
        np.testing.assert_allclose(found, right, rtol=1e-6, atol=1e-7, err_msg=operation)
        if algorithm["algo"] != "one-pass":  # which takes the last axis only
            found = function(x.T.astype(np.float32), axis=0)
            np.testing.assert_allclose(found, right.T, rtol=1e-6, atol=1e-7, err_msg=operation)
