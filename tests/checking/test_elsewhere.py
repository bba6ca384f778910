"""Gradients that are right at the inputs and the first step only; and right ones that stay so."""

import numpy as np
import pytest

from minialex import GradcheckError, MiniAlexError, check_vjp
from minialex.checking import constraints

X = np.random.default_rng(3).standard_normal(6)


def cube(x):
    return x**3


def cube_vjp(u, x):
    return (3 * u * x**2,)


def refused(*arguments, **options) -> GradcheckError:
    with pytest.raises(GradcheckError) as caught:
        check_vjp(*arguments, **options)
    return caught.value


class KeptByFirstCall:
    x = None

    def __call__(self, u, x):
        if self.x is None:
            self.x = x.copy()
        return cube_vjp(u, self.x)


class KeptByShape(dict):
    def __call__(self, u, x):
        return cube_vjp(u, self.setdefault(x.shape, x.copy()))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("vjp", [KeptByFirstCall, KeptByShape])
def test_values_kept_from_an_earlier_call(vjp, dtype):
    error = refused(cube, vjp(), [X], dtype=dtype)
    assert error.check == "values"
    assert "at inputs beside these" in error.summary


def test_a_gradient_that_is_right_at_these_inputs_alone():
    x = np.ones(3)
    assert refused(np.square, lambda u, x: (2 * u * np.ones(3),), [x]).check == "values"


class Counted:
    def __init__(self, period):
        self.calls, self.period = 0, period

    def off(self) -> float:
        self.calls += 1
        return 1.01 if self.calls % self.period == 0 else 1.0


@pytest.mark.parametrize("period", [2, 3, 5, 7])
def test_a_gradient_that_is_another_one_now_and_then(period):
    counted = Counted(period)
    error = refused(cube, lambda u, x: (counted.off() * cube_vjp(u, x)[0],), [X])
    assert error.check == "not deterministic"


def test_a_result_that_is_another_one_now_and_then():
    counted = Counted(7)
    assert refused(lambda x: counted.off() * cube(x), cube_vjp, [X]).check == "not deterministic"


def test_a_first_gradient_that_is_wrong():
    calls = []

    def vjp(u, x):
        calls.append(u)
        return ((1.01 if len(calls) == 1 else 1) * cube_vjp(u, x)[0],)

    assert refused(cube, vjp, [X]).check == "not deterministic"


@pytest.mark.parametrize(
    ("forward", "derivative", "x"),
    [
        (lambda x: x + x * np.exp(-((x / 1e-6) ** 2)), np.ones_like, np.zeros(3)),
        (lambda x: np.sin(x) + (x - X) * np.exp(-(((x - X) / 1e-6) ** 2)), np.cos, X),
    ],
    ids=["at 0", "at X"],
)
def test_a_term_that_has_died_away_at_the_first_step(forward, derivative, x):
    error = refused(forward, lambda u, x: (u * derivative(x),), [x])
    assert error.check == "values"
    assert "with a small step" in error.summary


@pytest.mark.parametrize("power", [17, 20, 26])
def test_a_term_that_repeats_itself_with_powers_of_two(power):
    def forward(x):
        return x**2 + np.sin(2 * np.pi * 2.0**power * x) / 2**power

    assert refused(forward, lambda u, x: (2 * u * x,), [X]).check in ("values", "kinks", "uncertain")


def test_a_right_gradient_of_a_function_that_repeats_itself_with_powers_of_two():
    k = 2 * np.pi * 2.0**17
    report = check_vjp(lambda x: x**2 + np.sin(k * x) / k, lambda u, x: (u * (2 * x + np.cos(k * x)),), [X])
    assert report.compared == 6


# The complex step


NOT_ANALYTIC = {
    "absolute": (lambda x: np.abs(x) * x, lambda u, x: (u * np.abs(x),)),
    "vdot": (lambda x: np.asarray(np.vdot(x, x) + x.sum()), lambda u, x: (u * np.ones_like(x),)),
    "conjugate": (lambda x: x * np.conj(x) + x, lambda u, x: (u * np.ones_like(x),)),
}


@pytest.mark.parametrize("name", NOT_ANALYTIC)
def test_the_complex_step_of_a_function_that_is_not_analytic(name):
    error = refused(*NOT_ANALYTIC[name], [X], method="complex")
    assert error.check == "values"


def test_the_complex_step_says_which_method_to_take():
    forward, _ = NOT_ANALYTIC["conjugate"]
    error = refused(forward, lambda u, x: (u * np.ones_like(x),), [X], method="complex")
    assert 'method="central"' in error.summary


@pytest.mark.parametrize("name", ["conjugate", "vdot"])
def test_the_right_gradient_of_these_passes_with_central_differences(name):
    assert check_vjp(NOT_ANALYTIC[name][0], lambda u, x: (u * (2 * x + 1),), [X]).compared == 6


def test_the_complex_step_of_an_analytic_function():
    assert check_vjp(np.exp, lambda u, x: (u * np.exp(x),), [X], method="complex").compared == 6


