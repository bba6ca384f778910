"""`Preprocessing`: the arithmetic, the resizing, the sentence and the JSON form."""

import json
import math
import sys

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.data import MNIST_MEAN, MNIST_STD, Preprocessing
from minialex.errors import DataError

RGB_MEAN, RGB_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def random_images(*shape):
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def test_every_byte_is_scaled_and_normalised():
    recipe = Preprocessing(1, 16, 16, (MNIST_MEAN,), (MNIST_STD,))
    x = recipe(np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16))
    assert x.dtype == np.float32
    assert x.shape == (1, 1, 16, 16)
    expected = [(value / 255 - 0.1307) / 0.3081 for value in range(256)]
    # Three roundings to 24 bits of values up to 1, then the division by 0.3081.
    assert np.abs(x.ravel() - np.array(expected)).max() < 3e-7 / 0.3


def test_each_channel_has_its_own_mean_and_std():
    images = random_images(4, 3, 5, 7)
    before = images.copy()
    x = Preprocessing(3, 5, 7, RGB_MEAN, RGB_STD)(images)
    for channel in range(3):
        expected = (before[:, channel] / 255 - RGB_MEAN[channel]) / RGB_STD[channel]
        np.testing.assert_allclose(x[:, channel], expected, atol=2e-6)
    assert np.array_equal(images, before)


def test_grey_is_repeated_and_then_normalised():
    images = random_images(2, 1, 4, 5)
    x = Preprocessing(3, 4, 5, RGB_MEAN, RGB_STD)(images)
    assert x.shape == (2, 3, 4, 5)
    for channel in range(3):
        expected = (images[:, 0] / 255 - RGB_MEAN[channel]) / RGB_STD[channel]
        np.testing.assert_allclose(x[:, channel], expected, atol=2e-6)


def test_colour_becomes_grey_as_in_pillow():
    images = random_images(1, 3, 64, 64)
    x = Preprocessing(1, 64, 64, (0.0,), (1 / 255,))(images)
    grey = PIL.Image.fromarray(np.ascontiguousarray(images[0].transpose(1, 2, 0))).convert("L")
    assert np.array_equal(np.rint(x[0, 0]), np.asarray(grey))


def test_invert_swaps_black_and_white():
    images = random_images(2, 1, 3, 3)
    recipe = Preprocessing(1, 3, 3, (0.2,), (0.5,), invert=True)
    np.testing.assert_allclose(recipe(images), ((255 - images) / 255 - 0.2) / 0.5, atol=1e-6)


@pytest.mark.parametrize("size", [(7, 5), (28, 31), (40, 64), (28, 9)])
def test_resizing_is_pillows_bilinear(size):
    images = random_images(2, 3, 28, 31)
    recipe = Preprocessing(3, *size, (0.0,) * 3, (1.0,) * 3)
    x = recipe(images)
    assert x.shape == (2, 3, *size)
    for image, found in zip(images, x, strict=True):
        colour = PIL.Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        expected = np.asarray(colour.resize(size[::-1], PIL.Image.Resampling.BILINEAR))
        assert np.array_equal(np.rint(found * 255), expected.transpose(2, 0, 1))


def triangle_weights(length, new_length):
    """Weights (new_length, length) of the widened triangle filter, from its definition."""
    scale = length / new_length
    support = max(scale, 1.0)
    centres = (np.arange(new_length) + 0.5) * scale
    distance = np.abs(np.arange(length) + 0.5 - centres[:, None]) / support
    weights = np.maximum(1 - distance, 0)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("size", [(9, 30), (50, 12), (4, 4)])
def test_resizing_averages_with_the_triangle_filter(size):
    images = random_images(1, 1, 20, 24)
    x = Preprocessing(1, *size, (0.0,), (1 / 255,))(images)
    expected = triangle_weights(20, size[0]) @ images[0, 0] @ triangle_weights(24, size[1]).T
    # Pillow rounds to 8 bits after each of the two directions.
    assert np.abs(x[0, 0] - expected).max() <= 1.01


def test_colour_becomes_grey_before_resizing_and_inverts_after():
    images = random_images(1, 3, 10, 10)
    x = Preprocessing(1, 6, 6, (0.0,), (1 / 255,), invert=True)(images)
    colour = PIL.Image.fromarray(np.ascontiguousarray(images[0].transpose(1, 2, 0)))
    grey = colour.convert("L").resize((6, 6), PIL.Image.Resampling.BILINEAR)
    assert np.array_equal(np.rint(x[0, 0]), 255 - np.asarray(grey).astype(int))


