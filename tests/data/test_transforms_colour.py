"""Grey, RGB, inversion and the noise along principal components."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.data.sample_random import SampleRandom
from minialex.data.transforms import Invert, PcaNoise, ToGrey, ToRgb
from minialex.errors import DataError

with np.load(Path(__file__).parent / "expected" / "torchvision.npz") as _file:
    TORCHVISION = dict(_file)

ORTHONORMAL = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
VALUES = [0.2, 0.03, 0.004]


@pytest.mark.parametrize("name", ["landscape", "portrait"])
def test_grey_is_torchvisions(name):
    found = ToGrey()(TORCHVISION[name])
    assert found.dtype == np.uint8
    assert np.array_equal(found, TORCHVISION[f"{name} grey"])


def test_grey_is_the_luma_of_every_leading_axis():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 3, 5, 6), dtype=np.uint8)
    found = ToGrey()(images)
    assert found.shape == (2, 4, 1, 5, 6)
    luma = images.astype(float).transpose(0, 1, 3, 4, 2) @ [0.299, 0.587, 0.114]
    assert np.abs(found[:, :, 0] - luma).max() <= 0.51


def test_grey_and_rgb_stay_what_they_are():
    grey = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    rgb = np.arange(18, dtype=np.float32).reshape(3, 2, 3)
    assert np.array_equal(ToGrey()(grey), grey)
    assert np.array_equal(ToRgb()(rgb), rgb)


def test_grey_is_repeated():
    grey = np.arange(12, dtype=np.uint8).reshape(2, 1, 2, 3)
    found = ToRgb()(grey)
    assert found.shape == (2, 3, 2, 3)
    for channel in range(3):
        assert np.array_equal(found[:, channel], grey[:, 0])


@pytest.mark.parametrize("transform", [ToGrey(), ToRgb()])
def test_other_channels_are_refused(transform):
    with pytest.raises(DataError, match=f"{transform.name} takes images of 1 or 3 channels, not 2"):
        transform(np.zeros((2, 4, 4), np.uint8))


def test_invert_swaps_black_and_white():
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    found = Invert()(image)
    assert found.dtype == np.uint8
    assert found.ravel().tolist() == list(range(255, -1, -1))


class Given:
    """Normal numbers from a list."""

    def __init__(self, *numbers):
        self._numbers = list(numbers)

    def normal(self):
        return self._numbers.pop(0)


@given(st.lists(st.floats(-4, 4), min_size=3, max_size=3), st.floats(0, 2))
def test_the_noise_is_the_papers_formula(normals, sigma):
    transform = PcaNoise(VALUES, ORTHONORMAL.tolist(), sigma)
    image = np.random.default_rng(1).random((3, 4, 5), np.float32)
    before = image.copy()
    found = transform(image, Given(*normals))
    assert found.dtype == np.float32
    assert np.array_equal(image, before)
    # [p1, p2, p3] [a1 l1, a2 l2, a3 l3]^T with the p as columns, element by element.
    for channel in range(3):
        added = sum(ORTHONORMAL[k][channel] * sigma * normals[k] * VALUES[k] for k in range(3))
        np.testing.assert_allclose(
            found[channel], before[channel] + added, rtol=0, atol=3e-7 * (1 + abs(added))
        )


def test_the_noise_has_the_covariance_of_its_components():
    transform = PcaNoise(VALUES, ORTHONORMAL.tolist())
    assert transform.sigma == 0.1
    image = np.zeros((3, 1, 1), np.float32)
    count = 10_000
    colours = np.array([transform(image, SampleRandom(3, 0, index)).ravel() for index in range(count)])
    amounts = colours @ ORTHONORMAL.T / (0.1 * np.array(VALUES))
    # Three independent N(0, 1): the covariance has standard errors of sqrt(2 / n) and sqrt(1 / n).
    assert np.abs(amounts.mean(axis=0)).max() < 4 / math.sqrt(count)
    assert np.abs(amounts.T @ amounts / count - np.eye(3)).max() < 4 * math.sqrt(2 / count)


def test_all_pixels_get_one_colour_and_each_sample_its_own():
    transform = PcaNoise(VALUES, ORTHONORMAL.tolist())
    image = np.zeros((3, 6, 7), np.float32)
    first, second = (transform(image, SampleRandom(0, 0, index)) for index in range(2))
    assert np.array_equal(first, np.broadcast_to(first[:, :1, :1], first.shape))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, transform(image, SampleRandom(0, 0, 0)))


def test_the_noise_asks_for_rgb_on_the_scale_of_its_statistics():
    transform = PcaNoise(VALUES, ORTHONORMAL.tolist())
    with pytest.raises(DataError, match="pca_noise takes an array of float32, not an array of uint8 and"):
        transform(np.zeros((3, 4, 4), np.uint8), SampleRandom(0, 0, 0))
    with pytest.raises(DataError, match="pca_noise takes RGB images of 3 channels, not 1"):
        transform(np.zeros((1, 4, 4), np.float32), SampleRandom(0, 0, 0))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"eigenvalues": [0.1, 0.2]}, "eigenvalues must be a list of 3 numbers from 0 to 1e[+]06"),
        ({"eigenvalues": [0.1, 0.2, -0.1]}, "eigenvalues must be"),
        ({"eigenvalues": [0.1, 0.2, math.nan]}, "eigenvalues must be"),
        ({"eigenvectors": [[1, 0, 0], [0, 1, 0]]}, "eigenvectors must be a list of three lists"),
        ({"eigenvectors": 1}, "eigenvectors must be a list of three lists"),
        ({"eigenvectors": [[1, 0, 0], [0, 1, 0], [0, 0]]}, "eigenvectors must be a list of 3 numbers"),
        ({"eigenvectors": [[1, 0, 0], [0, 1, 0], [0, 0, math.nan]]}, "eigenvectors must be a list"),
        ({"eigenvectors": [[1, 0, 0], [0, 1, 0], [0, 0, 0.9]]}, "eigenvectors must have length 1"),
        ({"eigenvectors": [[1, 0, 0], [0, 1, 0], [0, 1, 0]]}, "at right angles to each other"),
        ({"sigma": -0.1}, "sigma must be a number from 0 to 1e[+]06"),
        ({"sigma": math.nan}, "sigma must be"),
    ],
)
def test_wrong_fields_of_the_noise_are_refused(fields, message):
    good = {"eigenvalues": VALUES, "eigenvectors": np.eye(3).tolist()}
    assert PcaNoise(**good).eigenvalues == tuple(VALUES)
    with pytest.raises(DataError, match=message):
        PcaNoise(**good | fields)
