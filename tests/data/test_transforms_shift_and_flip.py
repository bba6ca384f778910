"""`shift` against saved values of Keras and against loops; `horizontal_flip` against its definition."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.data.sample_random import SampleRandom
from minialex.data.transforms import HorizontalFlip, Shift
from minialex.data.transforms.shift import shifted
from minialex.errors import DataError

EXPECTED = Path(__file__).parent / "expected"
with np.load(EXPECTED / "keras.npz") as _file:
    KERAS = dict(_file)
SHIFTS = sorted(name for name in KERAS if name.startswith("shift") and "flip" not in name)


def shifted_by_loops(image, rows, columns, cval):
    """Each element from its four neighbours, in float64; `cval` beyond the outermost elements."""
    out = np.full(image.shape, float(cval))
    for c, i, j in np.ndindex(image.shape):
        y, x = i + rows, j + columns
        if 0 <= y <= image.shape[1] - 1 and 0 <= x <= image.shape[2] - 1:
            y0, x0 = math.floor(y), math.floor(x)
            y1, x1 = min(y0 + 1, image.shape[1] - 1), min(x0 + 1, image.shape[2] - 1)
            upper = image[c, y0, x0] * (1 - (x - x0)) + image[c, y0, x1] * (x - x0)
            lower = image[c, y1, x0] * (1 - (x - x0)) + image[c, y1, x1] * (x - x0)
            out[c, i, j] = upper * (1 - (y - y0)) + lower * (y - y0)
    return out


def test_all_shifts_of_keras_are_there():
    assert len(SHIFTS) == 18


@pytest.mark.parametrize("name", SHIFTS)
def test_shifting_is_keras(name):
    rows, columns, cval = map(float, name.split()[1:])
    found = shifted(KERAS["source"], rows, columns, cval)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, KERAS[name], rtol=0, atol=1e-6)


def test_mirroring_after_shifting_is_keras():
    moved = shifted(KERAS["source"], -2.25, 1.5, 0.75)
    found = HorizontalFlip(1.0)(moved, SampleRandom(0, 0, 0))
    np.testing.assert_allclose(found, KERAS["shift -2.25 1.5 0.75 then flip"], rtol=0, atol=1e-6)


@given(
    st.integers(1, 7),
    st.integers(1, 7),
    st.floats(-9, 9) | st.integers(-9, 9),
    st.floats(-9, 9) | st.integers(-9, 9),
    st.floats(-2, 2),
)
def test_shifting_is_what_the_loops_do(height, width, rows, columns, cval):
    # A shift so close to a whole number that float32 cannot tell: the loops' last row would be one more.
    rows, columns = round(rows, 3), round(columns, 3)
    image = np.random.default_rng(0).normal(0, 1, (2, height, width)).astype(np.float32)
    before = image.copy()
    found = shifted(image, rows, columns, cval)
    np.testing.assert_allclose(found, shifted_by_loops(image, rows, columns, cval), rtol=0, atol=2e-6)
    assert np.array_equal(image, before)


def test_bytes_are_shifted_into_floats():
    image = np.array([[[0, 200, 255]]], np.uint8)
    assert shifted(image, 0, 0.5, 7.0).tolist() == [[[100.0, 227.5, 7.0]]]
    assert shifted(image, 0, -1, 7.0).tolist() == [[[7.0, 0.0, 200.0]]]
    found = Shift()(image, SampleRandom(0, 0, 0))
    assert found.dtype == np.float32
    assert np.array_equal(found, image)


class Extreme:
    """Random numbers at the ends of their ranges."""

    def __init__(self, *shares):
        self._shares = list(shares)

    def uniform(self, low, high):
        return low + (high - low) * self._shares.pop(0)


def test_a_shift_is_a_fraction_of_each_side():
    image = np.arange(8 * 20, dtype=np.float32).reshape(1, 8, 20)
    transform = Shift(height=0.25, width=0.25, cval=-1.0)
    for shares, (rows, columns) in (((0, 0), (-2, -5)), ((1, 1), (2, 5)), ((0.75, 0.5), (1, 0))):
        wanted = shifted_by_loops(image, rows, columns, -1.0)
        np.testing.assert_allclose(transform(image, Extreme(*shares)), wanted, atol=1e-4)


def test_shifts_are_evenly_and_independently_distributed():
    transform = Shift(height=0.125, width=0.25)
    # Two channels that hold their row and column say at any pixel by how much they were shifted.
    image = np.mgrid[:33, :33].astype(np.float32)
    count = 4_000
    moved = [transform(image, SampleRandom(0, 0, index))[:, 16, 16] - 16 for index in range(count)]
    shares = np.array(moved) / (33 * 0.125, 33 * 0.25)
    assert np.abs(shares).max() <= 1 + 1e-6
    counts, *_ = np.histogram2d(*shares.T, bins=4, range=[(-1, 1), (-1, 1)])
    # Chi-squared with 15 degrees of freedom exceeds 37.7 once in a thousand times.
    assert ((counts - count / 16) ** 2 / (count / 16)).sum() < 37.7


@pytest.mark.parametrize("field", ["height", "width"])
@pytest.mark.parametrize("value", [-0.1, 1, 1.5, math.nan, math.inf, "0.1", None, True, [0.1]])
def test_wrong_fractions_are_refused(field, value):
    with pytest.raises(DataError, match=f"{field} must be a number from 0 to 0.99, not"):
        Shift(**{field: value})


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e7, None, "0"])
def test_a_wrong_fill_is_refused(value):
    with pytest.raises(DataError, match=r"cval must be a number from -1e\+06 to 1e\+06"):
        Shift(cval=value)


def test_mirroring_is_torchvisions():
    with np.load(EXPECTED / "torchvision.npz") as file:
        image, mirrored = file["landscape"], file["landscape flip"]
    assert np.array_equal(HorizontalFlip(1.0)(image, SampleRandom(0, 0, 0)), mirrored)
    assert np.array_equal(HorizontalFlip(0.0)(image, SampleRandom(0, 0, 0)), image)
    assert not np.array_equal(image, mirrored)


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_images_are_mirrored_with_the_probability(p):
    image = np.array([[[1, 2]]], np.uint8)
    count = 5_000
    transform = HorizontalFlip(p)
    found = [transform(image, SampleRandom(0, 0, index))[0, 0].tolist() for index in range(count)]
    mirrored = found.count([2, 1])
    assert mirrored + found.count([1, 2]) == count
    assert abs(mirrored / count - p) < 4 * math.sqrt(p * (1 - p) / count)


def test_half_of_the_images_are_mirrored_unless_told_otherwise():
    assert HorizontalFlip() == HorizontalFlip(0.5)


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan, None, True, "0.5"])
def test_a_wrong_probability_is_refused(p):
    with pytest.raises(DataError, match="p must be a number from 0 to 1, not"):
        HorizontalFlip(p)
