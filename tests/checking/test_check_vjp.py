"""The checker itself: what it takes, what it reports, and how it fails."""

import numpy as np
import pytest

import minialex as ma
import minialex.functional as F
from minialex.checking import GradcheckError, check_vjp, gradcheck, gradgradcheck
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
    assert report.compared == 12 * 12
    assert report.skipped == 0
    assert 0 < report.worst_error <= report.tolerance < 1e-7
    assert "144 derivatives agree" in str(report)


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

    assert check_vjp(take, take_vjp, [X, np.array([0, 2, 0])]).compared == 12 * 12


def test_wrt_chooses_inputs():
    def vjp(u, a, b):
        return u * b, None

    assert check_vjp(np.multiply, vjp, [X, X + 1], wrt=[0]).compared == 144
    with pytest.raises(GradcheckError, match="gives None for input 1"):
        check_vjp(np.multiply, vjp, [X, X + 1])


# What is refused


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dtype": np.float16}, "float16"),
        ({"dtype": np.int64}, "int64"),
        ({"mode": "full"}, "mode='full'"),
        ({"method": "forward"}, "method='forward'"),
        ({"directions": 0}, "directions=0"),
    ],
)
def test_bad_options(options, says):
    with pytest.raises(MiniAlexError, match=says):
        check_vjp(cube, cube_vjp, [X], **options)


def test_nothing_to_differentiate():
    with pytest.raises(MiniAlexError, match="no floating-point"):
        check_vjp(cube, cube_vjp, [np.arange(3)])
    with pytest.raises(MiniAlexError, match="requires a gradient"):
        gradcheck(F.relu, ma.Tensor(X))
    with pytest.raises(MiniAlexError, match="complex"):
        check_vjp(cube, cube_vjp, [X * 1j])


# Kinks


def test_a_kink_is_skipped_and_counted():
    x = X.copy()
    x[0, 0] = 0
    report = check_vjp(relu, relu_vjp, [x])
    assert (report.compared, report.skipped) == (143, 1)
    # Known branches leave out all derivatives of that element.
    report = check_vjp(relu, relu_vjp, [x], branches=lambda x: [x > 0])
    assert (report.compared, report.skipped) == (132, 12)


def test_too_many_kinks_fail_unless_redrawn():
    zeros = np.zeros(4)
    with pytest.raises(GradcheckError, match="25% of the derivatives of input 0 lie at a kink") as caught:
        check_vjp(relu, relu_vjp, [zeros])
    assert caught.value.check == "kinks"
    report = check_vjp(relu, relu_vjp, [zeros], redraw=lambda random: [random.standard_normal(4)])
    assert report.redrawn == 1
    assert report.skipped == 0
    assert check_vjp(relu, relu_vjp, [zeros], max_skipped=1.0).skipped == 4


def test_ties_of_a_pool_are_kinks():
    x = np.zeros((1, 1, 4, 4))
    x[0, 0, 0, 0] = x[0, 0, 1, 1] = 1
    tied = ma.Tensor(x, requires_grad=True)
    report = gradcheck(lambda x: F.max_pool2d(x, 2), tied, max_skipped=1.0)
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
    assert (error.seed, error.step) == (11, 1e-4)
    assert (error.wrong, error.compared) == (1, 144)
    text = str(error)
    for part in (
        "my cube [mine]",
        "(1, 2)",
        repr(error.analytic),
        repr(error.numeric),
        "1 of 144",
        "seed 11",
    ):
        assert part in text


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
    assert report.compared == (12 + 4) * (12 + 4)
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
