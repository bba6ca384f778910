"""Functions that are shown the gradients of a backward pass."""

import numpy as np
import pytest

import minialex as ma
from minialex.errors import GraphError


def leaf(*values):
    return ma.tensor(list(values), dtype="float64", requires_grad=True)


def test_a_leaf_shows_the_sum_of_what_arrives():
    x, seen = leaf(1.0, 2.0), []
    handle = x.register_hook(lambda g: seen.append(g.tolist()))
    (x * 3 + x * x).backward(np.array([1.0, 10.0]))
    assert seen == [[5.0, 70.0]]
    handle.remove()
    (x * 3).backward(np.array([1.0, 1.0]))
    assert len(seen) == 1
    assert x.grad.tolist() == [8.0, 73.0]


def test_a_hook_of_a_result_changes_what_flows_on():
    x = leaf(1.0, 2.0)
    y = x * 3
    y.register_hook(lambda g: g * 2)
    y.register_hook(lambda g: g + 1)
    (y * y).backward(np.array([1.0, 1.0]))
    # The gradient of y is 2 y = (6, 12).
    assert x.grad.tolist() == [3 * (6 * 2 + 1), 3 * (12 * 2 + 1)]


def test_grad_shows_and_changes_it_too():
    x = leaf(1.0, 2.0)
    y = x * 3
    with y.register_hook(lambda g: g * 10):
        (gy, gx) = ma.grad(y * 2, [y, x], ma.tensor([1.0, 1.0], dtype="float64"))
    assert gy.tolist() == [20.0, 20.0]
    assert gx.tolist() == [60.0, 60.0]
    (gx,) = ma.grad((x * 3) * 2, x, ma.tensor([1.0, 1.0], dtype="float64"))
    assert gx.tolist() == [6.0, 6.0]


def test_results_keep_their_gradients_if_asked_to():
    x = leaf(1.0, 2.0)
    y = x * 3
    y.retain_grad()
    (y * y).backward(np.array([1.0, 0.5]))
    assert y.grad.tolist() == [6.0, 6.0]
    x.retain_grad()
    assert x.grad.tolist() == [18.0, 18.0]


def test_second_derivatives_pass_through_a_hook():
    x = leaf(2.0)
    y = x * x
    y.register_hook(lambda g: g * x)
    (gx,) = ma.grad(y, x, ma.tensor([1.0], dtype="float64"), create_graph=True)
    assert gx.tolist() == [8.0]  # x * 2 x
    (ggx,) = ma.grad(gx, x, ma.tensor([1.0], dtype="float64"))
    assert ggx.tolist() == [8.0]  # 4 x


def test_what_a_hook_returns_is_checked():
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: g.sum())
    with pytest.raises(GraphError, match=r"what a hook returned has shape \(\)"):
        (x * 3).backward(np.array([1.0, 1.0]))


def test_a_tensor_without_gradient_has_no_hooks():
    with pytest.raises(GraphError, match="must require a gradient"):
        ma.zeros(2).register_hook(print)
