"""Double backward of plain arrays: right ones, wrong ones, and how they fail."""

import numpy as np
import pytest

import minialex as ma
from minialex.checking import GradcheckError, constraints
from minialex.errors import MiniAlexError

RANDOM = np.random.default_rng(5)
X = RANDOM.standard_normal((2, 3))
W = RANDOM.standard_normal((3, 2))


def sin_vjp(u, x):
    return (u * np.cos(x),)


def sin_second(cotangents, u, x):
    (c,) = cotangents
    return c * np.cos(x), -c * u * np.sin(x)


def product_vjp(u, x, w):
    return u @ w.T, x.T @ u


def product_second(cotangents, u, x, w):
    of_x, of_w = cotangents
    return of_x @ w + x @ of_w, u @ of_w.T, of_x.T @ u


# Two results of different shapes, and integers, which have neither gradient nor cotangent.
INDEX = np.array([0, 2, 2])
VECTOR = RANDOM.standard_normal(4)


def ragged(x, index):
    return x[index] ** 2, np.array((x**3).sum())


def ragged_vjp(u, x, index):
    gradient = 3 * x**2 * u[1]
    np.add.at(gradient, index, 2 * u[0] * x[index])
    return gradient, None


def ragged_second(cotangents, u, x, index):
    c, nothing = cotangents
    assert nothing is None
    of_x = 6 * x * c * u[1]
    np.add.at(of_x, index, 2 * u[0] * c[index])
    return (2 * x[index] * c[index], np.array((3 * x**2 * c).sum())), of_x, None


def failure(*arguments, **options) -> GradcheckError:
    with pytest.raises(GradcheckError) as caught:
        ma.check_second_vjp(*arguments, **options)
    return caught.value


def test_both_orders_are_reported():
    report = ma.check_second_vjp(np.sin, sin_vjp, sin_second, [X])
    assert (report.first.compared, report.second.compared) == (6, 12)
    assert (report.compared, report.zeros) == (18, report.first.zeros + report.second.zeros)
    assert (report.mode, report.weak, report.skipped, report.uncertain) == ("jacobian", False, 0, 0)
    assert report.worst_error <= report.tolerance
    first, second = str(report).splitlines()
    assert first.startswith("sin: 6 ")
    assert second.startswith("sin, second order (input 0 is the upstream gradient): 12 ")


def test_several_inputs_and_an_array_alone():
    report = ma.check_second_vjp(np.matmul, product_vjp, product_second, [X, W])
    # By u each gradient has as many as the first order, and by the other factor.
    assert report.first.compared == 24
    assert report.second.compared == 24 + 24
    ma.check_second_vjp(
        np.sin, lambda u, x: u * np.cos(x), lambda c, u, x: (c * np.cos(x), -c * u * np.sin(x)), X
    )


def test_several_results_and_integers():
    report = ma.check_second_vjp(ragged, ragged_vjp, ragged_second, [VECTOR, INDEX])
    assert report.first.compared == 3 + 4
    assert report.second.compared == 3 + 4 + 4

    def one_after_another(*arguments):
        upstreams, *rest = ragged_second(*arguments)
        return *upstreams, *rest

    flat = ma.check_second_vjp(ragged, ragged_vjp, one_after_another, [VECTOR, INDEX])
    assert flat.second.compared == report.second.compared


def test_wrt_leaves_out_gradients():
    report = ma.check_second_vjp(
        np.matmul,
        lambda u, x, w: (u @ w.T, None),
        lambda c, u, x, w: (c[0] @ w, 0 * x, None),
        [X, W],
        wrt=[0],
    )
    assert report.second.compared == 12


def test_options_hold_for_both_orders():
    report = ma.check_second_vjp(
        np.sin, sin_vjp, sin_second, [X], dtype="float32", mode="directions", directions=3
    )
    assert (report.weak, report.mode) == (True, "directions")
    assert (report.first.directions, report.second.directions) == (3, 3)

    def vjp(u, x):
        return (u / x,)

    def second(c, u, x):
        return c[0] / x, -c[0] * u / x**2

    near_zero = [np.array([1e-6, 0.1, 10.0])]
    ma.check_second_vjp(np.log, vjp, second, near_zero, constraints=constraints.positive)


def test_constrained_inputs_move_within_their_domain_in_both_orders():
    def entropy(p):
        return np.array(-(p * np.log(p)).sum())

    # Along the simplex a constant in the gradient does not matter.
    def vjp(u, p):
        return (-u * np.log(p),)

    def second(c, u, p):
        return np.array(-(c[0] * np.log(p)).sum()), -c[0] * u / p + c[0].sum()

    p = [np.array([0.1, 0.2, 0.3, 0.4])]
    report = ma.check_second_vjp(entropy, vjp, second, p, constraints=constraints.simplex)
    assert (report.first.compared, report.second.compared) == (3, 4 + 6)
    assert failure(entropy, vjp, second, p).check == "values"


