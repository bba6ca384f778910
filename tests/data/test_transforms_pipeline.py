"""`Pipeline`: order, batches, shapes, sentences and the list form; `standard_pipeline`."""

import json
import math
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.data import MNIST_MEAN, MNIST_STD
from minialex.data.sample_random import SampleRandom
from minialex.data.transforms import (
    TRANSFORMS,
    CenterCrop,
    ColorJitter,
    Grayscale,
    HorizontalFlip,
    Invert,
    Normalize,
    Pad,
    PcaNoise,
    Pipeline,
    RandomCrop,
    RandomErasing,
    RandomGrayscale,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
    Resize,
    ResizeWithPad,
    Scale,
    Shift,
    SubtractMean,
    TenCrop,
    ToGrey,
    ToRgb,
    standard_pipeline,
)
from minialex.data.transforms.transform import Transform
from minialex.errors import DataError

RGB_MEAN, RGB_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

# One of each transform, and pipelines for every source of colour images.
EACH = [
    Resize((9, 8)),
    Resize(shorter_side=12),
    ResizeWithPad((9, 8)),
    RandomResizedCrop((9, 8), (0.2, 0.9), (0.5, 2.0)),
    RandomCrop((5, 4), 2),
    CenterCrop((5, 4)),
    TenCrop((5, 4)),
    HorizontalFlip(0.3),
    Shift(0.25, 0.125, 0.5),
    Scale(255.0),
    Normalize(RGB_MEAN, RGB_STD),
    SubtractMean((0.5,)),
    ToGrey(),
    ToRgb(),
    Invert(),
    RandomVerticalFlip(0.3),
    Pad((1, 2), (1.0, 2.0, 3.0)),
    RandomRotation(30.0, "bilinear", fill=7),
    ColorJitter(0.4, 0.3, 0.2, 0.1),
    Grayscale(3),
    RandomGrayscale(0.4),
    RandomErasing(0.7, value="random"),
    PcaNoise((0.2, 0.02, 0.002), AXES, 0.2),
]
PIPELINES = {
    "the paper's training": (
        Resize(shorter_side=12),
        RandomCrop((9, 9)),
        HorizontalFlip(),
        Scale(),
        EACH[-1],
        SubtractMean(RGB_MEAN),
    ),
    "the paper's test": (Resize(shorter_side=12), TenCrop((9, 9)), Scale(), SubtractMean(RGB_MEAN)),
    "flowers": (RandomResizedCrop((9, 8)), HorizontalFlip(), Scale(), Normalize(0.5, 0.5)),
    "CIFAR-10": (Resize((8, 8)), Normalize(125.0, 63.0), Shift(0.125, 0.125), HorizontalFlip()),
    "grey": (ToGrey(), ResizeWithPad((9, 8))),
    "plain": (Invert(), CenterCrop((5, 4)), Scale(), Normalize(RGB_MEAN, RGB_STD)),
    "in another order": (Scale(), HorizontalFlip(), Normalize(0.5, 0.5), RandomCrop((5, 4), 1), ToRgb()),
}


def random_images(*shape):
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def randoms(count, epoch=0):
    return [SampleRandom(8, epoch, index) for index in range(count)]


def test_every_transform_is_among_those_tested():
    assert {type(transform) for transform in EACH} == {
        kind for kind in TRANSFORMS.values() if kind.__module__.startswith("minialex.")
    }


@pytest.mark.parametrize("name", PIPELINES)
def test_transforms_are_applied_in_order(name):
    image = random_images(3, 14, 12)
    wanted, random = image, SampleRandom(8, 0, 0)
    for transform in PIPELINES[name]:
        wanted = transform(wanted, random)
    pipeline = Pipeline(PIPELINES[name])
    found = pipeline(image, SampleRandom(8, 0, 0))
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert found.flags.writeable
    assert np.array_equal(found, wanted)
    assert found.shape == pipeline.output_shape(image.shape)


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("part_bytes", [1, 5_000, 1 << 30])
def test_a_batch_has_the_bits_of_its_samples(name, part_bytes, monkeypatch):
    monkeypatch.setattr("minialex.data.transforms.pipeline._PART_BYTES", part_bytes)
    pipeline = Pipeline(PIPELINES[name])
    images = random_images(7, 3, 14, 12)
    before = images.copy()
    wanted = [pipeline(image, random) for image, random in zip(images, randoms(7), strict=True)]
    for given_images in (images, list(images), tuple(images)):
        found = pipeline.batch(given_images, randoms(7))
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        assert np.array_equal(found, np.stack(wanted))
    assert np.array_equal(images, before)


