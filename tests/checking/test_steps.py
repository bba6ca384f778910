"""Smooth functions that move faster than the usual step, or at another scale, have no kinks.

The derivatives are written down by hand. Each is checked as it is, and again with a wrong factor or sign.
"""

import numpy as np
import pytest

from minialex.checking import GradcheckError, check_vjp

SPREAD = np.array([1.3, 2.9, 4.1, 6.2, 8.8])
TINY = 1e-6


def elementwise(f, slope, x):
    return f, lambda u, x: (u * slope(x),), x


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def softmax_vjp(u, x):
    y = softmax(x)
    return (y * (u - (u * y).sum()),)


def of_unit_length(x):
    return x / np.sqrt((x * x).sum())


def of_unit_length_vjp(u, x):
    norm = np.sqrt((x * x).sum())
    return (u / norm - x * ((u * x).sum() / norm**3),)


def huber(x):
    return np.where(abs(x) < 1, x * x / 2, abs(x) - x.dtype.type(0.5))


NEAR_0 = {
    f"{name} at {scale:g}": elementwise(f, slope, scale * SPREAD)
    for scale in (1e-3, 1e-6)
    for name, f, slope in (
        ("log", np.log, lambda x: 1 / x),
        ("1/x", lambda x: 1 / x, lambda x: -1 / x**2),
        ("sqrt", np.sqrt, lambda x: 1 / (2 * np.sqrt(x))),
        ("x^-1/2", lambda x: x**-0.5, lambda x: -(x**-1.5) / 2),
    )
}
OTHERS = {
    "log at 1e-30": elementwise(np.log, lambda x: 1 / x, 1e-30 * SPREAD),
    "sin at 300": elementwise(np.sin, np.cos, 300 + SPREAD),
    "exp at 80": elementwise(np.exp, np.exp, 75 + SPREAD),
    "tanh(x/s)": elementwise(
        lambda x: np.tanh(x / TINY), lambda x: (1 - np.tanh(x / TINY) ** 2) / TINY, 1e-7 * (SPREAD - 5)
    ),
    "exp(x/s)": elementwise(
        lambda x: np.exp(x / TINY), lambda x: np.exp(x / TINY) / TINY, TINY * (SPREAD - 5)
    ),
    "x^3 at 1e8": elementwise(lambda x: x**3, lambda x: 3 * x**2, 1e8 * SPREAD),
    "unit length at 1e-3": (of_unit_length, of_unit_length_vjp, 1e-3 * SPREAD),
    "unit length at 1e-5": (of_unit_length, of_unit_length_vjp, 1e-5 * SPREAD),
    "Huber's loss near its joint": elementwise(
        huber, lambda x: np.clip(x, -1, 1), np.array([1 - 5e-5, 1 + 5e-5, -1 + 3e-5, 0.3, -2])
    ),
}
# Neighbouring numbers of float32 lie too far apart there for any step.
FLOAT64_ONLY = {
    "sin at 1e4": elementwise(np.sin, np.cos, 1e4 + SPREAD),
    "sin at 1e6": elementwise(np.sin, np.cos, 1e6 + SPREAD),
    "sin(1e6 x)": elementwise(lambda x: np.sin(1e6 * x), lambda x: 1e6 * np.cos(1e6 * x), SPREAD),
    "exp at 300": elementwise(np.exp, np.exp, 300 + SPREAD),
    "softmax at 1e3": (softmax, softmax_vjp, 1e3 + 0.3 * SPREAD),
    "softmax at 1e4": (softmax, softmax_vjp, 1e4 + 0.3 * SPREAD),
    "a large constant": elementwise(lambda x: 1.7e9 + x, np.ones_like, SPREAD),
}
CASES = [
    pytest.param(case, dtype, id=f"{name}, {np.dtype(dtype)}")
    for dtype, cases in (
        (np.float64, NEAR_0 | OTHERS | FLOAT64_ONLY),
        (np.float32, NEAR_0 | OTHERS),
    )
    for name, case in cases.items()
]


def scaled(vjp, factor):
    def wrong(u, x):
        return tuple((factor * g).astype(x.dtype) for g in vjp(u, x))

    return wrong


