"""Functions whose results have lost a part of themselves: confident losses, tails, kinks and stairs."""

import math

import numpy as np
import pytest

from minialex import GradcheckError, check_vjp


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_vjp(u, x):
    p = softmax(x)
    return (p * (u - (p * u).sum(-1, keepdims=True)),)


def log_softmax(x):
    above = x - x.max(-1, keepdims=True)
    return above - np.log(np.exp(above).sum(-1, keepdims=True))


def log_softmax_vjp(u, x):
    return (u - softmax(x) * u.sum(-1, keepdims=True),)


def log_sum_exp_softmax(x):
    """The logarithm of the softmax, of which a confident row keeps nothing."""
    top = x.max(-1, keepdims=True)
    return x - (top + np.log(np.exp(x - top).sum(-1, keepdims=True)))


def sigmoid(x):
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def naive_log_sigmoid(x):
    return np.log(sigmoid(x))


def log_sigmoid_vjp(u, x):
    return (u * sigmoid(-x),)


def erf(x):
    return np.vectorize(math.erf, otypes=[float])(x).astype(x.dtype)


def gelu(x):
    return (x / 2 * (1 + erf(x / math.sqrt(2)))).astype(x.dtype)


def gelu_vjp(u, x):
    density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return ((u * ((1 + erf(x / math.sqrt(2))) / 2 + x * density)).astype(x.dtype),)


def tanh_gelu(x):
    c = x.dtype.type(math.sqrt(2 / math.pi))
    return x / 2 * (1 + np.tanh(c * (x + x**3 * x.dtype.type(0.044715))))


def tanh_gelu_vjp(u, x):
    c, a = x.dtype.type(math.sqrt(2 / math.pi)), x.dtype.type(0.044715)
    t = np.tanh(c * (x + a * x**3))
    return (u * ((1 + t) / 2 + x / 2 * (1 - t * t) * c * (1 + 3 * a * x * x)),)


def binary_cross_entropy(x):
    target = np.arange(x.size) % 2
    return np.maximum(x, 0) - x * target.astype(x.dtype) + np.log1p(np.exp(-np.abs(x)))


def binary_cross_entropy_vjp(u, x):
    return (u * (sigmoid(x) - (np.arange(x.size) % 2).astype(x.dtype)),)


def mean_cross_entropy(x):
    return np.asarray(-log_softmax(x)[:, 0].mean(), x.dtype)


def mean_cross_entropy_vjp(u, x):
    p = softmax(x)
    p[:, 0] -= 1
    return (u * p / x.dtype.type(len(x)),)


