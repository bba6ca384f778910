"""Packed weights are kept while the weights are frozen, and no longer."""

import gc

import numpy as np
import pytest

import minialex as ma
from minialex.checking.testing.strategies import normal_values
from minialex.kernels import find_kernel
from minialex.kernels.runtime.prepacked import frozen, kept_bytes, prepacked

WINDOW = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}


def frozen_copy(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def test_a_form_is_made_once_for_a_frozen_array():
    array, made = frozen_copy(np.ones(4)), []
    for _ in range(3):
        form = prepacked(array, "form", lambda: made.append(1) or array * 2)
        np.testing.assert_array_equal(form, array * 2)
    assert len(made) == 1
    np.testing.assert_array_equal(prepacked(array, "another form", lambda: array * 3), array * 3)


def test_a_form_of_a_writable_array_is_made_each_time():
    array = np.ones(4)
    for factor in (1, 2, 3):
        array[:] = factor
        np.testing.assert_array_equal(prepacked(array, "form", lambda: array * 2), array * 2)


def test_a_read_only_view_is_not_frozen():
    array = np.ones(4)
    view = array[:]
    view.flags.writeable = False
    assert not frozen(view)
    assert frozen(frozen_copy(array))


def test_thawing_forgets_the_form():
    array = frozen_copy(np.ones(4))
    prepacked(array, "form", lambda: array * 2)
    array.flags.writeable = True
    array[:] = 5
    np.testing.assert_array_equal(prepacked(array, "form", lambda: array * 2), array * 2)
    array.flags.writeable = False
    np.testing.assert_array_equal(prepacked(array, "form", lambda: array * 2), array * 2)


def test_forms_go_with_their_array():
    before = kept_bytes()
    array = frozen_copy(np.ones(1000))
    prepacked(array, "form", lambda: np.ones(500))
    assert kept_bytes() == before + 4000
    del array
    gc.collect()
    assert kept_bytes() == before


@pytest.mark.parametrize("algorithm", ["direct", "winograd"])
def test_kernels_give_the_same_bits_with_kept_weights(algorithm):
    generator = np.random.default_rng(0)
    x = normal_values(generator, (2, 16, 9, 9), np.float32)
    weight = normal_values(generator, (24, 16, 3, 3), np.float32)
    forward = find_kernel("conv2d.forward", algo=algorithm)
    expected = forward(x, weight, None, **WINDOW)
    kept = frozen_copy(weight)
    before = kept_bytes()
    for _ in range(2):
        np.testing.assert_array_equal(forward(x, kept, None, **WINDOW), expected)
    assert kept_bytes() > before
    other = frozen_copy(weight * 2)
    np.testing.assert_array_equal(forward(x, other, None, **WINDOW), forward(x, weight * 2, None, **WINDOW))


def test_a_frozen_network_computes_the_same_and_cannot_change():
    ma.manual_seed(0)
    net = ma.models.create_model("alexnet_mnist28_bn").eval()
    x = ma.tensor(normal_values(np.random.default_rng(0), (2, 1, 28, 28), np.float32))
    # By name: frozen weights cost no transform, and so another kernel might be chosen for them.
    with ma.no_grad(), ma.kernels.use(conv2d=("winograd", "direct")):
        expected = net(x).numpy()
        net.freeze()
        for _ in range(2):
            np.testing.assert_array_equal(net(x).numpy(), expected)
    with pytest.raises(ValueError, match="read-only"):
        next(net.parameters()).data[...] = 0
    net.unfreeze()
    next(net.parameters()).data[...] = 0
