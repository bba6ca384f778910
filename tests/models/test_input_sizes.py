"""Which image sizes a network takes, and what it says to the others."""

import dataclasses

import numpy as np
import pytest

import minialex as ma
from minialex import nn
from minialex.errors import ModelError, ShapeError
from minialex.models import get_architecture, summarise
from minialex.models.architecture import CLASSES, conv, dense, flatten, lrn, max_pool, relu
from minialex.models.initialisers import initialise

# The windows of alexnet with a few channels, so that many sizes can be tried for real.
NARROW = dataclasses.replace(
    get_architecture("alexnet"),
    name="narrow",
    num_classes=3,
    layers=(
        conv(2, 11, stride=4),
        relu(),
        lrn(),
        max_pool(3, 2),
        conv(2, 5, padding=2),
        relu(),
        lrn(),
        max_pool(3, 2),
        conv(2, 3, padding=1),
        relu(),
        conv(2, 3, padding=1),
        relu(),
        conv(2, 3, padding=1),
        relu(),
        max_pool(3, 2),
        flatten(),
        dense(4),
        relu(),
        dense(4),
        relu(),
        dense(CLASSES),
    ),
)


def narrow_network():
    network = NARROW.build()
    initialise(network, "he")
    return network


def blank(channels, height, width):
    return ma.Tensor(np.zeros((1, channels, height, width), np.float32))


@pytest.mark.parametrize("size", [(227, 227), (258, 258), (227, 258), (240, 231)])
def test_sizes_that_give_six_positions_run(size):
    assert narrow_network()(blank(3, *size)).shape == (1, 3)


@pytest.mark.parametrize("size", [(226, 226), (259, 259), (226, 227), (227, 259)])
def test_sizes_that_do_not_are_refused_and_indeed_cannot_run(size):
    network = narrow_network()
    with pytest.raises(ModelError, match="Square sizes that fit: 227 to 258"):
        network(blank(3, *size))
    unchecked = nn.Sequential(*network)
    with pytest.raises(ShapeError, match="features"):
        unchecked(blank(3, *size))


def test_the_sizes_alexnet_takes_follow_from_its_windows():
    def positions(size, kernel, stride):
        return (size - kernel) // stride + 1

    def last_pool(size):
        for kernel, stride in ((11, 4), (3, 2), (3, 2), (3, 2)):  # the padded convolutions keep the size
            size = positions(size, kernel, stride)
        return size

    by_hand = [size for size in range(67, 400) if last_pool(size) == 6]
    alexnet = get_architecture("alexnet")
    assert [size for size in range(67, 400) if alexnet.fits((3, size, size))] == by_hand
    assert (by_hand[0], by_hand[-1]) == (227, 258)


def test_alexnet_explains_the_paper_s_224():
    with pytest.raises(ModelError) as error:
        get_architecture("alexnet").build()(blank(3, 224, 224))
    message = str(error.value)
    assert message.startswith("alexnet cannot take images of 224 x 224: the first dense layer would get 6400")
    assert "Square sizes that fit: 227 to 258." in message
    assert "The paper says 224, but its 55 positions after conv1 need 227" in message
    assert "50,844,008" in message


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("alexnet_no_conv_bias", "223 to 254"),  # 4 less: conv1 pads by 2
        ("alexnet_half_bn", "195 to 226"),  # 5 positions after the last pool
        ("alexnet_cifar", "1 to 32"),  # SAME padding: one position after a stride of 32 in all
        ("alexnet_cifar_slim", "29 to 32"),  # 8 positions after a stride of 4 in all
        ("alexnet_mnist28_bn", "24 to 31"),  # 3 positions after three pools of 2
    ],
)
def test_every_network_names_its_sizes(name, sizes):
    architecture = get_architecture(name)
    with pytest.raises(ModelError, match=f"Square sizes that fit: {sizes}\\."):
        architecture.require_fit((architecture.input_shape[0], 400, 400))


def test_an_image_smaller_than_the_window_is_refused_with_the_window():
    with pytest.raises(ModelError, match="8 x 8: conv2d: the window does not fit"):
        get_architecture("alexnet").require_fit((3, 8, 8))


@pytest.mark.parametrize("shape", [(1, 227, 227), (4, 227, 227), (227, 227)])
def test_other_channels_are_refused_with_the_network_s_own(shape):
    expected = r"takes images \(3, 227, 227\) \(channels, height, width\); got"
    with pytest.raises(ModelError, match=expected):
        get_architecture("alexnet").build()(ma.Tensor(np.zeros((1, *shape), np.float32)))


def test_a_network_that_normalises_rows_takes_its_own_height_alone():
    rows = get_architecture("alexnet_mnist28_bn_rows")
    assert rows.fits((1, 28, 28))
    with pytest.raises(ModelError, match=r"it normalises each row.* fit: 28\."):
        rows.require_fit((1, 29, 29))


def test_a_summary_refuses_the_same_sizes():
    network = get_architecture("alexnet").build()
    assert summarise(network, input_size=(258, 227)).input_shape == (1, 3, 258, 227)
    with pytest.raises(ModelError, match="227 to 258"):
        summarise(network, input_size=(224, 224))
