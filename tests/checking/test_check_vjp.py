"""The checker itself: what it takes, what it reports, and how it fails."""

import contextlib
import pickle
import re

import numpy as np
import pytest

import minialex as ma
import minialex.functional as F
from minialex.checking import GradcheckError, check_vjp, gradcheck, gradgradcheck
from minialex.checking.kernels.rows import Row
from minialex.checking.report import InputReport, Report
from minialex.errors import MiniAlexError


def cube(x):
    return x**3


def cube_vjp(upstream, x):
    return (upstream * 3 * x**2,)


X = np.random.default_rng(0).standard_normal((3, 4))


def relu(x):
    return np.maximum(x, 0)


def relu_vjp(upstream, x):
    return (upstream * (x > 0),)


# What is reported


def test_a_right_gradient_is_reported():
    report = check_vjp(cube, cube_vjp, [X])
    assert report.name == "cube"
    assert report.mode == "jacobian"
    assert not report.weak
    assert (report.compared, report.zeros) == (12, 132)
    assert report.skipped == 0
    assert 0 < report.worst_error <= report.tolerance < 1e-7
    assert "12 nonzero derivatives agree" in str(report)


def test_the_error_that_is_reported_is_within_the_tolerance_beside_it():
    # The tolerances differ from element to element: near 0 the root is steep, and known less well.
    def root_vjp(u, x):
        return (u / (2 * np.sqrt(x)),)

    for x in ([1e-10, 1], [1, 1e-10], [1e-10, 1e-5, 1, 4, 9]):
        for mode in ("jacobian", "directions"):
            report = check_vjp(np.sqrt, root_vjp, [np.array(x)], mode=mode)
            assert 0 < report.worst_error <= report.tolerance
            shown = re.search(r"agree to a relative error of (\S+) \(tolerance (\S+)\)", str(report))
            assert float(shown[1]) <= float(shown[2])


def test_the_worst_of_several_inputs_and_cases_is_a_pair():
    # The first uses more of its tolerance than the second, whose error is larger.
    report = Report("f", "", "jacobian", "float64", 1e-4, 0)
    report.inputs += [
        InputReport(0, 1, worst_error=2e-12, tolerance=4e-12),
        InputReport(1, 1, worst_error=1e-9, tolerance=1e-8),
    ]
    assert (report.worst_error, report.tolerance) == (2e-12, 4e-12)
    row = Row("f", "", 1)
    for each in report.inputs:
        row.add(Report("f", "", "jacobian", "float64", 1e-4, 0, inputs=[each]))
    assert (row.worst_error, row.tolerance) == (2e-12, 4e-12)
    assert (row.to_dict()["worst_error"], row.to_dict()["tolerance"]) == (2e-12, 4e-12)


def test_directions_are_labelled_and_counted():
    report = check_vjp(cube, cube_vjp, [X], mode="directions", directions=5)
    assert (report.mode, report.directions, report.compared) == ("directions", 5, 5)
    assert "5 random directions (a quick check)" in str(report)


def test_large_inputs_are_checked_along_directions():
    x = np.random.default_rng(0).standard_normal(600)
    assert check_vjp(cube, cube_vjp, [x]).mode == "directions"
    assert check_vjp(cube, cube_vjp, [x[:400]]).mode == "jacobian"


def test_float32_is_weak_and_says_so():
    report = check_vjp(cube, cube_vjp, [X], dtype=np.float32)
    assert report.weak
    assert "a weak check" in str(report)
    with pytest.raises(GradcheckError, match="the gradient of input 0 is wrong"):
        check_vjp(cube, lambda u, x: (u * 3 * x**2 * np.float32(1.05),), [X], dtype=np.float32)


def test_complex_step():
    assert check_vjp(cube, cube_vjp, [X], method="complex").worst_error < 1e-15
    with pytest.raises(GradcheckError, match=r"constant factor of 1\.0000001"):
        check_vjp(cube, lambda u, x: (u * 3 * x**2 * 1.0000001,), [X], method="complex")


def test_constants_are_passed_on():
    def take(x, index):
        return x[index]

    def take_vjp(u, x, index):
        g = np.zeros_like(x)
        np.add.at(g, index, u)
        return g, None

    assert check_vjp(take, take_vjp, [X, np.array([0, 2, 0])]).compared == 12