CONFIDENT = [[40.0, 0, 1], [1, -45, 2], [50, 0, -50]]
TAILS = [-9.0, -8, 9, 10, 1]
FUNCTIONS = {
    "log softmax": (log_sum_exp_softmax, log_softmax_vjp, CONFIDENT),
    "log softmax at 800": (log_sum_exp_softmax, log_softmax_vjp, [[800.0, 0, 1], [30, 0, -740]]),
    "softmax with subnormal numbers": (softmax, softmax_vjp, [[30.0, 0, -740], [0, 1, 2]]),
    "log sigmoid": (naive_log_sigmoid, log_sigmoid_vjp, [38.0, 45, -50, 36, 1]),
    "GELU": (gelu, gelu_vjp, TAILS),
    "GELU by tanh": (tanh_gelu, tanh_gelu_vjp, [-6.229554736265326, 1, 3, -1, 0.3]),
    "binary cross entropy": (binary_cross_entropy, binary_cross_entropy_vjp, [-40.0, 40, 3, -100]),
    "mean cross entropy": (mean_cross_entropy, mean_cross_entropy_vjp, [[40.0, 0, 1], [20, 0, 3], [1, 2, 3]]),
    "tanh": (np.tanh, lambda u, x: (u * (1 - np.tanh(x) ** 2),), [30.0, -25, 1, 0.2]),
    "log cosh": (lambda x: np.log(np.cosh(x)), lambda u, x: (u * np.tanh(x),), [1e-4, -3e-4, 2e-4]),
    "exp(x) - 1 - x": (lambda x: np.exp(x) - 1 - x, lambda u, x: (u * np.expm1(x),), [1e-6, -3e-6, 2e-6]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_right_gradients_pass(name):
    forward, vjp, x = FUNCTIONS[name]
    assert check_vjp(forward, vjp, [np.array(x)]).compared > 0


@pytest.mark.parametrize("name", ["log softmax", "binary cross entropy", "GELU by tanh", "tanh"])
def test_right_gradients_pass_in_float32(name):
    forward, vjp, x = FUNCTIONS[name]
    x = np.clip(np.array(x, np.float32), -30, 30) / 2
    assert check_vjp(forward, vjp, [x], dtype=np.float32).compared > 0


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("factor", [1.001, -1.0])
def test_wrong_gradients_of_the_same_are_refused(name, factor):
    forward, vjp, x = FUNCTIONS[name]
    with pytest.raises(GradcheckError) as caught:
        check_vjp(forward, lambda u, x: (factor * vjp(u, x)[0],), [np.array(x)])
    assert caught.value.check == "values"


def test_what_underflows_is_unknown_and_not_wrong():
    with pytest.raises(GradcheckError) as caught:
        check_vjp(np.square, lambda u, x: (2 * u * x,), [np.array([1e-200, 2e-200])])
    assert caught.value.check == "uncertain"


# Kinks and jumps


def at_kinks(forward, derivative, x, **options):
    return check_vjp(forward, lambda u, x: (u * derivative(x),), [np.array(x, float)], **options)


AROUND = np.arange(11)


@pytest.mark.parametrize("at_zero", [0.0, 0.5, 1.0, -1.0])
def test_a_gradient_at_a_kink_between_the_slopes_beside_it(at_zero):
    report = at_kinks(np.abs, lambda x: np.where(x == 0, at_zero, np.sign(x)), AROUND)
    assert (report.skipped, report.compared) == (1, 10)


@pytest.mark.parametrize("at_zero", [7.0, -3.0])
def test_a_gradient_at_a_kink_far_from_the_slopes_beside_it(at_zero):
    with pytest.raises(GradcheckError, match="not between the slopes on its two sides, -1 and 1") as caught:
        at_kinks(np.abs, lambda x: np.where(x == 0, at_zero, np.sign(x)), AROUND)
    assert caught.value.check == "values"
    assert (caught.value.index, caught.value.analytic) == ((0,), at_zero)


def tied(x):
    return x == x.max(-1, keepdims=True)


@pytest.mark.parametrize(
    "mask",
    [
        tied,
        lambda x: tied(x) / tied(x).sum(-1, keepdims=True),
        lambda x: np.arange(3) == x.argmax(-1)[:, None],
    ],
    ids=["all", "shared", "the first"],
)
def test_ties_of_a_maximum_in_any_convention(mask):
    x = np.array([[1.0, 1, 0], [0, 2, 1], [3, 1, 2]])
    report = check_vjp(lambda x: x.max(-1), lambda u, x: (u[:, None] * mask(x),), [x], max_skipped=0.7)
    assert report.skipped == 2


def test_a_jump_is_no_derivative():
    """The arc tangent jumps by 2 pi across the negative axis: no larger step sees less of it."""
    y, x = np.array([0.0, 1, 2]), np.array([-1.0, 1, 3])
    report = check_vjp(
        np.arctan2,
        lambda u, y, x: (u * x / (x * x + y * y), -u * y / (x * x + y * y)),
        [y, x],
        max_skipped=0.5,
    )
    assert report.skipped == 1


# A gradient that differs only at the inputs themselves is not rounding


@pytest.mark.parametrize("factor", [0.0, 1.002, 3.0])
def test_a_gradient_that_is_wrong_at_one_number_alone(factor):
    x = np.r_[0.0, np.random.default_rng(0).standard_normal(9)]
    with pytest.raises(GradcheckError) as caught:
        check_vjp(np.exp, lambda u, x: (u * np.exp(x) * np.where(x == 0, factor, 1),), [x])
    assert (caught.value.check, caught.value.index) == ("values", (0,))


def test_a_smooth_function_of_two_kinks():
    with pytest.raises(GradcheckError) as caught:
        check_vjp(
            lambda x: np.maximum(x, 0) - np.maximum(-x, 0),
            lambda u, x: (u * (x != 0),),
            [np.array([0.0, 1, -2, 3, 4])],
        )
    assert caught.value.numeric == pytest.approx(1)