@pytest.mark.parametrize("name", ["the paper's training", "flowers", "CIFAR-10", "grey", "plain"])
def test_images_of_many_sizes_make_a_batch(name):
    pipeline = Pipeline(PIPELINES[name])
    images = [random_images(3, height, width) for height, width in ((14, 12), (9, 30), (14, 12), (20, 9))]
    found = pipeline.batch(images, randoms(4))
    wanted = [pipeline(image, random) for image, random in zip(images, randoms(4), strict=True)]
    assert np.array_equal(found, np.stack(wanted))


def test_views_and_read_only_images_are_taken():
    pipeline = Pipeline(PIPELINES["CIFAR-10"])
    images = random_images(5, 12, 14, 3).transpose(0, 3, 2, 1)[::-1]
    images.flags.writeable = False
    assert np.array_equal(pipeline.batch(images, randoms(5)), pipeline.batch(images.copy(), randoms(5)))


@pytest.mark.parametrize("name", PIPELINES)
def test_an_empty_batch_has_the_shape(name):
    pipeline = Pipeline(PIPELINES[name])
    found = pipeline.batch(random_images(0, 3, 14, 12), [])
    assert found.shape == (0, *pipeline.output_shape((3, 14, 12)))
    assert found.dtype == np.float32


def test_augmentation_follows_from_the_sample_and_the_epoch_alone():
    pipeline = Pipeline(PIPELINES["the paper's training"])
    images = random_images(6, 3, 14, 12)
    first = pipeline.batch(images, randoms(6))
    assert np.array_equal(pipeline.batch(images[::-1], randoms(6)[::-1]), first[::-1])
    assert not np.array_equal(pipeline.batch(images, randoms(6, epoch=1)), first)


def test_random_numbers_are_asked_for_where_they_are_needed():
    images = random_images(2, 3, 14, 12)
    pipeline = Pipeline(PIPELINES["flowers"])
    assert pipeline.is_random
    for wrong, given_text in ((None, "none"), ([None, None], "none"), (randoms(1), "1")):
        with pytest.raises(DataError, match=f"give a SampleRandom for each of 2 images, not {given_text}"):
            pipeline.batch(images, wrong)
    with pytest.raises(DataError, match="give a SampleRandom for each of 1 images, not none"):
        pipeline(images[0])
    plain = Pipeline(PIPELINES["plain"])
    assert not plain.is_random
    assert np.array_equal(plain(images[0]), plain.batch(images)[0])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 3, 4, 4), np.float32), "must be a uint8 array .*not an array of float32 and shape"),
        (np.zeros((3, 4, 4), np.uint8), r"not an array of uint8 and shape \(3, 4, 4\)"),
        ([], r"not \[\]"),
        (None, "not None"),
        (
            [np.zeros((3, 4, 4), np.float32)],
            r"an image must be a uint8 array of shape \(C, H, W\), not an array of float32",
        ),
        ([np.zeros((4, 4), np.uint8)], r"an image must be .*not an array of uint8 and shape \(4, 4\)"),
        ([[[1]]], r"an image must be .*not \[\[1\]\]"),
        (np.zeros((2, 2, 6, 6), np.uint8), "normalize has 3 numbers in mean for images of 2 channels"),
        (np.zeros((2, 3, 0, 6), np.uint8), "lengths from 1, not 3 x 0 x 6"),
        (np.zeros((2, 3, 4, 4), np.uint8), "center_crop of 5 x 4 does not fit"),
    ],
)
def test_wrong_images_are_refused(images, message):
    with pytest.raises(DataError, match=message):
        Pipeline(PIPELINES["plain"]).batch(images)