def test_wrt_chooses_inputs():
    def vjp(u, a, b):
        return u * b, None

    assert check_vjp(np.multiply, vjp, [X, X + 1], wrt=[0]).compared == 12
    with pytest.raises(GradcheckError, match="gives None for input 1"):
        check_vjp(np.multiply, vjp, [X, X + 1])


# What is refused


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dtype": np.float16}, "float16"),
        ({"dtype": np.int64}, "int64"),
        ({"mode": "full"}, "mode must be .*, not 'full'"),
        ({"method": "forward"}, "method must be .*, not 'forward'"),
        ({"directions": 0}, "directions must be .*, not 0"),
        ({"step": -1}, "step must be a number between 0 and 1, not -1"),
        ({"step": 0.0}, "step must be .*, not 0.0"),
        ({"step": float("nan")}, "step must be .*, not nan"),
        ({"step": "small"}, "step must be .*, not 'small'"),
        ({"dtype": "half a float"}, "dtype='half a float' cannot be checked"),
        ({"directions": "a"}, "directions must be an integer 1 or more, not 'a'"),
        ({"directions": 2.5}, r"directions must be .*, not 2\.5"),
        ({"seed": "a"}, "seed must be an integer 0 or more, not 'a'"),
        ({"seed": -1}, "seed must be .*, not -1"),
        ({"seed": 1.5}, r"seed must be .*, not 1\.5"),
        ({"max_skipped": 2}, "max_skipped must be a number from 0 to 1, not 2"),
        ({"max_skipped": -0.1}, r"max_skipped must be .*, not -0\.1"),
        ({"max_skipped": float("nan")}, "max_skipped must be .*, not nan"),
        ({"max_skipped": None}, "max_skipped must be .*, not None"),
    ],
)
def test_bad_options(options, says):
    x = ma.Tensor(X, requires_grad=True)
    for check in (
        lambda: check_vjp(cube, cube_vjp, [X], **options),
        lambda: gradcheck(cube, x, **options),
        lambda: gradgradcheck(cube, x, **options),
    ):
        with pytest.raises(MiniAlexError, match=says) as caught:
            check()
        assert not isinstance(caught.value, GradcheckError)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"forward": X}, r"forward must be a function, not an array of float64 and shape \(3, 4\)"),
        ({"vjp": None}, "vjp must be a function, not None"),
        ({"redraw": 3}, "redraw must be a function or None, not 3"),
        ({"branches": "relu"}, "branches must be a function or None, not 'relu'"),
        ({"inputs": [X.astype(np.float16)]}, "input 0 is float16, which cannot be checked: convert it to"),
        ({"inputs": X.astype(np.float16)}, "input 0 is float16"),
        ({"inputs": [np.arange(3), X.astype(np.float16)]}, "input 1 is float16"),
        ({"inputs": None}, "inputs must be an array or a sequence of arrays, not None"),
        ({"inputs": "x"}, "inputs must be an array or a sequence of arrays, not 'x'"),
        ({"wrt": [1]}, r"wrt must be a sequence of positions among 0, .*, not \(1,\)"),
        ({"wrt": 0}, "wrt must be a sequence.*, not 0"),
        ({"wrt": []}, r"wrt must be a sequence.*, not \(\)"),
        ({"wrt": [0, 1], "inputs": [X, np.arange(3)]}, r"wrt must be .* among 0, those .*, not \(0, 1\)"),
    ],
)
def test_bad_arguments(changed, says):
    with pytest.raises(MiniAlexError, match=says) as caught:
        check_vjp(**{"forward": cube, "vjp": cube_vjp, "inputs": [X]} | changed)
    assert "\n" not in str(caught.value)


def test_what_redraw_gives_is_looked_at_as_well():
    with pytest.raises(MiniAlexError, match="input 0 is float16"):
        check_vjp(relu, relu_vjp, np.zeros(4), redraw=lambda generator: np.ones(4, np.float16))
    with pytest.raises(MiniAlexError, match="what redraw gives must be an array"):
        check_vjp(relu, relu_vjp, np.zeros(4), redraw=lambda generator: None)


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_a_function_of_tensors_that_is_none(check):
    with pytest.raises(MiniAlexError, match=r"fn must be a function, not 3"):
        check(3, ma.Tensor(X, requires_grad=True))


