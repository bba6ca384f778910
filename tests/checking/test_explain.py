"""The explanation of a check: its numbers are those of the check, its text and picture show them."""

import math

import numpy as np
import pytest
from PIL import Image

import minialex as ma
import minialex.functional as F
from minialex.checking.explain import draw_explanation, explain, explain_case
from minialex.checking.kernels.cases import Case, make_cases
from minialex.errors import MiniAlexError


def lrn_without_its_neighbours(x):
    """The right value, with a gradient that takes the denominator for a constant."""
    y = F.local_response_norm(x, size=3, alpha=1.0)
    return x * ma.Tensor(y.data / x.data)


@pytest.fixture(scope="module")
def conv2d():
    return explain("conv2d")


@pytest.fixture(scope="module")
def relu():
    return explain("relu")


@pytest.fixture(scope="module")
def wrong():
    x = np.random.default_rng(0).standard_normal((1, 5, 1, 2))
    return explain_case("local_response_norm", Case("wrong", lrn_without_its_neighbours, (x,)))


def test_the_jacobian_of_a_linear_function_is_its_matrix():
    matrix = np.random.default_rng(0).standard_normal((3, 4))
    case = Case("a matrix", lambda x: ma.Tensor(matrix) @ x, (np.ones((4, 1)),))
    (jacobian,) = explain_case("matmul", case).jacobians
    np.testing.assert_array_equal(jacobian.analytic, matrix)
    np.testing.assert_allclose(jacobian.numeric, matrix, rtol=0, atol=1e-10)
    assert jacobian.wrong == 0
    assert np.all(jacobian.share <= 1)


def test_the_chosen_cases_show_what_there_is_to_see(conv2d, relu):
    assert conv2d.report is not None
    assert [each.shape for each in conv2d.jacobians] == [a.shape for a in conv2d.inputs]
    counted = conv2d.report.compared + conv2d.report.zeros
    assert counted == sum(each.analytic.size for each in conv2d.jacobians)
    assert 0 < max(each.share.max() for each in conv2d.jacobians) < 1
    (jacobian,) = relu.jacobians
    at_zero = relu.inputs[0].ravel() == 0
    assert at_zero.sum() == 1
    np.testing.assert_array_equal(jacobian.kinked, np.diag(at_zero))
    assert relu.report.skipped == jacobian.kinked.sum()


def test_gradients_are_the_upstream_gradient_times_the_jacobian(conv2d):
    for jacobian, gradient in zip(conv2d.jacobians, conv2d.gradients, strict=True):
        expected = (conv2d.upstream.ravel() @ jacobian.analytic).reshape(jacobian.shape)
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("operation", ["conv2d", "local_response_norm", "tanh", "cross_entropy", "divide"])
def test_a_walk_arrives_at_the_numbers_of_the_check(operation):
    explanation = explain(operation)
    (walk,) = explanation.walks
    above, below, near_above, near_below = walk.values
    # No power of two, which a function may repeat itself with; near 1e-4 of |x| or of what is typical.
    assert math.frexp(walk.step)[0] != 0.5
    typical = min(1, np.median(np.abs(explanation.inputs[walk.input])))
    assert 2**-14 < walk.step / max(abs(walk.x), typical) < 2**-12
    assert walk.coarse == (above - below) / (2 * walk.step)
    assert walk.fine == (near_above - near_below) / walk.step
    scale = max(1.0, abs(walk.numeric))
    assert (4 * walk.fine - walk.coarse) / 3 == pytest.approx(walk.numeric, rel=0, abs=1e-11 * scale)
    # The last bit of the values is the least that it can be.
    least = 8 * np.finfo(float).eps * max(map(abs, walk.values)) / walk.step
    assert least * 0.99 <= walk.rounding < 100 * least
    # Of the tolerance: four times the error of R, and rounding of the analytic derivative.
    jacobian = explanation.jacobians[walk.input]
    rounding = 512 * np.finfo(float).eps * abs(walk.numeric)
    expected = 4 * (walk.truncation + walk.rounding + walk.jump) + rounding
    assert expected == pytest.approx(walk.tolerance, rel=1e-9)
    row = np.ravel_multi_index(walk.output_index, explanation.output.shape) if walk.output_index else 0
    column = np.ravel_multi_index(walk.index, jacobian.shape)
    assert jacobian.analytic[row, column] == walk.analytic
    assert "  verdict     they agree" in walk.lines()


def test_a_walk_with_a_larger_step_shows_all_three():
    # Beside terms that are a million times larger the usual step leaves too much rounding.
    x = np.array([0.3, 0.7])
    case = Case("small beside large", lambda x: x.exp() + 1e6, (x,))
    explanation = explain_case("add", case)
    walk = explanation.walks[0]
    estimates = (4 * walk.fine - walk.coarse) / 3, (4 * walk.finer - walk.fine) / 3
    assert (16 * estimates[1] - estimates[0]) / 15 == pytest.approx(walk.numeric, rel=1e-12)
    assert walk.truncation == pytest.approx(abs(walk.numeric - estimates[1]), rel=1e-3)
    assert walk.numeric == pytest.approx(np.exp(walk.x), rel=1e-6)
    text = "\n".join(walk.lines())
    assert "= [16 E(h/2) - E(h)] / 15, the numeric derivative" in text
    assert "[4 D(h/2) - D(h)] / 3, the numeric derivative" not in text


