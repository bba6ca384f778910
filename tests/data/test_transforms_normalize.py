"""`scale`, `normalize` and `subtract_mean`: every byte against float64, and torchvision's bits."""

import math
from pathlib import Path

import numpy as np
import pytest

from minialex.data.transforms import Normalize, Scale, SubtractMean
from minialex.errors import DataError

with np.load(Path(__file__).parent / "expected" / "torchvision.npz") as _file:
    TORCHVISION = dict(_file)

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
BYTES = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)


@pytest.mark.parametrize("name", ["landscape", "portrait"])
def test_scaled_and_normalised_values_are_torchvisions_bits(name):
    scaled = Scale()(TORCHVISION[name])
    assert scaled.dtype == np.float32
    assert np.array_equal(scaled, TORCHVISION[f"{name} tensor"])
    assert np.array_equal(Normalize(MEAN, STD)(scaled), TORCHVISION[f"{name} normalized"])


def test_every_byte_is_scaled():
    wanted = np.array([byte / 255 for byte in range(256)]).astype(np.float32)
    assert np.array_equal(Scale()(BYTES).ravel(), wanted)
    assert np.array_equal(Scale(1)(BYTES).ravel(), np.arange(256, dtype=np.float32))
    # What is said of Keras' way in the documentation of `Scale`.
    assert (np.arange(256, dtype=np.float32) * np.float32(1 / 255) != wanted).sum() == 126


def test_bytes_can_be_normalised_on_their_own_scale():
    found = Normalize([125.307], [62.9932])(BYTES)
    assert found.dtype == np.float32
    wanted = [(byte - 125.307) / 62.9932 for byte in range(256)]
    np.testing.assert_allclose(found.ravel(), wanted, rtol=0, atol=1e-6)


def test_channels_have_their_own_numbers_on_any_leading_axes():
    images = np.random.default_rng(0).random((2, 4, 3, 5, 6), np.float32)
    before = images.copy()
    normalised, subtracted = Normalize(MEAN, STD)(images), SubtractMean(MEAN)(images)
    for channel in range(3):
        wanted = before[:, :, channel].astype(float) - MEAN[channel]
        np.testing.assert_allclose(subtracted[:, :, channel], wanted, rtol=0, atol=1e-7)
        np.testing.assert_allclose(normalised[:, :, channel], wanted / STD[channel], rtol=0, atol=1e-6)
    assert np.array_equal(images, before)
    assert normalised.dtype == subtracted.dtype == np.float32


def test_one_number_serves_all_channels():
    image = np.random.default_rng(0).random((3, 5, 6), np.float32)
    assert np.array_equal(Normalize(0.5, STD)(image), Normalize([0.5] * 3, STD)(image))
    assert np.array_equal(Normalize(MEAN, 0.25)(image), Normalize(MEAN, [0.25] * 3)(image))
    assert np.array_equal(SubtractMean(0.5)(image), image - np.float32(0.5))
    assert Normalize(0.5, 0.5).to_dict() == {"name": "normalize", "mean": [0.5], "std": [0.5]}


@pytest.mark.parametrize("transform", [Scale(), Normalize(MEAN, STD), SubtractMean(0.5)])
def test_arithmetic_can_be_done_in_place(transform):
    image = np.random.default_rng(0).random((3, 5, 6), np.float32)
    wanted = transform(image)
    out = np.empty_like(image)
    assert transform.apply(image, out=out) is out
    assert np.array_equal(out, wanted)
    assert transform.apply(image, out=image) is image
    assert np.array_equal(image, wanted)


@pytest.mark.parametrize(
    ("transform", "field"),
    [(Normalize(MEAN[:2], 1), "mean"), (Normalize(0, STD[:2]), "std"), (SubtractMean(MEAN[:2]), "mean")],
)
def test_numbers_for_other_channels_are_refused(transform, field):
    message = f"{transform.name} has 2 numbers in {field} for images of 3 channels; give one for all"
    with pytest.raises(DataError, match=message):
        transform(np.zeros((3, 4, 4), np.uint8))


WRONG_MEANS = [math.nan, [math.nan], math.inf, 2e6, [], None, "0.5", [True], [0.5, "0.5"], {"0": 1}, 10**400]


@pytest.mark.parametrize("mean", WRONG_MEANS)
def test_wrong_means_are_refused(mean):
    for make in (lambda: Normalize(mean, 1), lambda: SubtractMean(mean)):
        with pytest.raises(DataError, match=r"mean must be a list of numbers from -1e\+06 to 1e\+06, not"):
            make()


@pytest.mark.parametrize("std", [0, [0.5, 0], -0.5, 1e-7, math.nan, [math.inf], None])
def test_wrong_stds_are_refused(std):
    with pytest.raises(DataError, match=r"std must be a list of numbers from 1e-06 to 1e\+06, not"):
        Normalize(0, std)


@pytest.mark.parametrize("divisor", [0, -255, math.nan, math.inf, "255", None, True, [255]])
def test_wrong_divisors_are_refused(divisor):
    with pytest.raises(DataError, match=r"divisor must be a number from 1e-06 to 1e\+06, not"):
        Scale(divisor)
