"""What counts as the same result."""

import numpy as np
import pytest

from minialex.benchmarking.agreement import Error, error_of, error_of_all

RIGHT = np.array([3.0, -4.0])


def test_error_by_norm_and_by_worst_element():
    error = error_of(np.array([3.0, -4.5], np.float32), RIGHT)
    assert error == Error(0.5 / 5, 0.5 / 4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_within_nothing(bad):
    error = error_of(np.array([3.0, bad]), RIGHT)
    assert not error.within(1e9, 1e9)
    assert error.to_dict() == {"norm": None, "worst": None}


@pytest.mark.parametrize("place", [0, 1])
def test_nan_is_not_lost_among_several_arrays(place):
    actual = [RIGHT, RIGHT]
    actual[place] = RIGHT * np.nan
    assert not error_of_all(actual, [RIGHT, RIGHT]).within(1e9, 1e9)


def test_nan_as_an_error_is_within_nothing():
    assert not Error(np.nan, np.nan).within(1, 1)


def test_zeros():
    assert error_of(np.zeros(3), np.zeros(3)) == Error(0, 0)
    assert not error_of(np.array([0, 1e-30, 0]), np.zeros(3)).within(1e9, 1e9)
    assert error_of(np.zeros(0), np.zeros(0)) == Error(0, 0)


def test_of_several_arrays_the_largest():
    error = error_of_all([RIGHT, RIGHT * 1.01], [RIGHT, RIGHT])
    assert error.norm == pytest.approx(0.01)


def test_what_should_be_zero_is_measured_against_the_others():
    """Two libraries round a gradient that is zero differently: 1e-9 beside gradients of 5."""
    assert error_of_all([RIGHT, np.array([1e-9])], [RIGHT, np.array([-1e-9])]).norm < 1e-3
    assert error_of_all([RIGHT, np.array([1e-3])], [RIGHT, np.array([0.0])]).norm > 1
    # What float64 rounds to zero is a sum that cancels, as before batch normalisation; what is small is not.
    assert error_of_all([RIGHT, np.array([2e-6])], [RIGHT, np.array([1e-15])]).norm < 0.01
    assert error_of_all([RIGHT, np.array([2e-6])], [RIGHT, np.array([1e-9])]).norm > 0.3


def test_other_shapes_and_numbers():
    with pytest.raises(ValueError, match="1 results instead of 2"):
        error_of_all([RIGHT], [RIGHT, RIGHT])
    with pytest.raises(ValueError, match=r"result 0 has shape \(2,\) instead of \(1, 2\)"):
        error_of_all([RIGHT], [RIGHT[None]])
