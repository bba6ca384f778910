"""Gradients at the ends of float32's range, and where a number is none."""

import math

import numpy as np
import pytest

import minialex as ma
import minialex.functional as F
from minialex import operations

every_device = pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda-host", marks=pytest.mark.needs_gxx)]
)


def leaf(values, device):
    return ma.Tensor(np.array(values, np.float32), requires_grad=True, device=device)


@every_device
@pytest.mark.parametrize(("a", "b"), [(1e-30, 1e-30), (1e30, 1e30), (-3e25, 2e20), (5e-21, -2e-20)])
def test_a_quotient_has_its_gradient_where_the_square_of_the_divisor_leaves_float32(device, a, b):
    x, y = leaf([a], device), leaf([b], device)
    (x / y).backward(np.array([0.5], np.float32))
    # In Python's float64 all of these are far from the ends of the range.
    a, b = float(np.float32(a)), float(np.float32(b))
    assert x.grad.item() == pytest.approx(0.5 / b, rel=1e-6)
    assert y.grad.item() == pytest.approx(-0.5 * a / b**2, rel=1e-6)


@every_device
def test_the_gradient_of_a_maximum_goes_to_the_nan_that_it_is(device):
    nan = math.nan
    a, b = leaf([1.0, nan, 2.0, nan], device), leaf([nan, 1.0, 2.0, nan], device)
    upstream = np.array([3.0, 5.0, 7.0, 11.0], np.float32)
    for choose in (operations.maximum, operations.minimum):
        a.grad = b.grad = None
        y = choose(a, b)
        y.backward(upstream)
        np.testing.assert_array_equal(y.numpy(), [nan, nan, 2, nan])
        assert a.grad.numpy().tolist() == [0, 5, 3.5, 5.5]
        assert b.grad.numpy().tolist() == [3, 0, 3.5, 5.5]


@every_device
def test_the_gradient_of_a_largest_element_goes_to_the_nans_if_there_are_any(device):
    x = leaf([[1.0, math.nan, 2.0, math.nan], [4.0, 1.0, 4.0, 0.0]], device)
    x.amax(1).backward(np.array([3.0, 5.0], np.float32))
    assert x.grad.numpy().tolist() == [[0, 1.5, 0, 1.5], [2.5, 0, 2.5, 0]]


@every_device
def test_dropout_of_everything_gives_zeros_whatever_the_values(device):
    x = leaf([[math.inf, -math.inf], [math.nan, 3.0]], device)
    y = F.dropout(x, 1.0)
    y.backward(np.array([[1.0, math.inf], [math.nan, 2.0]], np.float32))
    assert y.numpy().tolist() == [[0, 0], [0, 0]]
    assert x.grad.numpy().tolist() == [[0, 0], [0, 0]]
