"""Numerical derivatives: their values, the error they claim, and the kinks they see."""

import math

import numpy as np
import pytest

from minialex.checking.gradients.differences import central, complex_step

STEP = 1e-4

# f, f', x: functions whose derivative is known in closed form.
SMOOTH = [
    (math.exp, math.exp, 0.7),
    (math.sin, math.cos, 2.0),
    (lambda x: x**5, lambda x: 5 * x**4, 1.3),
    (lambda x: 1 / (1 + x * x), lambda x: -2 * x / (1 + x * x) ** 2, 0.5),
    (lambda x: math.exp(10 * x), lambda x: 10 * math.exp(10 * x), 0.3),
    (lambda x: 3 * x - 2, lambda x: 3.0, 100.0),
]


def derivative(f, x, step=STEP):
    return central(lambda t: np.array([f(x + t)]), np.array([f(x)]), step, np.float64)


@pytest.mark.parametrize(("f", "slope", "x"), SMOOTH)
def test_value_is_within_the_error_it_claims(f, slope, x):
    found = derivative(f, x)
    assert abs(found.value[0] - slope(x)) <= found.error[0]
    # And the claim is worth something: a millionth of the scale, usually far less.
    assert found.error[0] < 1e-6 * max(abs(slope(x)), abs(f(x)))


def test_richardson_is_of_fourth_order():
    # exp has all derivatives equal: the error falls by 16 when the step is halved.
    errors = [abs(derivative(math.exp, 0.0, step).value[0] - 1) for step in (0.2, 0.1)]
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.05)


@pytest.mark.parametrize("shift", [0.0, 0.3, -0.45, 0.6, 0.9])
def test_a_kink_within_the_step_is_seen(shift):
    def f(x):
        return max(x - shift * STEP, 0.0) * 2 + 0.1 * x

    found = derivative(f, 0.0)
    # Not the slope on either side, and not known to be any.
    assert found.error[0] > 0.1
    assert found.jump[0] > 0.1


@pytest.mark.parametrize("distance", [1.5, 10, 1e4])
def test_a_kink_beyond_the_step_is_not(distance):
    found = derivative(lambda x: abs(x - distance * STEP), 0.0)
    assert found.error[0] < 1e-7
    assert found.value[0] == pytest.approx(-1, abs=1e-9)


def test_a_jump_and_a_nan_are_kinks():
    assert derivative(lambda x: float(x > 0), 0.0).error[0] > 100
    assert derivative(lambda x: math.nan if x < 0 else x, 0.0).error[0] == math.inf


def test_only_the_outputs_with_a_kink_are_marked():
    found = central(lambda t: np.array([max(t, 0), t * t, math.sin(t)]), np.zeros(3), STEP, np.float64)
    assert (found.error > 0.1).tolist() == [True, False, False]


def test_complex_step_is_exact():
    found = complex_step(lambda t: np.exp(np.array([0.7 + t])) / (1 + np.array([0.7 + t]) ** 2), np.float64)
    x = 0.7
    exact = math.exp(x) * (1 + x * x - 2 * x) / (1 + x * x) ** 2
    assert found.value[0] == pytest.approx(exact, rel=4e-16)
