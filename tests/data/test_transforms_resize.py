"""`resize`, `resize_with_pad`, `random_resized_crop` against saved values of torchvision and TensorFlow."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minialex.data.sample_random import SampleRandom
from minialex.data.transforms import InterpolationMode, RandomResizedCrop, Resize, ResizeWithPad
from minialex.errors import DataError

EXPECTED = Path(__file__).parent / "expected"
with np.load(EXPECTED / "torchvision.npz") as _file:
    TORCHVISION = dict(_file)
with np.load(EXPECTED / "tensorflow.npz") as _file:
    TENSORFLOW = dict(_file)
BOTH = ("landscape", "portrait")


def random_images(*shape):
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def triangle_weights(length, new_length):
    """Weights (new_length, length) of the widened triangle filter, from its definition."""
    scale = length / new_length
    support = max(scale, 1.0)
    centres = (np.arange(new_length) + 0.5) * scale
    distance = np.abs(np.arange(length) + 0.5 - centres[:, None]) / support
    weights = np.maximum(1 - distance, 0)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("size", [(24, 31), (60, 80), (37, 20)])
def test_resize_is_torchvisions(name, size):
    found = Resize(list(size))(TORCHVISION[name])
    assert found.dtype == np.uint8
    assert np.array_equal(found, TORCHVISION[f"{name} resize {size[0]} {size[1]}"])


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("side", [20, 64])
def test_the_shorter_side_is_torchvisions(name, side):
    found = Resize(shorter_side=side)(TORCHVISION[name])
    assert np.array_equal(found, TORCHVISION[f"{name} shorter {side}"])


@pytest.mark.parametrize(
    ("shape", "expected_shape"),
    [((375, 500), (256, 341)), ((500, 375), (341, 256)), ((256, 999), (256, 999)), ((3, 10), (256, 853))],
)
def test_the_longer_side_is_rounded_down(shape, expected_shape):
    assert Resize(shorter_side=256).output_shape((3, *shape)) == (3, *expected_shape)


@pytest.mark.parametrize("size", [(9, 30), (50, 12), (4, 4)])
def test_resize_averages_with_the_triangle_filter(size):
    image = random_images(1, 20, 24)
    wanted = triangle_weights(20, size[0]) @ image[0] @ triangle_weights(24, size[1]).T
    # Pillow rounds to 8 bits after each of the two directions.
    assert np.abs(Resize(size)(image)[0] - wanted).max() <= 1.01


def test_resize_works_on_any_leading_axes():
    images = random_images(2, 5, 3, 8, 9)
    transform = Resize((6, 12))
    together = transform(images)
    assert together.shape == (2, 5, 3, 6, 12)
    for position in np.ndindex(2, 5):
        assert np.array_equal(together[position], transform(images[position]))


def test_an_image_of_the_size_is_left_as_it_is():
    image = random_images(3, 8, 9)
    assert np.array_equal(Resize((8, 9))(image), image)
    assert np.array_equal(Resize(shorter_side=8)(image), image)
    assert Resize((8, 9)).steps((3, 8, 9)) == []
    assert Resize(shorter_side=8).steps((3, 8, 9)) == []


def test_pillow_is_needed_for_another_size_only(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    image = random_images(1, 4, 4)
    assert Resize((4, 4))(image).shape == (1, 4, 4)
    with pytest.raises(DataError, match=r"resizing needs a package.*pip install pillow"):
        Resize((5, 5))(image)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "resize needs one of size and shorter_side, not size None and shorter_side None"),
        ({"size": [4, 4], "shorter_side": 4}, "resize needs one of"),
        ({"size": 0}, r"size must be \[height, width\], not 0"),
        ({"size": [4]}, r"size must be \[height, width\]"),
        ({"size": [4, 4, 4]}, r"size must be \[height, width\]"),
        ({"size": [4, 0]}, r"size\[1\] must be an integer from 1 to 4,096, not 0"),
        ({"size": [4097, 4]}, r"size\[0\] must be an integer"),
        ({"size": [4.0, 4]}, r"size\[0\] must be an integer"),
        ({"size": [True, 4]}, r"size\[0\] must be an integer"),
        ({"shorter_side": 0}, "shorter_side must be an integer from 1 to 4,096"),
        ({"shorter_side": 4097}, "shorter_side must be an integer"),
        (
            {"size": 4, "interpolation": "cubic"},
            "interpolation must be 'nearest', .* or 'lanczos', not 'cubic'",
        ),
        ({"size": 4, "antialias": False}, r"antialias must be True, not False: .* F\.interpolate"),
        ({"size": 4, "max_size": 4}, "max_size must be an integer from 5 to .*, not 4"),
        ({"size": [4, 4], "max_size": 9}, "max_size must be None where size is a pair, not 9"),
    ],
)
def test_wrong_sizes_are_refused(fields, message):
    with pytest.raises(DataError, match=message):
        Resize(**fields)


PILLOW = ("nearest", "nearest-exact", "bilinear", "bicubic", "box", "hamming", "lanczos")


@pytest.mark.parametrize("interpolation", PILLOW)
@pytest.mark.parametrize("size", [(24, 31), (90, 70)])
def test_each_filter_is_pillows_which_torchvision_calls(interpolation, size):
    image = TORCHVISION["landscape"]
    picture = Image.fromarray(image.transpose(1, 2, 0))
    filters = {"nearest-exact": "nearest"}
    by = getattr(Image.Resampling, filters.get(interpolation, interpolation).upper())
    expected = np.asarray(picture.resize(size[::-1], by)).transpose(2, 0, 1)
    np.testing.assert_array_equal(Resize(list(size), interpolation)(image), expected)
    np.testing.assert_array_equal(
        np.asarray(Resize(size, interpolation)(picture)).transpose(2, 0, 1), expected
    )


def test_the_longer_side_is_limited_as_torchvision_documents_it():
    """Its documentation: "if the longer edge is greater than max_size, the smaller one may be overruled"."""
    limited = Resize(100, max_size=150)
    for shape, expected in (((50, 100), (75, 150)), ((100, 50), (150, 75)), ((50, 60), (100, 120))):
        assert limited.output_shape((3, *shape)) == (3, *expected)
    assert limited(random_images(3, 50, 100)).shape == (3, 75, 150)


def test_what_is_set_is_written_and_nothing_else():
    assert Resize(7, "bicubic", max_size=9).to_dict() == {
        "name": "resize",
        "shorter_side": 7,
        "interpolation": "bicubic",
        "max_size": 9,
    }
    assert Resize(7, antialias=None).to_dict() == {"name": "resize", "shorter_side": 7}
    assert repr(Resize((7, 8), "box")) == "Resize(size=(7, 8), interpolation='box')"
    assert Resize(7, InterpolationMode.BICUBIC).steps((3, 9, 8)) == ["shorter side resized to 7 (bicubic)"]


def test_a_longer_side_that_takes_too_much_memory_is_refused_before_it_is_made():
    transform = Resize(shorter_side=4096)
    assert transform.output_shape((1, 1, 5)) == (1, 4096, 20_480)
    with pytest.raises(DataError, match=r"4,096 x 24,576 pixels of an image of 1 x 6, more than the 89,4"):
        transform(np.zeros((1, 1, 6), np.uint8))


def test_floats_are_resized_without_rounding():
    image = np.random.default_rng(0).normal(size=(2, 9, 14)).astype(np.float32)
    found = Resize((4, 20))(image)
    wanted = triangle_weights(9, 4) @ image.astype(np.float64) @ triangle_weights(14, 20).T
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
    whole = RandomResizedCrop((4, 20), (1, 1), (14 / 9, 14 / 9))
    assert np.array_equal(whole(image, SampleRandom(0, 0, 0)), found)


PADDED = sorted(name.removesuffix(" source") for name in TENSORFLOW if name.endswith("source"))


@pytest.mark.parametrize("name", PADDED)
def test_resize_with_pad_is_tensorflows(name):
    height, width = map(int, name.split(" to ")[1].split())
    found = ResizeWithPad([height, width])(TENSORFLOW[f"{name} source"])
    assert found.dtype == np.float32
    assert found.shape[1:] == (height, width)
    wanted = TENSORFLOW[name]
    rows = found if wanted.shape == found.shape else found[:, ::6]
    # Three roundings of values up to 255, and the share's own; a fused multiply-add may save some.
    np.testing.assert_allclose(rows, wanted, rtol=0, atol=1e-4)
    sums = found.astype(np.float64).sum(axis=-1)
    np.testing.assert_allclose(sums, TENSORFLOW[f"{name} row sums"], rtol=0, atol=1e-4 * math.sqrt(width))


def test_all_cases_of_tensorflow_are_there():
    assert len(PADDED) == 7
    assert "28 28 to 227 227" in PADDED
    assert len(TENSORFLOW["places"]) == 400


def test_the_image_is_put_where_tensorflow_puts_it():
    for height, width, *size, top, left, rows, columns in TENSORFLOW["places"].tolist():
        found = ResizeWithPad(size)(np.ones((1, height, width), np.uint8))[0]
        inside = np.zeros(size, np.float32)
        inside[top : top + rows, left : left + columns] = 1
        assert np.array_equal(found, inside), (height, width, size)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40), st.integers(1, 40))
def test_any_size_fits(height, width, new_height, new_width):
    image = np.ones((1, height, width), np.uint8)
    found = ResizeWithPad((new_height, new_width))(image)
    assert found.shape == (1, new_height, new_width)
    assert set(np.unique(found)) <= {0.0, 1.0}
    assert found.max() == 1


def test_resize_with_pad_works_on_floats_and_on_any_leading_axes():
    images = random_images(2, 3, 9, 14)
    transform = ResizeWithPad((11, 20))
    together = transform(images)
    assert np.array_equal(together, transform(images.astype(np.float32)))
    assert np.array_equal(together, np.stack([transform(image) for image in images]))
    # In float64, from the definition: the weights of the two pixels around a new pixel's centre.
    wanted = plain_bilinear(images[1, 2], 11, 17)
    np.testing.assert_allclose(together[1, 2, :, 1:18], wanted, atol=1e-4)
    assert not together[..., 0].any()
    assert not together[..., 18:].any()


def plain_bilinear(plane, height, width):
    """Each new pixel from four old ones, pixel by pixel, in float64."""
    out = np.empty((height, width))
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * plane.shape[0] / height - 0.5, 0), plane.shape[0] - 1)
            x = min(max((j + 0.5) * plane.shape[1] / width - 0.5, 0), plane.shape[1] - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, plane.shape[0] - 1), min(x0 + 1, plane.shape[1] - 1)
            upper = plane[y0, x0] * (1 - (x - x0)) + plane[y0, x1] * (x - x0)
            lower = plane[y1, x0] * (1 - (x - x0)) + plane[y1, x1] * (x - x0)
            out[i, j] = upper * (1 - (y - y0)) + lower * (y - y0)
    return out


BOXES = [(0, 0, 37, 37), (3, 5, 20, 9), (30, 1, 1, 33), (7, 2, 24, 24)]


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("box", BOXES)
def test_a_box_is_cropped_and_resized_as_in_torchvision(name, box, monkeypatch):
    monkeypatch.setattr(RandomResizedCrop, "box", lambda *arguments: box)
    found = RandomResizedCrop((24, 24))(TORCHVISION[name], SampleRandom(0, 0, 0))
    assert np.array_equal(found, TORCHVISION[f"{name} box {' '.join(map(str, box))}"])


def test_where_no_crop_fits_the_one_at_the_centre_is_torchvisions():
    transform = RandomResizedCrop((8, 8), scale=(1, 1))
    for height, width, *box in TORCHVISION["centre boxes"].tolist():
        assert transform.box(height, width, SampleRandom(0, 0, 0)) == tuple(box)
    assert len(TORCHVISION["centre boxes"]) == 6


def test_a_fitting_crop_is_found_in_the_last_of_ten_tries():
    class Numbers:
        """Areas that do not fit until a given try."""

        def __init__(self, last):
            self.left, self.drawn = last, 0

        def uniform(self, low, high):
            self.drawn += 1
            if low < 0:  # the logarithm of the ratio
                return 0.0
            self.left -= 1
            return 0.25 if self.left == 0 else 1.0

        def integers(self, low, high):
            return high - 1

    # Of 40 x 10 pixels a square of the whole area is 20 x 20, which is too wide; a quarter is 10 x 10.
    transform = RandomResizedCrop((8, 8), scale=(0.25, 1))
    assert transform.box(40, 10, Numbers(10)) == (30, 0, 10, 10)
    numbers = Numbers(11)
    assert transform.box(40, 10, numbers) == (13, 0, 13, 10)
    assert numbers.drawn == 20


def test_a_box_has_the_area_and_the_ratio_rounded_to_pixels():
    class Numbers:
        """A share of 0.35, a ratio of 1.2, and the last place of each axis."""

        def uniform(self, low, high):
            return math.log(1.2) if low < 0 else 0.35

        def integers(self, low, high):
            return high - 1

    # Of 375 x 500: sqrt(65625 * 1.2) = 280.6 columns, sqrt(65625 / 1.2) = 233.8 rows.
    assert RandomResizedCrop((8, 8)).box(375, 500, Numbers()) == (375 - 234, 500 - 281, 234, 281)


def test_the_boxes_have_torchvisions_distribution():
    transform = RandomResizedCrop((224, 224))
    count = 6_000
    boxes = np.array([transform.box(375, 500, SampleRandom(0, 0, index)) for index in range(count)])
    quantiles = TORCHVISION["box quantiles"]
    shares = np.arange(1, 20) / 20
    for column in range(4):
        for share, quantile in zip(shares, quantiles[:, column], strict=True):
            below, up_to = (boxes[:, column] < quantile).mean(), (boxes[:, column] <= quantile).mean()
            # Four standard errors of ours and of the 50,000 draws that gave the quantile.
            error = 4 * math.sqrt(share * (1 - share) * (1 / count + 1 / 50_000))
            assert below - error <= share <= up_to + error, (column, share)


@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 2**64 - 1))
def test_a_box_lies_in_the_image_and_has_the_share_and_ratio(height, width, index):
    transform = RandomResizedCrop((5, 4), scale=(0.3, 0.6), ratio=(1.5, 3))
    top, left, rows, columns = transform.box(height, width, SampleRandom(5, 6, index))
    assert 0 <= top <= top + rows <= height
    assert 0 <= left <= left + columns <= width
    assert min(rows, columns) >= 1
    whole = rows == height or columns == width
    # Both sides are rounded by up to half a pixel.
    assert whole or (rows + 0.5) * (columns + 0.5) / (height * width) >= 0.3
    assert whole or (rows - 0.5) * (columns - 0.5) / (height * width) <= 0.6
    assert (columns - 0.5) / (rows + 0.5) <= 3
    assert (columns + 0.5) / (rows - 0.5) >= 1.5 or columns == width
    assert transform(random_images(3, height, width), SampleRandom(5, 6, index)).shape == (3, 5, 4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 0}, r"size must be \[height, width\]"),
        ({"scale": [0, 1]}, "scale must be a list of 2 numbers from 1e-06 to 1, not"),
        ({"scale": [0.5]}, "scale must be a list of 2 numbers"),
        ({"scale": [0.5, 1.5]}, "scale must be"),
        ({"scale": [0.9, 0.5]}, r"scale must be \[low, high\] with low up to high, not \[0.9, 0.5\]"),
        ({"scale": [math.nan, 1]}, "scale must be"),
        ({"scale": 0.5}, "scale must be"),
        ({"ratio": [0, 1]}, "ratio must be a list of 2 numbers from 0.001 to 1000"),
        ({"ratio": [1, math.inf]}, "ratio must be"),
        ({"ratio": [2, 1]}, r"ratio must be \[low, high\]"),
    ],
)
def test_wrong_fields_of_a_random_crop_are_refused(fields, message):
    with pytest.raises(DataError, match=message):
        RandomResizedCrop(**{"size": [4, 4]} | fields)