@pytest.mark.parametrize("x", [X, X[0], np.array(0.5), np.float64(0.5), 0.5, ma.Tensor(X)])
def test_an_array_alone_is_one_input(x):
    size = np.asarray(x).size
    report = check_vjp(cube, cube_vjp, x)
    assert (len(report.inputs), report.compared) == (1, size)
    with pytest.raises(GradcheckError, match=r"the gradient of input 0 is wrong"):
        check_vjp(cube, lambda u, x: (u * 2 * x**2,), x)
    # Zeros are kinks, and what is drawn in their place is one input, too.
    redrawn = check_vjp(relu, relu_vjp, np.zeros(3), redraw=lambda generator: np.array([1.0, -2.0, 3.0]))
    assert (redrawn.redrawn, redrawn.compared) == (1, 2)


def test_nothing_to_differentiate():
    with pytest.raises(MiniAlexError, match="no floating-point"):
        check_vjp(cube, cube_vjp, [np.arange(3)])
    with pytest.raises(MiniAlexError, match="requires a gradient"):
        gradcheck(F.relu, ma.Tensor(X))
    with pytest.raises(MiniAlexError, match="complex"):
        check_vjp(cube, cube_vjp, [X * 1j])


# What the functions return


def times_two(u, x):
    return (2 * u,)


