"""Strategies of constrained arrays with their constraints: right gradients pass, wrong ones fail."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import examples

import minialex as ma
from minialex.checking import constraints
from minialex.checking.testing.strategies import (
    bounded_arrays,
    dependent_column_arrays,
    positive_arrays,
    positive_definite_arrays,
    scaled_arrays,
    shapes,
    simplex_arrays,
    square_shapes,
    symmetric_arrays,
)


def transposed(a):
    return np.swapaxes(a, -1, -2)


def cholesky_vjp(u, a, halve=True):
    """L⁻ᵀ Φ(Lᵀ u) L⁻¹, where Φ takes the lower triangle and half of the diagonal (Murray 2016, eq. 9)."""
    lower = np.linalg.cholesky(a)
    inside = np.tril(transposed(lower) @ u)
    if halve:
        inside *= 1 - np.eye(a.shape[-1]) / 2
    inverse = np.linalg.inv(lower)
    return (transposed(inverse) @ inside @ inverse,)


def inverse(a):
    return np.linalg.inv(a)


def inverse_vjp(u, a):
    x = transposed(np.linalg.inv(a))
    return (-x @ u @ x,)


def eigenvalues_vjp(u, a):
    _, v = np.linalg.eigh(a)
    return ((v * u[..., None, :]) @ transposed(v),)


def quadratic(a):
    """xᵀ a x, which reads the lower triangle only."""
    x = 1.0 + np.arange(a.shape[-1])
    lower = np.tril(a)
    full = lower + transposed(np.tril(a, -1))
    return full @ x @ x


def quadratic_vjp(u, a):
    x = 1.0 + np.arange(a.shape[-1])
    return (u[..., None, None] * np.outer(x, x),)


def quadratic_vjp_of_the_triangle(u, a):
    """Wrong: the elements above the diagonal are equal to those below, which count twice."""
    return (np.tril(quadratic_vjp(u, a)[0]),)


def entropy(p):
    return np.asarray(-(p * np.log(p)).sum(axis=-1))


def pseudo_inverse(a):
    # Columns depend on others up to rounding: what is below 1e-4 of the rest is 0, in float32, too.
    return np.linalg.pinv(a, rcond=1e-4)


def pseudo_inverse_vjp(u, a, *, beside=True):
    """Golub and Pereyra (1973), eq. 4.12; the terms beside the first are 0 for regular matrices."""
    p = pseudo_inverse(a)
    ut, pt = transposed(u), transposed(p)
    m, n = a.shape[-2:]
    gradient = -pt @ u @ pt
    if beside:
        gradient = gradient + (np.eye(m) - a @ p) @ ut @ p @ pt + pt @ p @ ut @ (np.eye(n) - p @ a)
    return (gradient,)


COLUMNS = {2: {0: 1.0, 1: -2.0}}
SQUARES = square_shapes(min_side=2, max_side=3)
# Name: strategy, constraint, function, its right gradient, a wrong one.
PAIRS = {
    "logarithm of positive": (
        lambda dtype: positive_arrays((2, 3), dtype),
        constraints.positive,
        np.log,
        lambda u, x: (u / x,),
        lambda u, x: (u / x**2,),
    ),
    "artanh of bounded": (
        lambda dtype: bounded_arrays((2, 3), -1, 1, dtype),
        constraints.bounded(-1, 1),
        np.arctanh,
        lambda u, x: (u / (1 - x**2),),
        lambda u, x: (u / (1 + x**2),),
    ),
    "entropy on the simplex": (
        lambda dtype: simplex_arrays((2, 3), dtype),
        constraints.simplex,
        entropy,
        lambda u, p: (-u[..., None] * (np.log(p) + 1),),
        lambda u, p: (-u[..., None] * p * (np.log(p) + 1),),
    ),
    "entropy, up to what the simplex cannot see": (
        lambda dtype: simplex_arrays((4,), dtype),
        constraints.simplex,
        entropy,
        lambda u, p: (-u[..., None] * (np.log(p) + 7),),
        lambda u, p: (-u[..., None] * np.log(p) * (1 + 0.1 * np.arange(4)).astype(p.dtype),),
    ),
    "quadratic form of symmetric": (
        lambda dtype: symmetric_arrays(SQUARES, dtype),
        constraints.symmetric,
        quadratic,
        quadratic_vjp,
        quadratic_vjp_of_the_triangle,
    ),
    "eigenvalues of positive definite": (
        lambda dtype: positive_definite_arrays(SQUARES, 10, dtype),
        constraints.positive_definite,
        np.linalg.eigvalsh,
        eigenvalues_vjp,
        lambda u, a: eigenvalues_vjp(u[..., ::-1], a),
    ),
    "Cholesky factor": (
        lambda dtype: positive_definite_arrays(SQUARES, 10, dtype),
        constraints.positive_definite,
        np.linalg.cholesky,
        cholesky_vjp,
        lambda u, a: cholesky_vjp(u, a, halve=False),
    ),
    "inverse of positive definite": (
        lambda dtype: positive_definite_arrays(SQUARES, 10, dtype),
        constraints.positive_definite,
        inverse,
        inverse_vjp,
        lambda u, a: (-np.linalg.inv(a) @ u,),
    ),
    "pseudo-inverse at a lower rank": (
        lambda dtype: dependent_column_arrays((4, 3), COLUMNS, dtype),
        constraints.dependent_columns(COLUMNS),
        pseudo_inverse,
        pseudo_inverse_vjp,
        lambda u, a: pseudo_inverse_vjp(u, a, beside=False),
    ),
}
every_pair = pytest.mark.parametrize("name", PAIRS)


def keeping_dtype(function):
    """The function with its results in the dtype of its last argument, which constants may have widened."""

    def kept(*arguments):
        result, dtype = function(*arguments), arguments[-1].dtype
        return tuple(r.astype(dtype) for r in result) if isinstance(result, tuple) else result.astype(dtype)

    return kept


@every_pair
@given(st.data())
@settings(max_examples=examples(60))
def test_right_gradients_pass(name, data):
    arrays, constraint, forward, right, _ = PAIRS[name]
    report = ma.check_vjp(forward, right, [data.draw(arrays(np.float64))], constraints=[constraint])
    assert report.compared > 0
    assert report.skipped == 0


@every_pair
@given(st.data())
@settings(max_examples=examples(60))
def test_wrong_gradients_fail(name, data):
    arrays, constraint, forward, _, wrong = PAIRS[name]
    x = data.draw(arrays(np.float64))
    with pytest.raises(ma.GradcheckError) as caught:
        ma.check_vjp(forward, wrong, [x], constraints=[constraint])
    assert caught.value.check == "values"


@every_pair
@given(st.data())
@settings(max_examples=examples(20))
def test_right_gradients_pass_in_float32(name, data):
    arrays, constraint, forward, right, _ = PAIRS[name]
    x = data.draw(arrays(np.float32))
    forward, right = keeping_dtype(forward), keeping_dtype(right)
    report = ma.check_vjp(forward, right, [x], constraints=[constraint], dtype="float32")
    assert report.compared > 0


@given(scaled_arrays(shapes(min_dims=1, min_side=1)))
@settings(max_examples=examples(200))
def test_gradients_at_every_scale(x):
    """From 1e-8 to 1e8: right ones pass, and a factor of 1.001 is found."""
    report = ma.check_vjp(lambda x: x**3, lambda u, x: (3 * u * x**2,), [x])
    assert report.compared == x.size
    with pytest.raises(ma.GradcheckError) as caught:
        ma.check_vjp(lambda x: x**3, lambda u, x: (3.003 * u * x**2,), [x])
    assert caught.value.check == "values"