@pytest.mark.parametrize("mode", ["jacobian", "directions"])
@pytest.mark.parametrize(("case", "dtype"), CASES)
def test_smooth_is_not_a_kink_and_wrong_is_wrong(case, dtype, mode):
    forward, vjp, x = case
    report = check_vjp(forward, scaled(vjp, 1), [x], dtype=dtype, mode=mode)
    # In float32 a direction may be one along which a slope is small for its terms.
    assert report.skipped + report.uncertain <= (1 if dtype == np.float32 and mode == "directions" else 0)
    # Each element has at least its own derivative, and each direction a slope.
    assert report.compared >= (5 if mode == "jacobian" else 7)
    for factor in (1.001, -1) if dtype == np.float64 else (1.1, -1):
        with pytest.raises(GradcheckError) as caught:
            check_vjp(forward, scaled(vjp, factor), [x], dtype=dtype, mode=mode)
        assert caught.value.check == "values"


def test_cosine_for_sine_is_wrong_far_from_0():
    for x in (300 + SPREAD, 1e4 + SPREAD, 1e6 + SPREAD):
        with pytest.raises(GradcheckError) as caught:
            check_vjp(np.sin, lambda u, x: (u * np.sin(x),), [x])
        assert caught.value.check == "values"
        # The derivative that it was compared with is the right one.
        assert caught.value.numeric == pytest.approx(np.cos(x[caught.value.index]), abs=1e-5)
        assert caught.value.step < 1e-4


# Kinks stay kinks, and next to one there is a derivative

FAR = [1.0, -1.0, 2.0, -0.5, 0.7]


def relu(x):
    return np.maximum(x, 0)


def relu_vjp(u, x):
    return (u * (x > 0),)


@pytest.mark.parametrize(
    ("unit", "dtype"),
    [(1e-3, np.float64), (1, np.float64), (1e5, np.float64), (1e-3, np.float32), (1, np.float32)],
)
def test_kinks_stay_kinks(dtype, unit):
    x = unit * np.array([0.0, *FAR])
    assert check_vjp(relu, relu_vjp, [x], dtype=dtype, max_skipped=0.25).skipped == 1
    assert check_vjp(np.abs, lambda u, x: (u * np.sign(x),), [x], dtype=dtype).skipped == 1


def test_ties_stay_kinks():
    x = np.array([[1.0, 1.0, 0.0], [3.0, 1.0, 2.0]])

    def maximum_vjp(u, x):
        return (u[:, None] * (np.arange(3) == x.argmax(1)[:, None]),)

    assert check_vjp(lambda x: x.max(1), maximum_vjp, [x], max_skipped=0.7).skipped == 2


@pytest.mark.parametrize("distance", [9e-5, 5e-5, 1e-4 / 3, 1e-5, 3e-7, 1e-9, 1e-14])
def test_next_to_a_kink_the_derivative_is_right_or_left_out(distance):
    for f, slope in ((relu, lambda x: x > 0), (np.abs, np.sign)):
        x = np.array([distance, -distance, *FAR])
        report = check_vjp(f, lambda u, x, slope=slope: (u * slope(x),), [x], max_skipped=0.3)
        assert report.skipped == 0
        with pytest.raises(GradcheckError) as caught:
            check_vjp(f, lambda u, x, slope=slope: (1.001 * u * slope(x),), [x], max_skipped=0.3)
        assert caught.value.check == "values"


def test_the_usual_case_costs_four_evaluations_a_derivative():
    calls = 0

    def tanh(x):
        nonlocal calls
        calls += 1
        return np.tanh(x)

    def tanh_vjp(u, x):
        return (u * (1 - np.tanh(x) ** 2),)

    counts = []
    for n in (10, 30):
        calls = 0
        check_vjp(tanh, tanh_vjp, [np.linspace(-2, 2, n)])
        counts.append(calls)
    # A derivative whose error is plain needs fewer: that depends on how a processor rounds tanh.
    assert 3.5 * 20 < counts[1] - counts[0] <= 4 * 20


def test_outside_its_domain_a_function_is_not_blamed_for_its_warnings():
    # pytest makes errors of warnings: log is evaluated at numbers below 0 on the way.
    assert check_vjp(np.log, lambda u, x: (u / x,), [1e-6 * SPREAD]).skipped == 0


@pytest.mark.parametrize("mode", ["jacobian", "directions"])
@pytest.mark.parametrize("shape", [(0,), (2, 0), ()])
def test_nothing_and_a_single_number_are_inputs_too(shape, mode):
    x = np.full(shape, 0.5)
    options = {"mode": mode, "min_compared": min(1, x.size)}
    report = check_vjp(np.tanh, lambda u, x: (u * (1 - np.tanh(x) ** 2),), [x], **options)
    assert report.compared == (x.size if mode == "jacobian" or not x.size else 8)
