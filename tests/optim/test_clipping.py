"""Gradient clipping: in place, over all parameters together."""

import math

import numpy as np
import pytest

import minialex as ma
from minialex.errors import MiniAlexError
from minialex.nn import Parameter
from minialex.optim import clip_grad_norm_, clip_grad_value_


def parameters(*gradients, dtype=np.float64):
    """Parameters with these gradients; None for one that has none."""
    made = []
    for gradient in gradients:
        p = Parameter(np.zeros(np.shape(gradient) if gradient is not None else (2,), dtype))
        p.grad = None if gradient is None else ma.Tensor(np.array(gradient, dtype))
        made.append(p)
    return made


def test_the_joint_norm_is_limited_and_the_one_before_returned():
    """The norm of (2, 3, 6) is 7."""
    first, missing, second = parameters([2.0, 3.0], None, [[6.0]])
    memory = first.grad.data
    assert clip_grad_norm_([first, missing, second], 3.5) == pytest.approx(7, rel=1e-15)
    assert first.grad.data is memory
    np.testing.assert_allclose(memory, [1, 1.5], rtol=1e-15)
    np.testing.assert_allclose(second.grad.numpy(), [[3]], rtol=1e-15)
    assert missing.grad is None


@pytest.mark.parametrize("max_norm", [7.0, 100.0])
def test_a_norm_within_the_limit_leaves_the_gradients_alone(max_norm):
    (p,) = parameters([2.0, 3.0, 6.0])
    assert clip_grad_norm_([p], max_norm) == 7
    np.testing.assert_array_equal(p.grad.numpy(), [2, 3, 6])


def test_the_norm_is_taken_in_float64():
    """Squares of 1e30 overflow in float32."""
    (p,) = parameters([3e30, 4e30], dtype=np.float32)
    assert clip_grad_norm_([p], 1.0) == pytest.approx(5e30, rel=1e-6)
    assert p.grad.dtype == np.float32
    np.testing.assert_allclose(p.grad.numpy(), [0.6, 0.8], rtol=1e-6)


def test_no_gradients_have_norm_0():
    assert clip_grad_norm_(parameters(None, None), 1.0) == 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_norm_that_is_not_finite_is_refused_and_nothing_is_spread(value):
    first, second = parameters([1.0, 2.0], [value])
    with pytest.raises(MiniAlexError, match=f"the norm of the gradients is {abs(value)}"):
        clip_grad_norm_([first, second], 1.0)
    np.testing.assert_array_equal(first.grad.numpy(), [1, 2])


def test_values_are_limited_on_both_sides_in_place():
    first, missing, second = parameters([-3.0, -0.5, 0.25], None, [4.0])
    memory = first.grad.data
    assert clip_grad_value_([first, missing, second], 0.5) is None
    assert first.grad.data is memory
    np.testing.assert_array_equal(memory, [-0.5, -0.5, 0.25])
    np.testing.assert_array_equal(second.grad.numpy(), [0.5])


def test_a_generator_of_parameters_will_do():
    p, q = parameters([3.0], [4.0])
    assert clip_grad_norm_((each for each in (p, q)), 1.0) == 5
    np.testing.assert_allclose([p.grad.item(), q.grad.item()], [0.6, 0.8], rtol=1e-15)


@pytest.mark.parametrize("limit", [0, -1.0, math.nan])
@pytest.mark.parametrize(("clip", "name"), [(clip_grad_norm_, "max_norm"), (clip_grad_value_, "clip_value")])
def test_an_impossible_limit_is_refused_by_name(clip, name, limit):
    with pytest.raises(MiniAlexError, match=f"{name} must be a number above 0, not {limit}"):
        clip(parameters([1.0]), limit)


def test_a_single_parameter_will_do():
    """To iterate over a tensor would clip the gradients of its elements, which have none."""
    (p,) = parameters([3.0, 4.0])
    assert clip_grad_norm_(p, 1.0) == pytest.approx(5, rel=1e-15)
    np.testing.assert_allclose(p.grad.data, [0.6, 0.8], rtol=1e-15)
    clip_grad_value_(p, 0.7)
    np.testing.assert_allclose(p.grad.data, [0.6, 0.7], rtol=1e-15)


@pytest.mark.parametrize("given", [1, [1], [None]])
def test_what_is_no_parameter_is_refused(given):
    for clip in (clip_grad_norm_, clip_grad_value_):
        with pytest.raises(MiniAlexError, match="parameters must be tensors, not "):
            clip(given, 1)


@pytest.mark.parametrize("limit", ["1", None, 1j, True])
def test_a_limit_that_is_no_number_is_refused(limit):
    with pytest.raises(MiniAlexError, match="max_norm must be"):
        clip_grad_norm_(parameters([1.0]), limit)


@pytest.mark.parametrize(
    ("norm_type", "norm"), [(1, 19.0), (2, 13.0), (3, (27 + 64 + 12**3) ** (1 / 3)), (math.inf, 12.0)]
)
def test_norms_of_other_orders(norm_type, norm):
    given = parameters([3.0, -4.0], [12.0])
    assert clip_grad_norm_(given, 6.0, norm_type) == pytest.approx(norm, rel=1e-15)
    expected = np.array([3.0, -4.0]) * 6 / norm
    np.testing.assert_allclose(given[0].grad.numpy(), expected, rtol=1e-14)


@pytest.mark.parametrize("norm_type", [1, 3, math.inf])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_norm_of_another_order_that_is_not_finite_is_refused(norm_type, value):
    with pytest.raises(MiniAlexError, match="the norm of the gradients is"):
        clip_grad_norm_(parameters([1.0], [value, 2.0]), 1.0, norm_type)


@pytest.mark.parametrize("norm_type", [0, -1, "inf"])
def test_an_impossible_order_is_refused(norm_type):
    with pytest.raises(MiniAlexError, match="norm_type"):
        clip_grad_norm_(parameters([1.0]), 1.0, norm_type)
