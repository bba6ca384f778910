"""ReLU: NaN, infinities and signed zeros, forward and backward."""

import numpy as np
import pytest

from minialex.kernels import find_kernel, list_kernels

ALGORITHMS = sorted({entry.algorithm for entry in list_kernels("relu", device="cpu")})
every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)
# NumPy's kernel multiplies by a mask: an infinity or a NaN comes through where y is 0, as it says itself.
selecting = pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "numpy"])


@every_algorithm
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_forward_passes_nan_on_and_clips_infinity(algorithm, dtype):
    x = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 2.0, -2.0, 1e-40], dtype)
    y = find_kernel("relu.forward", algo=algorithm)(x)
    np.testing.assert_array_equal(y, np.array([np.nan, np.nan, np.inf, 0, 0, 0, 2, 0, 1e-40], dtype))


@every_algorithm
def test_backward_is_zero_at_zero_and_where_the_result_is_nan(algorithm):
    g = np.array([3.0, 5.0, -7.0, 2.0, -4.0])
    y = np.array([0.0, -0.0, np.nan, 1e-300, np.inf])
    gx = find_kernel("relu.backward", algo=algorithm)(g, y)
    np.testing.assert_array_equal(gx, [0, 0, 0, 2, -4])


@selecting
def test_backward_drops_a_nan_or_an_infinity_that_did_not_pass(algorithm):
    g = np.array([np.nan, np.inf, -np.inf, np.nan, np.inf])
    y = np.array([0.0, 0.0, 0.0, 1.0, 1.0])
    gx = find_kernel("relu.backward", algo=algorithm)(g, y)
    np.testing.assert_array_equal(gx, [0, 0, 0, np.nan, np.inf])