def test_a_walk_moves_the_element_that_it_names():
    arrays = (np.array([[0.5, 3.0], [-2.0, 1.0]]), np.array([1.5, 0.25]))
    case = Case("a product", lambda a, b: a * b, arrays)
    (walk,) = explain_case("multiply", case).walks
    # The largest derivative by input 0 is 1.5, and that of the first column.
    assert (walk.input, walk.index[1], walk.output_index) == (0, 0, walk.index)
    assert walk.x == arrays[0][walk.index]
    assert walk.middle == walk.x * 1.5
    assert walk.values[0] == pytest.approx((walk.x + walk.step) * 1.5, rel=1e-15)
    assert walk.analytic == 1.5


def test_a_kink_is_walked_through_and_skipped(relu):
    smooth, kink = relu.walks
    assert not smooth.kinked
    assert kink.kinked
    assert kink.branched
    assert kink.x == 0
    assert kink.index == kink.output_index
    assert kink.numeric == 0.5
    text = "\n".join(kink.lines())
    assert "This is a kink: f takes another branch within h" in text
    assert "on the left is 0," in text
    assert "on the right 1, and R is neither" in text
    assert f"kinks: moving input 0 at {kink.index} crosses one" in str(relu)


def test_a_kink_without_a_branch_is_named_by_its_second_difference():
    def steep(x):
        return ma.Tensor(np.abs(x.data)) if not ma.is_grad_enabled() else x * ma.Tensor(np.sign(x.data))

    explanation = explain_case("absolute", Case("at 0", steep, (np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),)))
    assert "This is a kink: the second difference jumps" in str(explanation)


def test_the_text_goes_from_the_function_to_the_verdict(conv2d):
    text = str(conv2d)
    assert text.startswith("One gradient check in full: conv2d, SAME at stride 2, float64, seed 0")
    for title in ("The function", "One derivative", "All of them", "A random upstream", "The verdict"):
        assert title in text
    assert "1,440 derivatives, the Jacobian" in text
    assert str(conv2d.report) in text
    assert max(map(len, conv2d.lines()[:-1])) <= 120
    assert text.isascii()


def test_a_wrong_gradient_is_shown_and_not_raised(wrong):
    assert wrong.report is None
    assert wrong.error.check == "values"
    assert wrong.jacobians[0].wrong == wrong.error.wrong > 0
    (walk,) = wrong.walks
    assert abs(walk.analytic - walk.numeric) > walk.tolerance
    assert "  verdict     WRONG" in walk.lines()
    assert f"{wrong.error.wrong} WRONG" in str(wrong)
    assert "the gradient of input 0 is wrong" in str(wrong)


def test_a_function_without_a_jacobian_is_refused():
    calls = []

    def random(x):
        calls.append(x)
        return x * float(len(calls))

    with pytest.raises(ma.GradcheckError, match="another result when it is computed again"):
        explain_case("multiply", Case("random", random, (np.ones(2),)))


def test_the_seed_decides_the_values(conv2d):
    assert str(explain("conv2d")) == str(conv2d)
    assert not np.array_equal(explain("conv2d", seed=1).inputs[0], conv2d.inputs[0])


def test_every_case_of_an_operation_can_be_asked_for():
    names = [case.name for case in make_cases("relu", 0)]
    assert [explain("relu", name).case for name in names] == names


def test_an_unknown_case_or_operation_is_refused():
    with pytest.raises(MiniAlexError, match="'relu' has no case 'x'; there are: 'away from 0', 'one element"):
        explain("relu", "x")
    with pytest.raises(MiniAlexError, match="operation 'conv3d' has no gradient checks"):
        explain("conv3d")


RED = (0xC0, 0x21, 0x1F)


@pytest.mark.parametrize("name", ["conv2d", "relu", "wrong"])
def test_the_picture_is_red_only_where_a_gradient_is_wrong(name, request, tmp_path):
    explanation = request.getfixturevalue(name)
    path = tmp_path / "jacobian.png"
    draw_explanation(path, explanation)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.width > 1200
        pixels = np.asarray(picture.convert("RGB"))
    # The colour bar at the right always holds the red of what is wrong.
    matrices = pixels[:, : int(0.895 * pixels.shape[1])]
    assert np.any(np.all(pixels == RED, axis=-1))
    assert np.any(np.all(matrices == RED, axis=-1)) == (name == "wrong")
    assert [each.name for each in tmp_path.iterdir()] == ["jacobian.png"]


def test_pictures_of_every_operation_can_be_drawn(tmp_path):
    for operation in ("cross_entropy", "dropout", "batch_norm", "sum", "max_pool2d"):
        path = tmp_path / f"{operation}.png"
        draw_explanation(path, explain(operation))
        assert path.stat().st_size > 10_000
