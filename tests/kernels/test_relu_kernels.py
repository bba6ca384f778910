"""ReLU: NaN, infinities and signed zeros, forward and backward; and the layout of its mask."""

import numpy as np
import pytest

from minialex.checking.testing.algorithms import every_algorithm
from minialex.kernels import find_kernel

# NumPy's kernel multiplies by the bits: an infinity or a NaN comes through where y is 0, as it says itself.
selecting = every_algorithm("relu.backward", only=("reference", "one-pass"))


@every_algorithm("relu.forward")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_forward_passes_nan_on_and_clips_infinity(algorithm, dtype):
    x = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 2.0, -2.0, 1e-35], dtype)
    y = find_kernel("relu.forward", **algorithm)(x)
    np.testing.assert_array_equal(y, np.array([np.nan, np.nan, np.inf, 0, 0, 0, 2, 0, 1e-35], dtype))


@every_algorithm("relu.forward", device="cpu")
def test_forward_keeps_a_number_below_the_normal_ones(algorithm):
    # CUDA kernels are compiled, as CuPy does it, to take such a float32 as 0.
    x = np.array([1e-40, -1e-40], np.float32)
    np.testing.assert_array_equal(find_kernel("relu.forward", **algorithm)(x), [x[0], 0])


@every_algorithm("relu.backward")
def test_backward_is_zero_at_zero_and_where_the_result_is_nan(algorithm):
    g = np.array([3.0, 5.0, -7.0, 2.0, -4.0])
    y = np.array([0.0, -0.0, np.nan, 1e-300, np.inf])
    gx = find_kernel("relu.backward", **algorithm)(g, find_kernel("relu.mask", **algorithm)(y))
    np.testing.assert_array_equal(gx, [0, 0, 0, 2, -4])


@selecting
def test_backward_drops_a_nan_or_an_infinity_that_did_not_pass(algorithm):
    g = np.array([np.nan, np.inf, -np.inf, np.nan, np.inf])
    y = np.array([0.0, 0.0, 0.0, 1.0, 1.0])
    gx = find_kernel("relu.backward", **algorithm)(g, find_kernel("relu.mask", **algorithm)(y))
    np.testing.assert_array_equal(gx, [0, 0, 0, np.nan, np.inf])


@every_algorithm("relu.mask")
@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 64, 2**15, 2**15 + 37, 10**5])
def test_bits_are_those_of_packbits_in_whole_words(algorithm, size):
    y = np.random.default_rng(size).standard_normal(size)
    words = find_kernel("relu.mask", **algorithm)(y)
    bits = np.zeros(-(-size // 32) * 32, bool)
    bits[:size] = y > 0
    assert words.dtype == np.uint32
    np.testing.assert_array_equal(words, np.packbits(bits, bitorder="little").view("<u4"))


@every_algorithm("relu", device="cpu")
def test_transposed_arrays_are_read_in_the_order_of_their_axes(algorithm):
    random = np.random.default_rng(5)
    y, g = random.standard_normal((9, 7)).T, random.standard_normal((9, 7)).T
    mask = find_kernel("relu.mask", **algorithm)(y)
    gx = find_kernel("relu.backward", **algorithm)(g, mask)
    np.testing.assert_array_equal(gx, np.where(y > 0, g, 0))