def test_kinks_are_drawn_again_in_both_orders():
    def vjp(u, x):
        return (2 * u * np.maximum(x, 0),)

    def second(c, u, x):
        return 2 * c[0] * np.maximum(x, 0), 2 * c[0] * u * (x > 0)

    def square_of_positive(x):
        return np.maximum(x, 0) ** 2

    def redraw(generator):
        return [generator.uniform(0.5, 1, 3)]

    zeros = [np.zeros(3)]
    assert failure(square_of_positive, vjp, second, zeros).check in ("kinks", "nothing compared", "uncertain")
    report = ma.check_second_vjp(square_of_positive, vjp, second, zeros, redraw=redraw)
    assert report.second.redrawn + report.first.redrawn > 0


# Wrong ones


@pytest.mark.parametrize(
    ("wrong", "which"),
    [
        (lambda c, u, x, w: (c[0] @ w, u @ c[1].T, c[0].T @ u), 0),
        (lambda c, u, x, w: (c[0] @ w + x @ c[1], -u @ c[1].T, c[0].T @ u), 1),
        (lambda c, u, x, w: (c[0] @ w + x @ c[1], u @ c[1].T, 1.001 * c[0].T @ u), 2),
    ],
    ids=["missing term", "sign", "factor"],
)
def test_a_wrong_second_order_is_caught(wrong, which):
    error = failure(np.matmul, product_vjp, wrong, [X, W])
    assert (error.check, error.input) == ("values", which)
    assert error.operation == "matmul, second order (input 0 is the upstream gradient)"


def test_a_wrong_first_order_is_caught_first():
    error = failure(np.matmul, lambda u, x, w: (u @ w.T, 2 * x.T @ u), product_second, [X, W])
    assert (error.check, error.input, error.operation) == ("values", 1, "matmul")


def test_one_of_several_upstream_gradients_is_named():
    def wrong(*arguments):
        (first, second), *rest = ragged_second(*arguments)
        return (first, 1.01 * second), *rest

    error = failure(ragged, ragged_vjp, wrong, [VECTOR, INDEX])
    assert (error.check, error.input) == ("values", 1)
    assert "the first 2 inputs are the upstream gradients" in error.operation


@pytest.mark.parametrize(
    ("wrong", "check", "says"),
    [
        (lambda c, u, x: None, "result", "second gives None for 2 inputs"),
        (lambda c, u, x: (c[0] * np.cos(x),), "result", "second gives 1 gradients for 2 inputs"),
        (lambda c, u, x: (c[0] * np.cos(x), u.__imul__(2)), "changed input", "second changes input 0"),
        (
            lambda c, u, x: (c[0].__imul__(2), -c[0] * u * np.sin(x)),
            "changed input",
            "second changes the upstream",
        ),
        (lambda c, u, x: (c[0] * np.cos(x), 0 * x + 1), "zero upstream", "gradient of input 1 is not zero"),
        (lambda c, u, x: (c[0] * np.cos(x), np.nan * x), "finite", "6 values that are not finite"),
        (lambda c, u, x: (c[0] * np.cos(x), 1 / 0), "raises", "second raises ZeroDivisionError"),
    ],
)
def test_behaviour_of_the_second_order_is_checked(wrong, check, says):
    error = failure(np.sin, sin_vjp, wrong, [X])
    assert error.check == check
    assert says in error.summary


def test_the_upstream_gradients_of_several_results_come_as_a_tuple():
    def wrong(*arguments):
        upstreams, *rest = ragged_second(*arguments)
        return upstreams[0], *rest

    error = failure(ragged, ragged_vjp, wrong, [VECTOR, INDEX])
    assert (
        "second gives one array for the gradients of the upstream gradients; it should give a tuple of 2"
        in str(error)
    )


def test_what_is_no_function_is_refused():
    with pytest.raises(MiniAlexError, match="second must be a function, not 3"):
        ma.check_second_vjp(np.sin, sin_vjp, 3, [X])


def test_a_failure_prints_lines_that_repeat_it():
    def wrong(c, u, x):
        return c[0] * np.cos(x), c[0] * u * np.sin(x)

    first = failure(np.sin, sin_vjp, wrong, [X], seed=3)
    with pytest.raises(GradcheckError) as again:
        exec(first.reproduce, {"forward": np.sin, "vjp": sin_vjp, "second": wrong})
    assert (again.value.check, again.value.index, again.value.numeric) == (
        first.check,
        first.index,
        first.numeric,
    )


def test_the_fixture_has_it(gradcheck):
    assert gradcheck.second_vjp(np.sin, sin_vjp, sin_second, [X]).compared == 18
