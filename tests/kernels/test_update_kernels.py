"""SGD, Adam and AdamW against scalar arithmetic written out from the papers."""

import math

import numpy as np
import pytest

from minialex.checking.testing.algorithms import every_algorithm
from minialex.checking.testing.compare import assert_close, rounding
from minialex.errors import KernelError
from minialex.kernels import find_kernel

SGD, ADAM = every_algorithm("sgd"), every_algorithm("adam")
GRADIENTS = (0.5, -1.25, 2.0, 0.125)
START = 1.5
EXACT = rounding(np.float64)


@SGD
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_sgd_without_momentum(algorithm, decay):
    parameter, expected = np.full((2, 3), START), START
    for gradient in GRADIENTS:
        find_kernel("sgd.update", **algorithm)(
            parameter,
            np.full((2, 3), gradient),
            None,
            lr=0.3,
            momentum=0.0,
            weight_decay=decay,
            nesterov=False,
        )
        expected -= 0.3 * (gradient + decay * expected)
        assert_close(parameter, np.full((2, 3), expected), EXACT)


@SGD
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_with_momentum(algorithm, nesterov):
    parameter, velocity = np.full(3, START), np.zeros(3)
    expected, v = START, 0.0
    for gradient in GRADIENTS:
        find_kernel("sgd.update", **algorithm)(
            parameter,
            np.full(3, gradient),
            velocity,
            lr=0.3,
            momentum=0.9,
            weight_decay=0.1,
            nesterov=nesterov,
        )
        d = gradient + 0.1 * expected
        v = 0.9 * v + d
        expected -= 0.3 * (d + 0.9 * v if nesterov else v)
        # The terms cancel: rounding is relative to what they are.
        assert_close(velocity, np.full(3, v), EXACT, scale=START)
        assert_close(parameter, np.full(3, expected), EXACT, scale=START)


def test_sgd_momentum_under_a_constant_gradient_is_a_geometric_sum():
    parameter, velocity = np.zeros(1), np.zeros(1)
    for _ in range(30):
        find_kernel("sgd.update", algo="plain")(
            parameter, np.ones(1), velocity, lr=1.0, momentum=0.5, weight_decay=0.0, nesterov=False
        )
    # v = 2 (1 - 0.5**30), and the sum of all v so far is 2 * 30 - v.
    assert_close(velocity, np.array([2 * (1 - 0.5**30)]), EXACT)
    assert_close(parameter, np.array([-(2 * 30 - 2 * (1 - 0.5**30))]), EXACT)


@ADAM
@pytest.mark.parametrize("decoupled", [False, True], ids=["adam", "adamw"])
def test_adam(algorithm, decoupled):
    lr, beta1, beta2, eps, decay = 0.1, 0.8, 0.95, 1e-3, 0.2
    parameter, m, v = np.full(3, START), np.zeros(3), np.zeros(3)
    theta, first, second = START, 0.0, 0.0
    for t, gradient in enumerate(GRADIENTS, start=1):
        find_kernel("adam.update", **algorithm)(
            parameter,
            np.full(3, gradient),
            m,
            v,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            weight_decay=decay,
            decoupled=decoupled,
            step=t,
        )
        g = gradient
        if decoupled:
            theta -= lr * decay * theta
        else:
            g += decay * theta
        first = beta1 * first + (1 - beta1) * g
        second = beta2 * second + (1 - beta2) * g**2
        unbiased = first / (1 - beta1**t), second / (1 - beta2**t)
        theta -= lr * unbiased[0] / (math.sqrt(unbiased[1]) + eps)
        assert_close(m, np.full(3, first), EXACT)
        assert_close(v, np.full(3, second), EXACT)
        assert_close(parameter, np.full(3, theta), EXACT)


@ADAM
def test_the_first_step_of_adam_has_the_size_of_the_rate(algorithm):
    # m / (1 - beta1) is g and v / (1 - beta2) is g**2: the step is lr * sign(g), however small g is.
    parameter, gradient = np.zeros(3), np.array([1e-3, -2.0, 300.0])
    find_kernel("adam.update", **algorithm)(
        parameter,
        gradient,
        np.zeros(3),
        np.zeros(3),
        lr=0.01,
        beta1=0.9,
        beta2=0.999,
        eps=0.0,
        weight_decay=0.0,
        decoupled=False,
        step=1,
    )
    # The kernel's 1 - beta2 has lost three of its sixteen digits.
    assert_close(parameter, np.array([-0.01, 0.01, -0.01]), 1e3 * np.finfo(float).eps)


@pytest.mark.parametrize(
    ("operation", "states"), [("sgd.update", 1), ("adam.update", 2)], ids=["sgd", "adam"]
)
def test_parameters_larger_than_a_block_are_updated_throughout(operation, states):
    options = {
        "sgd.update": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
        "adam.update": {
            "lr": 0.1,
            "beta1": 0.9,
            "beta2": 0.99,
            "eps": 1e-8,
            "weight_decay": 0.1,
            "decoupled": False,
            "step": 1,
        },
    }[operation]
    size = 3 * 2**15 + 7
    gradient = np.random.default_rng(0).standard_normal((size, 2))
    whole = np.ones((size, 2)), *(np.zeros((size, 2)) for _ in range(states))
    kernel = find_kernel(operation, algo="plain")
    kernel(whole[0], gradient, *whole[1:], **options)
    # The update is element by element: any row alone must come out the same.
    for row in (0, 2**14 - 1, 2**14, 2**15, size - 1):
        alone = np.ones(2), *(np.zeros(2) for _ in range(states))
        kernel(alone[0], gradient[row], *alone[1:], **options)
        for mine, right in zip(whole, alone, strict=True):
            assert_close(mine[row], right, 0)


@pytest.mark.parametrize("operation", ["sgd.update", "adam.update"])
def test_a_parameter_that_would_be_updated_as_a_copy_is_refused(operation):
    options = {
        "sgd.update": {"lr": 1, "momentum": 0.5, "weight_decay": 0, "nesterov": False},
        "adam.update": {
            "lr": 1,
            "beta1": 0.9,
            "beta2": 0.9,
            "eps": 1,
            "weight_decay": 0,
            "decoupled": False,
            "step": 1,
        },
    }[operation]
    states = [np.zeros((2, 3)) for _ in range(1 if operation == "sgd.update" else 2)]
    parameter = np.ones((3, 2)).T
    with pytest.raises(KernelError, match="is not C-contiguous"):
        find_kernel(operation, algo="plain")(parameter, np.ones((2, 3)), *states, **options)
    np.testing.assert_array_equal(parameter, 1)


@pytest.mark.parametrize("step", [0, -1, 1.5, True])
def test_adam_counts_its_steps_from_1(step):
    options = {"lr": 0.1, "beta1": 0.9, "beta2": 0.9, "eps": 1e-8, "weight_decay": 0.0, "decoupled": False}
    arrays = [np.ones(3) for _ in range(4)]
    with pytest.raises(KernelError, match=f"adam: step must be an integer 1 or more, not {step}"):
        find_kernel("adam.update", algo="reference")(*arrays, **options, step=step)
    np.testing.assert_array_equal(arrays, 1)