def test_any_number_of_channels_passes_unchanged():
    images = random_images(2, 4, 3, 3)
    x = Preprocessing(4, 3, 3, (0.0,) * 4, (1.0,) * 4)(images)
    np.testing.assert_allclose(x, images / 255, atol=1e-7)


def test_views_and_empty_batches_are_taken():
    images = random_images(3, 6, 6, 1).transpose(0, 3, 2, 1)[::-1]
    recipe = Preprocessing(1, 6, 6, (0.0,), (1.0,))
    np.testing.assert_allclose(recipe(images), images / 255, atol=1e-7)
    assert recipe(images[:0]).shape == (0, 1, 6, 6)
    assert Preprocessing(1, 3, 3, (0.0,), (1.0,))(images[:0]).shape == (0, 1, 3, 3)
    half = Preprocessing(1, 3, 3, (0.0,), (1.0,))
    assert np.array_equal(half(images), half(images.copy()))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 1, 4, 4), np.float32), "must be a uint8 array .*got float32 of shape"),
        (np.zeros((1, 4, 4), np.uint8), r"got uint8 of shape \(1, 4, 4\)"),
        ([[1]], "got list"),
        (np.zeros((2, 2, 4, 4), np.uint8), "3 channels must have 1 or 3 channels, got 2"),
        (np.zeros((2, 3, 0, 4), np.uint8), "lengths from 1, got"),
    ],
)
def test_wrong_images_are_refused(images, message):
    with pytest.raises(DataError, match=message):
        Preprocessing(3, 4, 4, RGB_MEAN, RGB_STD)(images)


def test_an_unusual_input_takes_only_its_own_number_of_channels():
    recipe = Preprocessing(2, 4, 4, (0.0,) * 2, (1.0,) * 2)
    with pytest.raises(DataError, match="input of 2 channels must have 2 channels, got 1"):
        recipe(np.zeros((1, 1, 4, 4), np.uint8))


@pytest.mark.parametrize(
    ("recipe", "source", "sentence"),
    [
        (
            Preprocessing(3, 227, 227, (0.1307,) * 3, (0.3081,) * 3),
            (1, 28, 28),
            "28 x 28 grey, resized to 227 x 227 (bilinear), repeated to 3 channels, "
            "scaled to 0..1, mean 0.1307, std 0.3081",
        ),
        (
            Preprocessing(1, 28, 28, (0.1307,), (0.3081,)),
            (1, 28, 28),
            "28 x 28 grey, scaled to 0..1, mean 0.1307, std 0.3081",
        ),
        (
            Preprocessing(1, 28, 30, (0.5,), (0.5,), invert=True),
            (3, 480, 640),
            "480 x 640 RGB, converted to grey (ITU-R 601 luma), resized to 28 x 30 (bilinear), "
            "inverted, scaled to 0..1, mean 0.5, std 0.5",
        ),
        (
            Preprocessing(3, 32, 32, RGB_MEAN, RGB_STD),
            (3, 32, 32),
            "32 x 32 RGB, scaled to 0..1, mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225)",
        ),
        (
            Preprocessing(2, 5, 5, (0.0, 0.0), (1.0, 1.0)),
            (2, 5, 5),
            "5 x 5 with 2 channels, scaled to 0..1, mean 0, std 1",
        ),
    ],
)
def test_description_says_what_is_done(recipe, source, sentence):
    assert recipe.describe(source) == sentence
    assert f"{sentence.split(', ')[0]}, {', '.join(recipe.steps(source))}" == sentence


def test_describing_impossible_images_is_refused():
    recipe = Preprocessing(3, 4, 4, RGB_MEAN, RGB_STD)
    for source in ((2, 4, 4), (28, 28), (1, 0, 4)):
        with pytest.raises(DataError, match="images "):
            recipe.describe(source)


def test_for_model_repeats_a_number_for_every_channel():
    expected = Preprocessing(3, 227, 224, (0.5, 0.5, 0.5), RGB_STD, invert=True)
    made = Preprocessing.for_model((3, 227, 224), mean=0.5, std=RGB_STD, invert=True)
    assert made == expected
    with pytest.raises(DataError, match=r"input_shape must be \(C, H, W\), got \(227, 227\)"):
        Preprocessing.for_model((227, 227), mean=0.5, std=0.5)


