"""Parameters as one vector, and back."""

import numpy as np
import pytest

import minialex as ma
from minialex import nn, optim
from minialex.errors import ShapeError
from minialex.nn import utils


def test_a_vector_holds_all_parameters_in_order_and_is_part_of_the_graph():
    layer = nn.Linear(2, 3)
    vector = utils.parameters_to_vector(layer.parameters())
    np.testing.assert_array_equal(
        vector.detach().numpy(), [*layer.weight.numpy().ravel(), *layer.bias.numpy()]
    )
    (vector * vector).sum().backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), 2 * layer.weight.numpy())


def test_a_vector_is_copied_back_into_the_memory_of_the_parameters():
    layer = nn.Linear(2, 3)
    memory, version = layer.weight.data, layer.weight.version
    vector = ma.Tensor(np.arange(9, dtype=np.float32))
    utils.vector_to_parameters(vector, layer.parameters())
    assert layer.weight.data is memory
    assert layer.weight.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert layer.bias.tolist() == [6, 7, 8]
    assert layer.weight.version > version
    vector.data[...] = -1
    assert layer.bias.tolist() == [6, 7, 8]


@pytest.mark.parametrize("count", [8, 10])
def test_a_vector_of_another_length_changes_nothing(count):
    layer = nn.Linear(2, 3)
    before = layer.weight.numpy().copy()
    with pytest.raises(ShapeError, match=rf"vec must have shape \(9,\), .*, not \({count},\)"):
        utils.vector_to_parameters(ma.zeros(count), layer.parameters())
    np.testing.assert_array_equal(layer.weight.numpy(), before)


def test_what_makes_no_vector_is_refused():
    with pytest.raises(ShapeError, match="parameters must be at least one tensor"):
        utils.parameters_to_vector([])
    with pytest.raises(TypeError, match="parameters must be of one dtype and device"):
        utils.parameters_to_vector([ma.zeros(2), ma.zeros(2, dtype=ma.float64)])
    with pytest.raises(TypeError, match="vec must be a tensor, not ndarray"):
        utils.vector_to_parameters(np.zeros(9), nn.Linear(2, 3).parameters())


def test_there_is_one_clipping():
    assert utils.clip_grad_norm_ is optim.clip_grad_norm_
    assert utils.clip_grad_value_ is optim.clip_grad_value_
