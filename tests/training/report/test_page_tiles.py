"""Small pictures: each pixel against the number it stands for."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from minialex.training.report import tiles


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_black_is_low_and_white_is_high():
    maps = np.array([[[-2.0, 0.0], [1.0, 2.0]]], np.float32)
    image = pixels(tiles.grey_strip(maps, -2, 2, side=2))
    assert image[..., 0].tolist() == [[0, 128], [191, 255]]
    assert (image[..., 1] == 255).all()


def test_maps_stand_side_by_side_with_transparent_gaps():
    maps = np.arange(3 * 4, dtype=np.float32).reshape(3, 2, 2)
    image = pixels(tiles.grey_strip(maps, 0, 11, side=2))
    assert image.shape == (2, 3 * 2 + 2 * 4, 2)
    for k in range(3):
        tile = image[:, 6 * k : 6 * k + 2]
        np.testing.assert_array_equal(tile[..., 0], np.rint(maps[k] * 255 / 11))
        assert (tile[..., 1] == 255).all()
    assert (image[:, 2:6, 1] == 0).all()
    assert (image[:, 8:12, 1] == 0).all()


def test_small_maps_are_enlarged_by_whole_factors_and_large_ones_kept():
    small = pixels(tiles.grey_strip(np.array([[[0.0, 1.0]]]), 0, 1, side=7))
    assert small[..., 0].tolist() == [[0, 0, 0, 255, 255, 255]] * 3
    assert pixels(tiles.grey_strip(np.zeros((1, 100, 90)), 0, 1)).shape == (100, 90, 2)


def test_rows_of_tiles():
    maps = np.arange(1, 6, dtype=np.float32).reshape(5, 1, 1)
    image = pixels(tiles.grey_strip(maps, 0, 5, columns=3, side=1))
    assert image.shape == (1 + 4 + 1, 3 + 2 * 4, 2)
    assert image[::5, ::5, 0].tolist() == [[51, 102, 153], [204, 255, 0]]
    assert image[::5, ::5, 1].tolist() == [[255, 255, 255], [255, 255, 0]]


def test_what_is_not_finite_is_transparent():
    maps = np.array([[[0.0, np.nan, np.inf, -np.inf, 1.0]]], np.float32)
    image = pixels(tiles.grey_strip(maps, 0, 1, side=5))
    assert image[0, :, 1].tolist() == [255, 0, 0, 0, 255]
    assert image[0, [0, 4], 0].tolist() == [0, 255]


@pytest.mark.parametrize(("low", "high"), [(0, 0), (3, 3), (-3e38, 3e38)])
def test_any_scale(low, high):
    image = pixels(tiles.grey_strip(np.full((1, 2, 2), low, np.float32), low, high, side=2))
    assert (image == [0, 255]).all()


def test_colours_are_kept():
    planes = np.random.default_rng(0).integers(0, 256, (2, 3, 3, 3), dtype=np.uint8)
    image = pixels(tiles.colour_sheet(planes, 2))
    assert image.shape == (72, 72 * 2 + 4, 4)
    np.testing.assert_array_equal(image[::24, :72:24, :3], planes[0])
    np.testing.assert_array_equal(image[::24, 76::24, :3], planes[1])


@pytest.mark.parametrize("channels", [1, 3])
def test_thumbnails(channels):
    image = np.random.default_rng(0).integers(0, 256, (channels, 5, 7), dtype=np.uint8)
    shown = pixels(tiles.thumbnail(image)).reshape(5, 7, channels)
    np.testing.assert_array_equal(shown, image.transpose(1, 2, 0))
    large = np.zeros((channels, 640, 320), np.uint8)
    assert pixels(tiles.thumbnail(large)).shape[:2] == (160, 80)


def test_an_address_holds_the_file():
    uri = tiles.as_uri(b"\x00\xffabc", "image/png")
    head, data = uri.split(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data) == b"\x00\xffabc"