def test_results_of_different_sizes_do_not_make_a_batch():
    pipeline = Pipeline((Resize(shorter_side=4), Scale()))
    with pytest.raises(DataError, match="become different sizes, 1 x 4 x 5 and 1 x 4 x 8; end"):
        pipeline.batch([np.zeros((1, 8, 10), np.uint8), np.zeros((1, 4, 8), np.uint8)])


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ((), "transforms must be a list of 1 to 100 transforms"),
        ([Scale()] * 101, "transforms must be a list of 1 to 100 transforms"),
        (Scale(), "transforms must be a list"),
        ((Scale(), "invert"), "transform 2 must be a Transform, not 'invert'"),
        ((Scale(), Invert()), "transform 2, invert, takes uint8, but those before it give float32; change"),
        ((Scale(), HorizontalFlip(), ToGrey()), "transform 3, to_grey, takes uint8"),
        ((PcaNoise((1, 1, 1), AXES),), "transform 1, pca_noise, takes float32, but .* give uint8"),
        ((Resize((4, 4)),), "the transforms end in uint8, but a network reads float32; add scale"),
        ((TenCrop((4, 4)), HorizontalFlip(), Scale()), "transform 2, horizontal_flip, cannot come after ten"),
        ((TenCrop((4, 4)), TenCrop((3, 3)), Scale()), "transform 2, ten_crop, cannot come after ten_crop"),
    ],
)
def test_transforms_that_do_not_go_together_are_refused(transforms, message):
    with pytest.raises(DataError, match=message):
        Pipeline(transforms)


def test_unknown_lengths_are_traced():
    assert Pipeline(PIPELINES["flowers"]).output_shape((3, None, None)) == (3, 9, 8)
    assert Pipeline(PIPELINES["the paper's test"]).output_shape((3, None, None)) == (10, 3, 9, 9)
    assert Pipeline((Resize(shorter_side=5), Scale())).output_shape((3, None, None)) == (3, None, None)
    with pytest.raises(DataError, match=r"must have a shape \(C, H, W\), not \(28, 28\)"):
        Pipeline((Scale(),)).output_shape((28, 28))


def test_the_networks_input_is_checked():
    Pipeline(PIPELINES["flowers"]).check_output((3, None, None), (3, 9, 8))
    Pipeline(PIPELINES["the paper's test"]).check_output((3, 40, 30), [3, 9, 9])
    message = "images of 1 x 28 x 28 become 1 x 28 x 28, but the network's input is 3 x 9 x 8; change"
    with pytest.raises(DataError, match=message):
        Pipeline((Scale(),)).check_output((1, 28, 28), (3, 9, 8))
    with pytest.raises(DataError, match=r"become 3 x \? x \?, but"):
        Pipeline((Resize(shorter_side=5), Scale())).check_output((3, None, None), (3, 9, 8))