@st.composite
def recipes(draw):
    channels = draw(st.integers(1, 4))
    numbers = [
        draw(st.lists(st.floats(low, high), min_size=channels, max_size=channels))
        for low, high in ((0, 1), (1e-6, 1e6))
    ]
    sides = st.integers(1, 4096)
    return Preprocessing(channels, draw(sides), draw(sides), *numbers, draw(st.booleans()))


@given(recipes())
def test_json_gives_the_same_recipe_back(recipe):
    written = json.loads(json.dumps(recipe.to_dict(), allow_nan=False))
    assert written == recipe.to_dict()
    assert Preprocessing.from_dict(written) == recipe


def test_json_has_all_fields_as_plain_values():
    recipe = Preprocessing(1, 28, np.int64(30), [np.float32(0.5)], (1,))
    assert recipe.to_dict() == {
        "channels": 1,
        "height": 28,
        "width": 30,
        "mean": [0.5],
        "std": [1.0],
        "invert": False,
    }
    assert type(recipe.width) is int
    assert recipe.mean == (0.5,)
    assert type(recipe.mean[0]) is float


GOOD = {"channels": 2, "height": 4, "width": 5, "mean": [0, 0.5], "std": [1, 0.5], "invert": False}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("channels", 0, "channels must be an integer from 1 to 4,096, got 0"),
        ("height", 4097, "height must be an integer from 1 to 4,096, got 4097"),
        ("width", -1, "width must be"),
        ("width", 5.0, "width must be an integer from 1 to 4,096, got 5.0"),
        ("width", True, "width must be"),
        ("width", "5", "width must be"),
        ("width", None, "width must be"),
        ("width", 10**400, "width must be"),
        ("channels", 3, "mean must be a sequence of 3 numbers from 0 to 1"),
        ("mean", [0.5], "mean must be a sequence of 2 numbers from 0 to 1, one per channel"),
        ("mean", 0.5, "mean must be a sequence of 2 numbers"),
        ("mean", {"0": 0.5, "1": 0.5}, "mean must be"),
        ("mean", [0.5, "0.5"], "mean must be"),
        ("mean", [0.5, None], "mean must be"),
        ("mean", [0.5, True], "mean must be"),
        ("mean", [0.5, math.nan], "mean must be"),
        ("mean", [0.5, 130.7], "mean must be .*got .0.5, 130.7"),
        ("mean", [-0.1, 0.5], "mean must be"),
        ("std", [0.5, 0], "std must be a sequence of 2 numbers from 1e-06 to 1e[+]06"),
        ("std", [-0.5, 0.5], "std must be"),
        ("std", [0.5, math.inf], "std must be"),
        ("std", [0.5, math.nan], "std must be"),
        ("std", [0.5, 10**400], "std must be"),
        ("std", [1e-300, 1], "std must be"),
        ("invert", 0, "invert must be true or false, got 0"),
        ("invert", "no", "invert must be true or false"),
        ("crop", 1, r"missing: \[\], unknown: \['crop'\]"),
        (7, 1, r"unknown: \['7'\]"),
    ],
)
def test_a_dict_with_a_wrong_value_is_refused(key, value, message):
    assert Preprocessing.from_dict(GOOD).mean == (0.0, 0.5)
    with pytest.raises(DataError, match=message) as caught:
        Preprocessing.from_dict(GOOD | {key: value})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("key", GOOD)
def test_a_dict_without_a_key_is_refused(key):
    values = {name: value for name, value in GOOD.items() if name != key}
    with pytest.raises(DataError, match=rf"missing: \['{key}'\], unknown: \[\]"):
        Preprocessing.from_dict(values)


@pytest.mark.parametrize("values", [None, [], "{}", 3])
def test_what_is_not_a_dict_is_refused(values):
    with pytest.raises(DataError, match="must be a JSON object, got"):
        Preprocessing.from_dict(values)


def test_a_long_wrong_value_is_not_repeated_in_full():
    with pytest.raises(DataError) as caught:
        Preprocessing.from_dict(GOOD | {"mean": [0.5] * 100_000})
    assert len(str(caught.value)) < 300


def test_pillow_is_needed_for_resizing_only(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    images = random_images(1, 1, 4, 4)
    assert Preprocessing(1, 4, 4, (0.0,), (1.0,))(images).shape == (1, 1, 4, 4)
    with pytest.raises(DataError, match=r"resizing needs a package.*pip install pillow"):
        Preprocessing(1, 5, 5, (0.0,), (1.0,))(images)
