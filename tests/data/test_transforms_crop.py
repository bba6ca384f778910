"""Crops: the centre and the ten against saved values of torchvision, the random ones against loops."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.data.sample_random import SampleRandom
from minialex.data.transforms import CenterCrop, RandomCrop, TenCrop
from minialex.errors import DataError

with np.load(Path(__file__).parent / "expected" / "torchvision.npz") as _file:
    TORCHVISION = dict(_file)
BOTH = ("landscape", "portrait")


def numbered(channels, height, width):
    """An image in which every value says where it stands."""
    return np.arange(channels * height * width, dtype=np.float32).reshape(channels, height, width)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("size", [(20, 18), (36, 36), (18, 20), (37, 37)])
def test_the_centre_is_torchvisions(name, size):
    found = CenterCrop(size)(TORCHVISION[name])
    assert np.array_equal(found, TORCHVISION[f"{name} center {size[0]} {size[1]}"])


@pytest.mark.parametrize("name", BOTH)
def test_the_ten_crops_are_torchvisions(name):
    found = TenCrop((16, 20))(TORCHVISION[name])
    assert found.shape == (10, 3, 16, 20)
    assert np.array_equal(found, TORCHVISION[f"{name} ten"])


def test_deterministic_crops_work_on_any_leading_axes():
    images = np.stack([numbered(2, 9, 8), -numbered(2, 9, 8)])
    for transform in (CenterCrop((4, 5)), TenCrop((4, 5))):
        together = transform(images)
        assert together.shape == transform.output_shape(images.shape)
        assert np.array_equal(together, np.stack([transform(image) for image in images]))
        assert together.dtype == np.float32


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 3), st.data())
def test_a_random_crop_is_a_part_of_the_padded_image(height, width, padding, data):
    size = (data.draw(st.integers(1, height + 2 * padding)), data.draw(st.integers(1, width + 2 * padding)))
    index = data.draw(st.integers(0, 2**64 - 1))
    image = 1 + numbered(2, height, width)
    found = RandomCrop(size, padding)(image, SampleRandom(1, 2, index))
    assert found.shape == (2, *size)
    padded = np.zeros((2, height + 2 * padding, width + 2 * padding), np.float32)
    padded[:, padding : padding + height, padding : padding + width] = image
    places = [
        (top, left)
        for top in range(height + 2 * padding - size[0] + 1)
        for left in range(width + 2 * padding - size[1] + 1)
        if np.array_equal(padded[:, top : top + size[0], left : left + size[1]], found)
    ]
    assert places


def test_every_place_is_equally_likely():
    image = numbered(1, 6, 5)
    firsts = [RandomCrop((4, 4))(image, SampleRandom(0, 1, index))[0, 0, 0] for index in range(6_000)]
    places, counts = np.unique(firsts, return_counts=True)
    assert places.tolist() == [0, 1, 5, 6, 10, 11]
    # Chi-squared with 5 degrees of freedom exceeds 20.5 once in a thousand times.
    assert ((counts - 1_000) ** 2 / 1_000).sum() < 20.5


def test_every_place_of_a_padded_image_comes_up():
    image = np.ones((1, 2, 2), np.uint8)
    crops = {RandomCrop((2, 2), 1)(image, SampleRandom(0, 0, index)).tobytes() for index in range(300)}
    # The nine places of a 2 x 2 window over ones in a frame of zeros, all different.
    assert len(crops) == 9


@pytest.mark.parametrize(
    ("transform", "image", "text"),
    [
        (CenterCrop((5, 4)), (1, 4, 4), "center_crop of 5 x 4 does not fit into an image of 4 x 4; resize"),
        (CenterCrop((4, 5)), (1, 4, 4), "center_crop of 4 x 5 does not fit"),
        (TenCrop((4, 5)), (1, 4, 4), "ten_crop of 4 x 5 does not fit"),
        (RandomCrop((4, 5)), (1, 4, 4), "random_crop of 4 x 5 does not fit into an image of 4 x 4; resize"),
        (RandomCrop((7, 4), 1), (1, 4, 4), "random_crop of 7 x 4 does not fit .* 4 x 4 padded by 1"),
    ],
)
def test_an_image_smaller_than_the_crop_is_refused(transform, image, text):
    with pytest.raises(DataError, match=text):
        transform(np.zeros(image, np.uint8), SampleRandom(0, 0, 0))
    # Where the size is not known it is left to the image.
    assert transform.output_shape((1, None, None))[-2:] == transform.size


@pytest.mark.parametrize("kind", [CenterCrop, TenCrop, RandomCrop])
@pytest.mark.parametrize("size", [0, [4], [0, 4], [4, 4097], [4, None], "44"])
def test_wrong_sizes_of_crops_are_refused(kind, size):
    with pytest.raises(DataError, match="size"):
        kind(size)


@pytest.mark.parametrize("padding", [-1, 4097, 1.0, True, math.nan, None])
def test_a_wrong_padding_is_refused(padding):
    with pytest.raises(DataError, match="padding must be an integer from 0 to 4,096"):
        RandomCrop((4, 4), padding)


def test_a_random_transform_asks_for_random_numbers_and_one_image():
    with pytest.raises(DataError, match="random_crop is random: give it a SampleRandom"):
        RandomCrop((2, 2))(np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(DataError, match=r"takes one of shape \(C, H, W\), not 2 x 1 x 4 x 4"):
        RandomCrop((2, 2))(np.zeros((2, 1, 4, 4), np.uint8), SampleRandom(0, 0, 0))
