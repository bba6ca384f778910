"""Changes in place: what is outside of the graph changes, what is inside of it refuses."""

import numpy as np
import pytest

import minialex as ma
from minialex.errors import GraphError


def test_each_method_changes_the_memory_and_counts():
    array = np.arange(6.0).reshape(2, 3)
    x = ma.from_numpy(array)
    expected = np.arange(6.0).reshape(2, 3)
    for change, formula in (
        (lambda: x.add_(2), lambda a: a + 2),
        (lambda: x.add_(ma.ones(3, dtype="float64"), alpha=3), lambda a: a + 3),
        (lambda: x.sub_(1), lambda a: a - 1),
        (lambda: x.mul_(x), lambda a: a * a),
        (lambda: x.div_(4), lambda a: a / 4),
        (lambda: x.clamp_(2, 10), lambda a: np.clip(a, 2, 10)),
        (lambda: x.copy_(np.float32([1, 2, 3])), lambda a: np.broadcast_to([1.0, 2.0, 3.0], (2, 3))),
        (lambda: x.fill_(7), lambda a: np.full((2, 3), 7.0)),
        (lambda: x.zero_(), lambda a: np.zeros((2, 3))),
    ):
        before = x.version
        assert change() is x
        expected = formula(expected)
        np.testing.assert_array_equal(array, expected)
        assert x.version > before
    x[0, 1:] = 5
    x[x > 0] = ma.tensor([8.0, 9.0], dtype="float64")
    assert array.tolist() == [[0, 8, 9], [0, 0, 0]]


def test_a_result_in_the_graph_refuses():
    x = ma.ones(2, requires_grad=True)
    y = x * 2
    for change in (y.zero_, lambda: y.add_(1), lambda: y.mul_(2), lambda: y.copy_(x.detach())):
        with pytest.raises(GraphError, match="inside of the graph"):
            change()
    with pytest.raises(GraphError, match="inside of the graph"):
        y[0] = 1
    assert y.tolist() == [2, 2]


def test_a_leaf_that_requires_a_gradient_changes_under_no_grad_only():
    x = ma.ones(2, requires_grad=True)
    with pytest.raises(GraphError, match="no_grad"):
        x.add_(1)
    y = x * x
    with ma.no_grad():
        x.add_(1)
    assert x.tolist() == [2, 2]
    with pytest.raises(GraphError, match="was changed after"):
        y.backward(np.float32([1, 1]))


def test_a_gradient_that_would_be_lost_is_refused():
    x, y = ma.zeros(2), ma.ones(2, requires_grad=True)
    with pytest.raises(GraphError, match=r"detach\(\)"):
        x.add_(y)


def test_shapes_and_read_only_memory():
    x = ma.zeros(2)
    with pytest.raises(ValueError, match=r"shape \(3,\) must be one that broadcasts to \(2,\)"):
        x.add_(ma.ones(3))
    frozen = np.zeros(2)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        ma.from_numpy(frozen).zero_()