@pytest.mark.parametrize(
    ("name", "source", "sentence"),
    [
        (
            "the paper's training",
            (3, None, None),
            "any size RGB, shorter side resized to 12 (bilinear), random crop of 9 x 9, mirrored left to "
            "right with probability 0.5, scaled to 0..1, colour noise along the principal components "
            "(sigma 0.2), mean (0.485, 0.456, 0.406) subtracted",
        ),
        (
            "the paper's test",
            (3, 300, 200),
            "300 x 200 RGB, shorter side resized to 12 (bilinear), ten crops of 9 x 9, scaled to 0..1, mean "
            "(0.485, 0.456, 0.406) subtracted",
        ),
        (
            "flowers",
            (3, 300, 200),
            "300 x 200 RGB, random crop of 8 to 100 % of the area resized to 9 x 8 (bilinear), mirrored "
            "left to right with probability 0.5, scaled to 0..1, mean 0.5, std 0.5",
        ),
        (
            "CIFAR-10",
            (3, 8, 8),
            "8 x 8 RGB, mean 125, std 63, shifted by up to 0.125 of the height and 0.125 of the width, "
            "filled with 0, mirrored left to right with probability 0.5",
        ),
        (
            "grey",
            (3, 8, 8),
            "8 x 8 RGB, converted to grey (ITU-R 601 luma), resized to fit 9 x 8 (bilinear, not antialiased) "
            "and padded with zeros",
        ),
        (
            "in another order",
            (1, 8, 8),
            "8 x 8 grey, scaled to 0..1, mirrored left to right with probability 0.5, mean 0.5, std 0.5, "
            "padded by 1 with zeros, random crop of 5 x 4, repeated to 3 channels",
        ),
        ("plain", (3, 5, 4), f"5 x 4 RGB, inverted, scaled to 0..1, mean {RGB_MEAN}, std {RGB_STD}"),
        (
            "plain",
            (3, 8, 4),
            f"8 x 4 RGB, inverted, center crop of 5 x 4, scaled to 0..1, mean {RGB_MEAN}, std {RGB_STD}",
        ),
    ],
)
def test_description_says_what_is_done(name, source, sentence):
    pipeline = Pipeline(PIPELINES[name])
    assert pipeline.describe(source) == sentence
    assert sentence.split(", ", 1)[1] == ", ".join(pipeline.steps(source))


def test_describing_impossible_images_is_refused():
    pipeline = Pipeline(PIPELINES["plain"])
    for source in ((2, 8, 8), (28, 28), (3, 0, 8), (3, 4, 4)):
        with pytest.raises(DataError):
            pipeline.describe(source)


# The list form.


@pytest.mark.parametrize("name", PIPELINES)
def test_the_list_gives_the_same_pipeline_back(name):
    pipeline = Pipeline(PIPELINES[name])
    written = json.loads(json.dumps(pipeline.to_list(), allow_nan=False))
    assert written == pipeline.to_list()
    assert Pipeline.from_list(written) == pipeline


def test_the_list_has_all_fields_as_plain_values():
    pipeline = Pipeline(
        (EACH[3], Resize((np.int64(5), 4)), Scale(), Normalize([np.float32(0.5)], 1), EACH[-1])
    )
    assert pipeline.to_list() == [
        {"name": "random_resized_crop", "size": [9, 8], "scale": [0.2, 0.9], "ratio": [0.5, 2.0]},
        {"name": "resize", "size": [5, 4]},
        {"name": "scale", "divisor": 255.0},
        {"name": "normalize", "mean": [0.5], "std": [1.0]},
        {
            "name": "pca_noise",
            "eigenvalues": [0.2, 0.02, 0.002],
            "eigenvectors": [list(axis) for axis in AXES],
            "sigma": 0.2,
        },
    ]
    assert type(pipeline.transforms[1].size[0]) is int
    assert type(pipeline.transforms[3].mean[0]) is float


@given(st.floats(1e-6, 1), st.floats(1e-6, 1), st.integers(1, 4096), st.booleans())
def test_drawn_values_come_back_exactly(low, high, side, by_side):
    crop = RandomResizedCrop((side, 4097 - side), sorted((low, high)), (1 - low / 2, 1 + high))
    resize = Resize(shorter_side=side) if by_side else Resize((side, 3))
    pipeline = Pipeline((resize, crop, Scale(high), Normalize((low, -high), (high,))))
    assert Pipeline.from_list(json.loads(json.dumps(pipeline.to_list()))) == pipeline


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "transforms must be a list of up to 100, not None"),
        ({"name": "scale"}, "transforms must be a list of up to 100"),
        ([{"name": "scale"}] * 101, "transforms must be a list of up to 100"),
        ([], "transforms must be a list of 1 to 100"),
        (["scale"], "a transform must be a table with a name, not 'scale'"),
        ([{}], r"a transform must be a table with a name, not \{\}"),
        ([{"name": 1}], "a transform must be a table with a name"),
        ([{"name": ["scale"]}], "a transform must be a table with a name"),
        ([{"name": "blur"}], "there is no transform called 'blur'; there are center_crop, color_jitter, "),
        ([{"name": "x" * 10_000}], "there is no transform called"),
        ([{"name": "scale", "factor": 2}], "transform scale has no field 'factor'; it has divisor"),
        ([{"name": "scale", 7: 2}], "transform scale has no field '7'"),
        ([{"name": "invert", "p": 2}], "transform invert has no field 'p'; it has none"),
        ([{"name": "resize", "takes": []}], "transform resize has no field 'takes'"),
        ([{"name": "center_crop"}], "transform center_crop needs the field size"),
        ([{"name": "normalize", "mean": 0}], "transform normalize needs the field std"),
        ([{"name": "scale", "divisor": math.nan}], "divisor must be a number"),
    ],
)
def test_a_wrong_list_is_refused(values, message):
    with pytest.raises(DataError, match=message) as caught:
        Pipeline.from_list(values)
    assert len(str(caught.value)) < 400