@pytest.mark.parametrize(
    ("forward", "vjp", "compared"),
    [
        (lambda x: (2 * x).tolist(), times_two, 12),
        (lambda x: 2 * x, lambda u, x: 2 * u, 12),
        (lambda x: 2 * x, lambda u, x: [(2 * u).tolist()], 12),
        (lambda x: float(2 * x.sum()), lambda u, x: (np.full(x.shape, 2 * u),), 12),
        (lambda x: ma.Tensor(2 * x), lambda u, x: (ma.Tensor(2 * u),), 12),
        (lambda x: (2 * x, x[0] ** 2), lambda u, x: (2 * u[0] + 2 * x * [[1], [0], [0]] * u[1],), 16),
        (lambda x: (2 * x,), lambda u, x: (2 * u[0],), 12),
    ],
    ids=[
        "a list",
        "one array",
        "a list of lists",
        "a number",
        "tensors",
        "several outputs",
        "one in a tuple",
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_results_are_taken_where_they_have_a_meaning(forward, vjp, compared, dtype):
    def cast(u, x):
        found = vjp(u, x)
        found = found if isinstance(found, tuple | list) else (found,)
        return tuple(np.asarray(g.numpy() if isinstance(g, ma.Tensor) else g, dtype) for g in found)

    def as_given(x):
        y = forward(x)
        return np.asarray(y, dtype) if isinstance(y, list) else y

    if dtype == np.float32:
        assert check_vjp(as_given, cast, [X], dtype=dtype).compared == compared
        return
    assert check_vjp(forward, vjp, [X]).compared == compared
    with pytest.raises(GradcheckError) as caught:
        check_vjp(forward, lambda u, x: (1.001 * cast(u, x)[0],), [X])
    assert caught.value.check == "values"


def test_a_number_is_the_gradient_of_a_number():
    assert check_vjp(lambda x: 3 * x, lambda u, x: 3 * float(u), [np.array(2.0)]).compared == 1


@pytest.mark.parametrize(
    ("forward", "vjp", "check", "says"),
    [
        (lambda x: None, times_two, "result", "forward gives None; it should return an array"),
        (lambda x: {"y": x}, times_two, "result", "forward gives a result of type dict; it should"),
        (lambda x: [x, x[0]], times_two, "result", "forward gives lists of different lengths; it should"),
        (lambda x: (), times_two, "result", "forward gives an empty tuple; it should return an array"),
        (lambda x: (x, x.astype("f4")), times_two, "dtype", "forward gives float32 as result 1 for inputs"),
        (lambda x: x.astype("f4"), times_two, "dtype", "forward gives float32 for inputs of float64"),
        (lambda x: x > 0, times_two, "dtype", "forward gives bool for inputs of float64"),
        (
            lambda x: 2 * x,
            lambda u, x: None,
            "result",
            "vjp gives None for 1 input; it should return a tuple",
        ),
        (lambda x: 2 * x, lambda u, x: (u, u), "result", "vjp gives 2 gradients for 1 input; it should"),
        (lambda x: 2 * x, lambda u, x: (None,), "values", "vjp gives None for input 0, which should be"),
        (lambda x: 2 * x, lambda u, x: ("2",), "result", "vjp gives an array of <U1 for input 0; it should"),
        (lambda x: 2 * x, lambda u, x: (2.0,), "shape", r"input 0 has shape \(\), not \(3, 4\)"),
        (lambda x: 2 * x, lambda u, x: (2 * u.T,), "shape", r"input 0 has shape \(4, 3\), not \(3, 4\)"),
        (lambda x: 2 * x, lambda u, x: ((2 * u).astype("f4"),), "dtype", "dtype float32, not float64"),
    ],
)
def test_results_without_a_meaning_are_refused_in_a_line(forward, vjp, check, says):
    with pytest.raises(GradcheckError, match=says) as caught:
        check_vjp(forward, vjp, [X])
    assert caught.value.check == check


def test_one_array_is_no_gradient_of_two_inputs():
    with pytest.raises(
        GradcheckError, match="vjp gives an array of float64 for 2 inputs; it should return a"
    ):
        check_vjp(np.multiply, lambda u, a, b: u * b, [X, X + 1])


@pytest.mark.parametrize(
    ("fn", "says"),
    [
        (lambda x: None, "the result is None; it should return a Tensor, or a tuple of them"),
        (lambda x: 3.0, "the result is of type float; it should return a Tensor"),
        (lambda x: x.numpy() * 2, "the result is of type ndarray; it should return a Tensor"),
        (lambda x: (x, None), "result 1 is None; it should return a Tensor"),
        (lambda x: (x, 1), "result 1 is of type int; it should return a Tensor"),
        (lambda x: {"y": x}, "the result is of type dict; it should return a Tensor"),
        (lambda x: [], "returns an empty list, no Tensor"),
        (lambda x: (x, ma.Tensor(np.arange(3))), "result 1 is int64 for inputs of float64; it should keep"),
        (lambda x: ma.Tensor(2 * x.numpy()), "nothing that it returns is part of the graph"),
        (lambda x: x.detach(), "nothing that it returns is part of the graph"),
        (lambda x: ma.grad((x * x).sum(), x)[0], "or by grad without create_graph=True"),
    ],
)
@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_what_is_no_function_of_tensors_is_refused_in_a_line(check, fn, says):
    with pytest.raises(GradcheckError, match=says):
        check(fn, ma.Tensor(X, requires_grad=True))


@pytest.mark.needs_gxx
@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_a_result_on_another_device_is_refused(check):
    with pytest.raises(GradcheckError, match=r"on cuda-host for inputs on cpu; leave out \.to\(\)"):
        check(lambda x: x.to("cuda-host"), ma.Tensor(X, requires_grad=True))


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_lists_of_tensors_and_constants_among_them(check):
    x, constant = ma.Tensor(X, requires_grad=True), ma.Tensor(X + 1)
    both = check(lambda x: [x * x, x.exp()], x).compared
    assert both == check(lambda x: (x * x, x.exp()), x).compared
    # A constant is an output, too, with derivatives of zero. A result that was cut off is none.
    check(lambda x: (x * x, constant), x)
    with pytest.raises(GradcheckError, match="the gradient of input 0 is wrong"):
        gradcheck(lambda x: (x * x, x.detach()), x)


# Functions that differentiate


def penalty(x, w):
    """How far the gradient's norm is from 1, at each row: Gulrajani et al. 2017."""
    y = (x @ w).tanh().sum()
    (g,) = ma.grad(y, x, create_graph=True)
    return ((g * g).sum(1) ** 0.5 - 1) ** 2


@pytest.mark.parametrize("mode", ["jacobian", "directions"])
@pytest.mark.parametrize("recording", [True, False])
def test_a_gradient_penalty_passes(mode, recording):
    x, w = ma.Tensor(X, requires_grad=True), ma.Tensor(X.T[:, :2].copy(), requires_grad=True)
    with contextlib.nullcontext() if recording else ma.no_grad():
        report = gradcheck(penalty, [x, w], mode=mode)
        assert report.compared == (3 * (4 + 8) if mode == "jacobian" else 2 * 8)
        assert gradgradcheck(penalty, [x, w], mode=mode).compared > 0
    assert x.grad is None


def test_a_wrong_gradient_penalty_is_caught():
    def wrong(x, w):
        """Half of its gradient is lost: the norm is taken for a constant."""
        y = (x @ w).tanh().sum()
        (g,) = ma.grad(y, x, create_graph=True)
        return ((g * g.detach()).sum(1) ** 0.5 - 1) ** 2

    x, w = ma.Tensor(X, requires_grad=True), ma.Tensor(X.T[:, :2].copy(), requires_grad=True)
    with pytest.raises(GradcheckError, match=r"a constant factor of 0\.5"):
        gradcheck(wrong, [x, w])


# Kinks


def test_a_kink_is_skipped_and_counted():
    x = X.copy()
    x[0, 0] = 0
    report = check_vjp(relu, relu_vjp, [x])
    positive = np.count_nonzero(x > 0)
    assert (report.compared, report.zeros, report.skipped) == (positive, 143 - positive, 1)
    # Other outputs do not move, whatever branch is taken.
    again = check_vjp(relu, relu_vjp, [x], branches=lambda x: [x > 0])
    assert (again.compared, again.zeros, again.skipped) == (report.compared, report.zeros, 1)


def test_too_many_kinks_fail_unless_redrawn():
    zeros, some = np.zeros(4), np.array([0.0, 0.0, 0.0, 1.0])
    with pytest.raises(GradcheckError, match="75% of the derivatives of input 0 that are not 0") as caught:
        check_vjp(relu, relu_vjp, [some], max_skipped=0.7)
    assert caught.value.check == "kinks"
    with pytest.raises(GradcheckError, match="100% of the derivatives of input 0 that are not 0") as caught:
        check_vjp(relu, relu_vjp, [zeros])
    assert caught.value.check == "kinks"
    report = check_vjp(relu, relu_vjp, [zeros], redraw=lambda random: [random.standard_normal(4)])
    assert report.redrawn == 1
    assert report.skipped == 0
    with pytest.raises(GradcheckError, match="4 lie at kinks") as caught:
        check_vjp(relu, relu_vjp, [zeros], max_skipped=1.0)
    assert caught.value.check == "nothing compared"
    assert check_vjp(relu, relu_vjp, [zeros], max_skipped=1.0, min_compared=0).skipped == 4


@pytest.mark.parametrize("elements", [1, 5, 12])
def test_the_zeros_beside_kinks_are_no_comparison(elements):
    """However many outputs do not depend on an element: a wrong gradient passed for 12 of them."""
    for factor in (1, -5):

        def vjp(u, x, factor=factor):
            return (factor * u * (x > 0),)

        with pytest.raises(GradcheckError) as caught:
            check_vjp(relu, vjp, [np.zeros(elements)])
        assert caught.value.check == "kinks"
        # Beside a kink there is a derivative.
        beside = np.full(elements, 1e-8)
        if factor == 1:
            assert check_vjp(relu, vjp, [beside]).compared == elements
        else:
            with pytest.raises(GradcheckError) as caught:
                check_vjp(relu, vjp, [beside])
            assert caught.value.check == "values"


def test_ties_of_a_pool_are_kinks():
    x = np.zeros((1, 1, 4, 4))
    x[0, 0, 0, 0] = x[0, 0, 1, 1] = 1
    tied = ma.Tensor(x, requires_grad=True)
    report = gradcheck(lambda x: F.max_pool2d(x, 2), tied, max_skipped=1.0, min_compared=0)
    assert report.skipped > 0


# How it fails


def test_the_error_carries_what_it_prints():
    def wrong(u, x):
        g = 3 * x**2 * u
        g[1, 2] *= 1.5
        return (g,)

    with pytest.raises(GradcheckError) as caught:
        check_vjp(cube, wrong, [X], name="my cube", kernel="mine", seed=11)
    error = caught.value
    assert isinstance(error, AssertionError)
    assert (error.operation, error.kernel, error.check) == ("my cube", "mine", "values")
    assert (error.input, error.index, error.output_index) == (0, (1, 2), (1, 2))
    assert error.numeric == pytest.approx(3 * X[1, 2] ** 2, rel=1e-8)
    assert error.analytic == pytest.approx(1.5 * error.numeric, rel=1e-8)
    assert error.absolute_error == pytest.approx(0.5 * error.numeric, rel=1e-7)
    assert error.relative_error == pytest.approx(1 / 3, rel=1e-7)
    assert error.tolerance < 1e-6
    assert error.seed == 11
    assert 2**-14 < error.step < 2**-11
    assert check_vjp(cube, cube_vjp, [X], step=2**-11).step == 2**-11
    assert (error.wrong, error.compared) == (1, 12)
    text = str(error)
    for part in (
        "my cube [mine]",
        "(1, 2)",
        repr(error.analytic),
        repr(error.numeric),
        "1 of 12",
        "seed 11",
    ):
        assert part in text


def test_the_error_goes_through_a_pickle():
    with pytest.raises(GradcheckError) as caught:
        check_vjp(cube, lambda u, x: (u * 2.99 * x**2,), [X], name="my cube", kernel="mine")
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert vars(again) == vars(caught.value)
    assert again.numeric == pytest.approx(3 * X[again.index] ** 2, rel=1e-8)


def test_the_lines_to_reproduce_do(capsys):
    def wrong(u, x):
        return (u * 3 * x**2 + 1e-3 * u,)

    with pytest.raises(GradcheckError) as first:
        check_vjp(cube, wrong, [X])
    with pytest.raises(GradcheckError) as again:
        exec(first.value.reproduce, {"forward": cube, "vjp": wrong})
    assert (again.value.index, again.value.analytic) == (first.value.index, first.value.analytic)

    class Bad(ma.Operation):
        saved_inputs = (0,)

        def forward(self, x):
            return x * x

        def backward(self, g):
            return (g * self.saved[0] * 2.002,)

    def function(x):
        return Bad()(x)

    with pytest.raises(GradcheckError) as first:
        gradcheck(function, ma.Tensor(X, requires_grad=True), seed=3)
    with pytest.raises(GradcheckError, match=r"1\.001") as again:
        exec(first.value.reproduce, {"fn": function})
    assert again.value.analytic == first.value.analytic


# Functions of tensors


def test_several_outputs_and_an_unused_input():
    a, b = ma.Tensor(X, requires_grad=True), ma.Tensor(X[0], requires_grad=True)
    report = gradcheck(lambda a, b: (a.exp(), a.sum(0)), [a, b])
    assert (report.compared, report.zeros) == (12 + 12, 16 * 16 - 24)
    assert gradgradcheck(lambda a, b: (a * b, b.sum()), [a, b]).compared > 0


def test_a_random_function_is_found_out():
    with pytest.raises(GradcheckError, match="seed its random numbers") as caught:
        gradcheck(lambda x: F.dropout(x, 0.5), ma.Tensor(X, requires_grad=True))
    assert caught.value.check == "not deterministic"


def test_a_wrong_second_derivative_is_found():
    class Square(ma.Operation):
        """Its gradient is right, but a constant: the second derivative is lost."""

        saved_inputs = (0,)

        def forward(self, x):
            return x * x

        def backward(self, g):
            return (g * (2 * self.saved[0].data),)

    x = ma.Tensor(X, requires_grad=True)
    gradcheck(lambda x: Square()(x), x)
    with pytest.raises(GradcheckError, match="all zero"):
        gradgradcheck(lambda x: Square()(x), x)


def test_lrn_without_its_cross_channel_term_is_found_at_the_paper_s_alpha():
    x = np.random.default_rng(0).standard_normal((1, 7, 2, 2))

    def forward(x):
        return ma.functional.local_response_norm(ma.Tensor(x)).numpy()

    def diagonal(u, x):
        squares = sum(
            np.roll(np.pad(x * x, ((0, 0), (2, 2), (0, 0), (0, 0))), s, 1)[:, 2:-2] for s in range(-2, 3)
        )
        return (u * (2 + 1e-4 * squares) ** -0.75,)

    with pytest.raises(GradcheckError) as caught:
        check_vjp(forward, diagonal, [x])
    # The usual tolerances, 1e-5 absolute with 1e-3 relative, would let this pass.
    assert caught.value.norm_error < 1e-3
