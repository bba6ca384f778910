"""The comparison itself: what it must refuse."""

import numpy as np
import pytest

from minialex.checking.testing.compare import assert_close, largest, rounding


def test_equal_arrays_pass_at_tolerance_zero():
    assert_close(np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3), 0)
    with pytest.raises(AssertionError):
        assert_close(np.array([1.0, 2.0 + 1e-15]), np.array([1.0, 2.0]), 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_never_passes(value):
    broken = np.array([[1.0, value]])
    for actual, expected in ((broken, np.ones((1, 2))), (np.ones((1, 2)), broken), (broken, broken)):
        with pytest.raises(AssertionError, match=r"at index \(0, 1\)"):
            assert_close(actual, expected, np.inf)


def test_the_message_names_the_worst_element_and_both_values():
    expected = np.ones((2, 3))
    actual = expected + np.array([[0, 1e-3, 0], [0, 0, 0.5]])
    with pytest.raises(AssertionError, match=r"dx: worst at index \(1, 2\).*1\.5.*1\.0.*tolerance 0\.1"):
        assert_close(actual, expected, 0.1, name="dx")


def test_the_worst_element_is_relative_to_the_largest_magnitude():
    expected = np.array([100.0, 1e-9])
    assert_close(expected + np.array([0, 1e-5]), expected, 1e-6)
    with pytest.raises(AssertionError):
        assert_close(expected + np.array([0, 1e-3]), expected, 1e-6)


def test_many_small_errors_fail_by_norm():
    expected = np.zeros(10_000)
    expected[0] = 1
    with pytest.raises(AssertionError, match=r"by norm 0\.09"):
        assert_close(expected + 9e-4, expected, 1e-3)


def test_scale_is_that_of_terms_that_cancel():
    actual, expected = np.array([1e-15]), np.array([0.0])
    assert_close(actual, expected, 1e-14, scale=1)
    with pytest.raises(AssertionError):
        assert_close(actual, expected, 1e-14)


@pytest.mark.parametrize(
    ("actual", "message"),
    [
        (np.ones(2, np.float32), "dtype float32, expected float64"),
        (np.ones((2, 1)), r"shape \(2, 1\), expected \(2,\)"),
        ([1.0, 1.0], "list is not an array"),
        (np.float64(1), "float64 is not an array"),
    ],
)
def test_another_dtype_or_shape_fails(actual, message):
    with pytest.raises(AssertionError, match=message):
        assert_close(actual, np.ones(2), np.inf)


def test_empty_arrays_are_compared_by_shape():
    assert_close(np.ones((0, 3)), np.zeros((0, 3)), 0)
    with pytest.raises(AssertionError, match="shape"):
        assert_close(np.ones((0, 3)), np.zeros((3, 0)), 0)


def test_a_relative_error_of_half_a_thousandth_is_caught_in_both_dtypes():
    for dtype in (np.float32, np.float64):
        expected = np.linspace(-1, 1, 9, dtype=dtype)
        with pytest.raises(AssertionError):
            assert_close(expected * dtype(1.0005), expected, rounding(dtype))


def test_largest():
    assert largest(np.array([1, -3.0]), None, np.ones((0, 2)), np.array(2)) == 3
    assert largest(None) == 0