def test_a_name_is_registered_once():
    with pytest.raises(DataError, match="there is a transform called scale already"):

        class Other(Transform, name="scale"):
            pass

    assert TRANSFORMS["scale"] is Scale


# The standard pipeline: expected values from its definition, in Pillow and in float64.


def test_every_byte_is_scaled_and_normalised():
    pipeline = standard_pipeline((1, 16, 16), MNIST_MEAN, MNIST_STD)
    x = pipeline(np.arange(256, dtype=np.uint8).reshape(1, 16, 16))
    byte = np.arange(256, dtype=np.float32)
    # The arithmetic of torchvision's ToTensor and Normalize, bit by bit.
    wanted = (byte / np.float32(255) - np.float32(0.1307)) / np.float32(0.3081)
    assert np.array_equal(x.ravel(), wanted)
    np.testing.assert_allclose(x.ravel(), [(each / 255 - 0.1307) / 0.3081 for each in range(256)], atol=1e-6)


def test_a_resized_image_has_torchvisions_bits():
    with np.load(Path(__file__).parent / "expected" / "torchvision.npz") as file:
        image, resized = file["landscape"], file["landscape resize 24 31"]
    x = standard_pipeline((3, 24, 31), RGB_MEAN, RGB_STD)(image)
    mean, std = (np.array(values, np.float32)[:, np.newaxis, np.newaxis] for values in (RGB_MEAN, RGB_STD))
    assert np.array_equal(x, (resized.astype(np.float32) / np.float32(255) - mean) / std)


@pytest.mark.parametrize("size", [(7, 5), (28, 31), (40, 64)])
@pytest.mark.parametrize("invert", [False, True])
def test_colour_is_resized_by_pillow(size, invert):
    images = random_images(2, 3, 28, 31)
    x = standard_pipeline((3, *size), 0.0, 1.0, invert=invert).batch(images)
    for image, found in zip(images, x, strict=True):
        colour = PIL.Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        wanted = np.asarray(colour.resize(size[::-1], PIL.Image.Resampling.BILINEAR)).astype(int)
        assert np.array_equal(np.rint(found * 255), (255 - wanted if invert else wanted).transpose(2, 0, 1))


def test_colour_becomes_grey_before_resizing_and_is_inverted_after():
    images = random_images(1, 3, 10, 10)
    x = standard_pipeline((1, 6, 6), 0.0, 1 / 255, invert=True).batch(images)
    colour = PIL.Image.fromarray(np.ascontiguousarray(images[0].transpose(1, 2, 0)))
    grey = colour.convert("L").resize((6, 6), PIL.Image.Resampling.BILINEAR)
    assert np.array_equal(np.rint(x[0, 0]), 255 - np.asarray(grey).astype(int))


def test_grey_is_repeated_and_then_normalised():
    images = random_images(2, 1, 4, 5)
    x = standard_pipeline((3, 4, 5), RGB_MEAN, RGB_STD).batch(images)
    for channel in range(3):
        wanted = (images[:, 0] / 255 - RGB_MEAN[channel]) / RGB_STD[channel]
        np.testing.assert_allclose(x[:, channel], wanted, atol=2e-6)