# Right ones


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("forward", "vjp", "x"),
    [
        (cube, cube_vjp, X),
        (np.log, lambda u, x: (u / x,), np.abs(X)),
        (np.sqrt, lambda u, x: (u / (2 * np.sqrt(x)),), 1e-6 * np.abs(X)),
        (lambda x: np.maximum(x, 0), lambda u, x: (u * (x > 0),), X),
        (lambda x: np.sort(x), lambda u, x: (u[np.argsort(np.argsort(x))],), X),
        (np.arccos, lambda u, x: (-u / np.sqrt(1 - x**2),), np.array([0.999, -0.9999, 0.5])),
    ],
    ids=["cube", "log", "sqrt", "relu", "sort", "arccos"],
)
def test_right_gradients_pass(forward, vjp, x, dtype):
    assert check_vjp(forward, vjp, [x], dtype=dtype).compared > 0


def test_a_function_that_is_defined_near_the_inputs_only():
    def forward(x):
        if not np.allclose(x, X, rtol=0, atol=1e-3):
            raise ValueError("too far away")
        return x**3

    assert check_vjp(forward, cube_vjp, [X]).compared == 6


def test_numbers_that_are_not_finite_may_stand_beside_others():
    x = np.r_[X, np.nan, np.inf]
    fine = np.isfinite(x)

    def forward(x):
        return np.where(fine, np.where(fine, x, 0) ** 2, 0)

    report = check_vjp(forward, lambda u, x: (2 * u * np.where(fine, x, 0),), [x])
    assert report.compared == 6


def test_inputs_drawn_again_are_told():
    report = check_vjp(np.abs, lambda u, x: (u * np.sign(x),), [np.zeros(2)], redraw=lambda g: [g.random(2)])
    assert "of inputs that were drawn again 1 time" in str(report)


@pytest.mark.parametrize(
    ("redraw", "said"),
    [
        (lambda: [np.ones(2)], "redraw raises TypeError"),
        (lambda g: [np.ones(3)], r"redraw must give inputs of the shapes \[\(2,\)\], not \[\(3,\)\]"),
        (lambda g: None, "what redraw gives"),
        (lambda g: 1 / 0, "redraw raises ZeroDivisionError"),
    ],
)
def test_what_redraw_may_give(redraw, said):
    with pytest.raises(MiniAlexError, match=said) as caught:
        check_vjp(np.abs, lambda u, x: (u * np.sign(x),), [np.zeros(2)], redraw=redraw)
    assert not isinstance(caught.value, GradcheckError)


@pytest.mark.parametrize("taken", [None, 3, "left"])
def test_what_branches_may_give(taken):
    with pytest.raises(MiniAlexError, match="branches must give a list of arrays"):
        check_vjp(cube, cube_vjp, [X], branches=lambda x: taken)


def test_branches_that_raise():
    assert "branches raises KeyError" in refused(cube, cube_vjp, [X], branches=lambda x: {}[1]).summary


def test_a_branch_that_changes_with_every_step_hides_nothing():
    """What changes is not a branch: the slopes on both sides are the same."""
    wrong = np.r_[5, np.ones(5)]
    error = refused(np.square, lambda u, x: (2 * u * x * wrong,), [X], branches=lambda x: [x[:1].copy()])
    assert (error.check, error.index) == ("values", (0,))


def test_a_result_that_changes_its_shape():
    error = refused(lambda x: x[: 6 if (x == X).all() else 5] ** 3, cube_vjp, [X])
    assert error.check == "result"
    assert "(5,)" in error.summary


@pytest.mark.parametrize("argument", ["name", "kernel"])
def test_words_are_words(argument):
    with pytest.raises(MiniAlexError, match=f"{argument} must be a str, not 3"):
        check_vjp(cube, cube_vjp, [X], **{argument: 3})


def test_an_input_is_named_once():
    with pytest.raises(MiniAlexError, match="each input once"):
        check_vjp(lambda x, y: x * y, lambda u, x, y: (u * y, u * x), [X, X + 1], wrt=[0, 0])


def test_so_many_axes_cannot_be_checked():
    with pytest.raises(MiniAlexError, match="40 axes"):
        check_vjp(cube, cube_vjp, [np.ones((1,) * 40)])


def test_a_report_says_along_how_many_moves_constrained_inputs_were_checked():
    a = np.array([[2.0, 0.5], [0.5, 1.0]])

    def of(**options):
        return str(
            check_vjp(
                np.linalg.det, lambda u, a: (u * np.linalg.det(a) * np.linalg.inv(a).T,), [a], **options
            )
        )

    assert of().endswith("every derivative")
    assert of(constraints=constraints.symmetric).endswith("along 3 moves that the constraints allow")
    assert of(constraints=constraints.along([np.eye(2)])).endswith("along 1 move that the constraints allow")
    # Positive numbers move in any direction.
    assert of(constraints=constraints.positive).endswith("every derivative")
