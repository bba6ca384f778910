"""The finite differences, and that the checks made with them catch a gradient that is slightly wrong."""

import numpy as np
import pytest

import minialex as ma
from minialex.checking.testing.compare import assert_close
from minialex.checking.testing.numerical import numerical_vjp


def test_a_known_derivative_weighted_by_the_upstream_gradient():
    x, y = np.array([1.0, 2.0]), np.array([[3.0], [0.5]])
    upstream = np.array([[1.0, -2.0], [0.5, 4.0]])
    of_x, of_y = numerical_vjp(lambda x, y: x**3 * y, (x, y), upstream)
    assert_close(of_x, (upstream * 3 * x**2 * y).sum(axis=0), 1e-9)
    assert_close(of_y, (upstream * x**3).sum(axis=1, keepdims=True), 1e-9)


def test_the_arrays_are_left_alone_and_may_be_read_only():
    x = np.arange(3.0)
    x.flags.writeable = False
    (gradient,) = numerical_vjp(lambda x: x * x, (x,), np.ones(3))
    np.testing.assert_array_equal(x, [0, 1, 2])
    assert_close(gradient, 2 * x, 1e-9)


def test_a_function_that_returns_its_input_is_not_mistaken_for_a_constant():
    (gradient,) = numerical_vjp(lambda x: x, (np.ones((2, 2)),), np.full((2, 2), 3.0))
    assert_close(gradient, np.full((2, 2), 3.0), 1e-9)


def test_arrays_without_elements_and_without_axes():
    empty, scalar = numerical_vjp(
        lambda e, s: s * 2 + e.sum(), (np.ones((0, 2)), np.array(1.5)), np.array(5.0)
    )
    assert empty.shape == (0, 2)
    assert_close(scalar, np.array(10.0), 1e-9)


@pytest.mark.parametrize("factor", [1.0005, 0.9995])
def test_a_gradient_wrong_by_half_a_thousandth_is_caught(factor):
    class Square(ma.Operation):
        saved_inputs = (0,)

        def forward(self, x):
            return x * x

        def backward(self, g):
            return (2 * factor * g * self.saved[0],)

    x = ma.Tensor(np.array([0.3, -1.2]), requires_grad=True)
    upstream = np.array([1.1, -0.4])
    (wrong,) = ma.grad(Square()(x), x, ma.Tensor(upstream))
    (expected,) = numerical_vjp(np.square, (x.data,), upstream)
    with pytest.raises(AssertionError, match="worst at index"):
        assert_close(wrong.data, expected, 1e-7, scale=1)