def test_any_number_of_channels_passes_unchanged():
    images = random_images(2, 4, 3, 3)
    x = standard_pipeline((4, 3, 3), 0.0, 1.0).batch(images)
    np.testing.assert_allclose(x, images / 255, atol=1e-7)
    with pytest.raises(DataError, match="has 4 numbers in mean for images of 3 channels"):
        standard_pipeline((4, 3, 3), 0.0, 1.0).batch(images[:, :3])


@pytest.mark.parametrize(
    ("pipeline", "source", "sentence"),
    [
        (
            standard_pipeline((3, 227, 227), 0.1307, 0.3081),
            (1, 28, 28),
            "28 x 28 grey, resized to 227 x 227 (bilinear), repeated to 3 channels, "
            "scaled to 0..1, mean 0.1307, std 0.3081",
        ),
        (
            standard_pipeline((1, 28, 28), 0.1307, 0.3081),
            (1, 28, 28),
            "28 x 28 grey, scaled to 0..1, mean 0.1307, std 0.3081",
        ),
        (
            standard_pipeline((1, 28, 30), 0.5, 0.5, invert=True),
            (3, 480, 640),
            "480 x 640 RGB, converted to grey (ITU-R 601 luma), resized to 28 x 30 (bilinear), "
            "inverted, scaled to 0..1, mean 0.5, std 0.5",
        ),
        (
            standard_pipeline((3, 32, 32), RGB_MEAN, RGB_STD, invert=True),
            (1, 32, 32),
            "32 x 32 grey, inverted, repeated to 3 channels, scaled to 0..1, mean (0.485, 0.456, 0.406), "
            "std (0.229, 0.224, 0.225)",
        ),
        (
            standard_pipeline((2, 5, 5), 0.0, 1.0),
            (2, 5, 5),
            "5 x 5 with 2 channels, scaled to 0..1, mean 0, std 1",
        ),
    ],
)
def test_the_standard_pipeline_says_what_it_does(pipeline, source, sentence):
    assert pipeline.describe(source) == sentence


@pytest.mark.parametrize("source", [(1, 9, 7), (3, 9, 7), (1, 8, 6), (3, 8, 6)])
@pytest.mark.parametrize("input_shape", [(1, 8, 6), (3, 8, 6)])
def test_inverting_is_there_and_back(source, input_shape):
    images = random_images(2, *source)
    plain = standard_pipeline(input_shape, 0.2, 0.5)
    inverted = standard_pipeline(input_shape, 0.2, 0.5, invert=True)
    assert np.array_equal(plain.inverted().batch(images), inverted.batch(images))
    assert np.array_equal(inverted.inverted().batch(images), plain.batch(images))
    assert inverted.inverted() == plain


def test_only_the_image_is_inverted_not_what_pads_it():
    x = Pipeline((ResizeWithPad((4, 8)),)).inverted()(np.full((1, 4, 4), 255, np.uint8))
    assert not x.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (227, 227)}, r"input_shape must be \(C, H, W\), not \(227, 227\)"),
        ({"input_shape": (0, 4, 4)}, "channels must be an integer from 1 to 4,096, not 0"),
        ({"input_shape": (3, 4097, 4)}, "height must be an integer"),
        ({"input_shape": (3, 4, 4.0)}, "width must be an integer"),
        ({"mean": 130.7}, "mean must be a list of 3 numbers from 0 to 1, not"),
        ({"mean": (0.5, 0.5)}, "mean must be a list of 3 numbers from 0 to 1"),
        ({"mean": math.nan}, "mean must be"),
        ({"mean": None}, "mean must be"),
        ({"std": 0}, "std must be a list of 3 numbers from 1e-06 to 1e[+]06"),
        ({"std": "0.5"}, "std must be"),
        ({"invert": 0}, "invert must be True or False, not 0"),
    ],
)
def test_wrong_arguments_of_the_standard_pipeline_are_refused(arguments, message):
    good = {"input_shape": (3, 4, 4), "mean": 0.5, "std": 0.5, "invert": False}
    assert standard_pipeline(**good).output_shape((1, 9, 9)) == (3, 4, 4)
    with pytest.raises(DataError, match=message):
        standard_pipeline(**good | arguments)
