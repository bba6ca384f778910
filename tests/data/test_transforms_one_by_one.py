"""Transforms on PIL images and tensors, under torchvision's names: their values, kinds and random numbers."""

import numpy as np
import PIL.Image
import pytest
from PIL import ImageEnhance

import minialex as ma
from minialex.data.sample_random import SampleRandom, sample_drawn_from
from minialex.data.transforms import (
    CenterCrop,
    ColorJitter,
    Compose,
    ConvertImageDtype,
    Grayscale,
    HorizontalFlip,
    Lambda,
    Normalize,
    Pad,
    PILToTensor,
    Pipeline,
    RandomCrop,
    RandomErasing,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
    Resize,
    Scale,
    TenCrop,
    ToTensor,
)
from minialex.errors import DataError

BYTES = np.random.default_rng(3).integers(0, 256, (3, 14, 20), dtype=np.uint8)
IMAGE = PIL.Image.fromarray(np.ascontiguousarray(BYTES.transpose(1, 2, 0)))
RANDOM = [
    RandomCrop(9, padding=2),
    RandomResizedCrop(8),
    RandomHorizontalFlip(),
    RandomVerticalFlip(),
    ColorJitter(0.4, 0.4, 0.4, 0.1),
    RandomGrayscale(0.5),
    RandomRotation(40, "bilinear", fill=9),
    RandomErasing(0.8, value="random"),
]


def array_of(image):
    return np.asarray(image).reshape(image.height, image.width, -1).transpose(2, 0, 1)


@pytest.mark.parametrize(
    "transform", [*RANDOM, Resize(7), CenterCrop(6), Grayscale(), Pad(2), TenCrop(5)], ids=str
)
def test_images_and_tensors_get_the_numbers_of_arrays(transform):
    wanted = transform(BYTES, SampleRandom(1, 2, 3))
    of_image, of_tensor = (transform(each, SampleRandom(1, 2, 3)) for each in (IMAGE, ma.Tensor(BYTES)))
    assert isinstance(of_tensor, ma.Tensor)
    assert np.array_equal(of_tensor.numpy(), wanted)
    if isinstance(of_image, tuple):
        assert np.array_equal(np.stack([array_of(each) for each in of_image]), wanted)
    else:
        assert isinstance(of_image, PIL.Image.Image)
        assert np.array_equal(array_of(of_image), wanted)


@pytest.mark.parametrize("transform", RANDOM, ids=str)
def test_random_numbers_follow_from_the_seed_or_from_the_sample(transform):
    floats = ma.Tensor((BYTES / np.float32(255)).astype(np.float32))

    def six():
        return [transform(floats).numpy().copy() for _ in range(6)]

    ma.manual_seed(5)
    first = six()
    second = six()
    ma.manual_seed(5)
    assert all(np.array_equal(a, b) for a, b in zip(first, six(), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    with sample_drawn_from(SampleRandom(1, 2, 3)):
        of_sample = transform(floats)
    assert np.array_equal(of_sample.numpy(), transform(floats, SampleRandom(1, 2, 3)).numpy())


def test_a_batch_of_tensors_is_cropped_at_one_place():
    found = RandomCrop(4)(ma.Tensor(np.stack([BYTES, BYTES])))
    assert found.shape == (2, 3, 4, 4)
    assert np.array_equal(found.numpy()[0], found.numpy()[1])
    assert RandomHorizontalFlip(1.0)(ma.Tensor(BYTES[0])).shape == (14, 20)


def test_to_tensor():
    found = ToTensor()(IMAGE)
    assert found.dtype == np.float32
    assert np.array_equal(found.numpy(), BYTES.astype(np.float32) / np.float32(255))
    assert np.array_equal(ToTensor()(np.asarray(IMAGE)).numpy(), found.numpy())
    assert ToTensor()(IMAGE.convert("L")).shape == (1, 14, 20)
    assert ToTensor()(IMAGE.convert("RGBA")).shape == (4, 14, 20)
    assert ToTensor()(np.zeros((3, 4))).dtype == np.float64
    wide = PIL.Image.fromarray(np.array([[70_000, -1]], np.int32))
    assert ToTensor()(wide).tolist() == [[[70_000, -1]]]
    bits = PIL.Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert ToTensor()(bits).tolist() == [[[0.0, 1.0]]]
    assert np.array_equal(PILToTensor()(IMAGE).numpy(), BYTES)
    assert ToTensor()(np.ones((2, 2), np.uint8)).numpy().flags.writeable
    with pytest.raises(DataError, match=r"ToTensor takes a PIL image or an array \(H, W, C\), not 'cat.png'"):
        ToTensor()("cat.png")


def test_image_dtypes():
    floats = ConvertImageDtype("float32")(ma.Tensor(BYTES))
    assert np.array_equal(floats.numpy(), BYTES / np.float32(255))
    assert np.array_equal(ConvertImageDtype(ma.uint8)(floats).numpy(), BYTES)
    assert ConvertImageDtype(ma.uint8)(ma.tensor([0.5])).tolist() == [127]
    with pytest.raises(DataError, match="dtype must be uint8, float32 or float64, not int32"):
        ConvertImageDtype(ma.int32)


def test_a_row_of_transforms_prints_and_runs():
    transform = Compose(
        [Resize(8), CenterCrop((6, 5)), ToTensor(), Normalize((0.5, 0.4, 0.3), (0.2, 0.2, 0.1))]
    )
    plain = Pipeline([Resize(8), CenterCrop((6, 5)), Scale(), Normalize((0.5, 0.4, 0.3), (0.2, 0.2, 0.1))])
    assert np.array_equal(transform(IMAGE).numpy(), plain(BYTES))
    assert repr(transform).splitlines() == [
        "Compose(",
        "    Resize(size=8)",
        "    CenterCrop(size=(6, 5))",
        "    ToTensor()",
        "    Normalize(mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.1))",
        ")",
    ]
    assert Compose([Lambda(lambda x: x + 1), Lambda(lambda x: 2 * x)])(3) == 8
    with pytest.raises(DataError, match="transform 2 must be callable, not 3"):
        Compose([ToTensor(), 3])


def test_an_integer_is_both_sides_of_a_crop_and_the_shorter_of_an_image():
    assert Resize(7)(IMAGE).size == (10, 7)
    assert Resize((7, 5))(IMAGE).size == (5, 7)
    assert RandomResizedCrop(6)(IMAGE).size == (6, 6)
    assert Resize(7).to_dict() == {"name": "resize", "shorter_side": 7}
    assert Resize(7) == Resize(shorter_side=7)
    assert HorizontalFlip is RandomHorizontalFlip


def test_resizing_is_pillows():
    wanted = IMAGE.resize((9, 6), PIL.Image.Resampling.BILINEAR)
    assert np.array_equal(Resize((6, 9))(IMAGE), wanted)


def test_a_crop_pads_what_is_too_small_as_torchvision_does():
    found = CenterCrop((17, 20))(IMAGE)
    # Three rows are missing: one above and two below.
    assert np.array_equal(array_of(found)[:, 1:15], BYTES)
    assert not array_of(found)[:, [0, 15, 16]].any()
    with pytest.raises(DataError, match="does not fit"):
        CenterCrop((17, 20))(BYTES)


def test_random_crop_pads():
    ones = np.ones((1, 2, 3), np.uint8)
    left = RandomCrop((2, 6), padding=(3, 0, 0, 0), fill=7)(ones, SampleRandom(0, 0, 0))
    assert left.tolist() == [[[7, 7, 7, 1, 1, 1]] * 2]
    sides = {
        tuple(
            RandomCrop((2, 4), padding=(1, 0), padding_mode="edge")(ones * 5, SampleRandom(0, 0, i)).ravel()
        )
        for i in range(20)
    }
    assert sides == {(5,) * 8}
    needed = RandomCrop((6, 3), pad_if_needed=True)
    places = {int(needed(ones, SampleRandom(0, 0, i))[0, :, 0].argmax()) for i in range(60)}
    # Four rows are missing, and as many are put on each side: the image may be anywhere in the crop.
    assert places == {0, 1, 2, 3, 4}
    assert needed.output_shape((1, 2, 3)) == (1, 6, 3)
    assert RandomCrop(4, padding=2).to_dict() == {"name": "random_crop", "size": [4, 4], "padding": 2}


@pytest.mark.parametrize(
    ("transform", "wanted"),
    [
        (Pad(1), [0, 0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 0, 0, 0, 0]),
        (Pad((1, 0)), [0, 1, 2, 3, 0]),
        (Pad((2, 0, 0, 0), padding_mode="reflect"), [3, 2, 1, 2, 3]),
        (Pad((2, 0, 0, 0), padding_mode="symmetric"), [2, 1, 1, 2, 3]),
        (Pad((0, 0, 2, 0), padding_mode="edge"), [1, 2, 3, 3, 3]),
        (Pad((0, 1, 0, 0), fill=9), [9, 9, 9, 1, 2, 3]),
    ],
)
def test_padding(transform, wanted):
    image = np.array([[[1, 2, 3]]], np.uint8)
    found = transform(image)
    assert found.ravel().tolist() == wanted
    assert transform.output_shape(image.shape) == found.shape


def test_rotation_is_pillows():
    turn = RandomRotation((90, 90), expand=True)
    assert np.array_equal(turn(BYTES, SampleRandom(0, 0, 0)), np.rot90(BYTES, axes=(1, 2)))
    slanted = RandomRotation((30, 30), "bilinear", center=(3, 4), fill=(1, 2, 3))(IMAGE)
    wanted = IMAGE.rotate(30, PIL.Image.Resampling.BILINEAR, center=(3, 4), fillcolor=(1, 2, 3))
    assert np.array_equal(slanted, wanted)
    floats = RandomRotation((30, 30), fill=0.5)(ma.Tensor(BYTES / np.float32(255))).numpy()
    assert np.array_equal(floats == 0.5, np.isclose(floats, 0.5))
    assert (floats == 0.5).any()


@pytest.mark.parametrize(
    ("arguments", "enhance"),
    [
        ({"brightness": (0.6, 0.6)}, ImageEnhance.Brightness),
        ({"contrast": (1.5, 1.5)}, ImageEnhance.Contrast),
        ({"saturation": (0.3, 0.3)}, ImageEnhance.Color),
    ],
)
def test_jitter_is_pillows_on_bytes_and_near_it_on_floats(arguments, enhance):
    transform = ColorJitter(**arguments)
    ((factor, _),) = arguments.values()
    wanted = np.asarray(enhance(IMAGE).enhance(factor))
    assert np.array_equal(transform(IMAGE), wanted)
    floats = transform(ToTensor()(IMAGE)).numpy().transpose(1, 2, 0)
    np.testing.assert_allclose(floats * 255, wanted, rtol=0, atol=2)


def test_hues_turn():
    red = np.array([1, 0, 0], np.float32).reshape(3, 1, 1)
    third = ColorJitter(hue=(1 / 3, 1 / 3))(ma.Tensor(red))
    np.testing.assert_allclose(third.numpy().ravel(), [0, 1, 0], atol=1e-6)
    floats = BYTES / np.float32(255)
    np.testing.assert_allclose(ColorJitter(hue=(0.0, 1e-9))(ma.Tensor(floats)).numpy(), floats, atol=1e-6)
    turned = ColorJitter(hue=(-0.25, -0.25))
    near = np.abs(turned(ma.Tensor(floats)).numpy() * 255 - array_of(turned(IMAGE)))
    assert near.mean() < 3
    grey = np.full((1, 2, 2), 7, np.uint8)
    assert np.array_equal(turned(grey, SampleRandom(0, 0, 0)), grey)


def test_jitter_draws_factors_from_their_ranges():
    transform = ColorJitter(brightness=0.5)
    ones = np.full((1, 1, 1), 0.5, np.float32)
    factors = [transform(ones, SampleRandom(0, 0, i)).item() / 0.5 for i in range(400)]
    assert 0.5 <= min(factors) < 0.51
    assert 1.49 < max(factors) <= 1.5
    assert ColorJitter(2).brightness == (0, 3)
    for wrong in ({"hue": 0.6}, {"brightness": -1}, {"contrast": (2, 1)}):
        with pytest.raises(DataError, match=next(iter(wrong))):
            ColorJitter(**wrong)


def test_grey():
    assert np.array_equal(Grayscale(3)(IMAGE), np.asarray(IMAGE.convert("L").convert("RGB")))
    floats = Grayscale()(ma.tensor([[[1.0]], [[0.5]], [[0.25]]]))
    assert floats.item() == pytest.approx(0.2989 + 0.587 / 2 + 0.114 / 4)
    grey = [np.ptp(np.asarray(RandomGrayscale(0.25)(IMAGE)), axis=2).max() == 0 for _ in range(200)]
    assert 25 < sum(grey) < 80


def test_erasing():
    zeros = np.zeros((2, 30, 40), np.float32)
    erasing = RandomErasing(1.0, scale=(0.1, 0.2), ratio=(0.5, 2), value=(1, 2))
    shares, ratios = [], []
    for index in range(300):
        found = erasing(zeros, SampleRandom(0, 0, index))
        rows, columns = found[0].any(axis=1).sum(), found[0].any(axis=0).sum()
        assert (found[0] == 1).sum() == rows * columns
        assert np.array_equal(found[1], 2 * found[0])
        shares.append(rows * columns / 1200)
        ratios.append(rows / columns)
    assert 0.09 < min(shares) < 0.12 < 0.18 < max(shares) < 0.22
    assert 0.45 < min(ratios) < 0.7 < 1.4 < max(ratios) < 2.2
    assert not zeros.any()
    kept = [RandomErasing(0.5, value=1)(zeros, SampleRandom(1, 0, index)).any() for index in range(200)]
    assert 70 < sum(kept) < 130
    noise = RandomErasing(1.0, (0.5, 0.5), (1, 1), "random")(
        np.zeros((3, 90, 90), np.float32), SampleRandom(0, 0, 0)
    )
    values = noise[noise != 0]
    assert abs(values.mean()) < 0.05
    assert abs(values.std() - 1) < 0.05


def test_mistakes_are_told():
    with pytest.raises(DataError, match=r"normalize gives floats.*put ToTensor\(\) before it"):
        Normalize(0.5, 0.5)(IMAGE)
    with pytest.raises(DataError, match="resize takes PIL images of mode L or RGB, not RGBA; call image"):
        Resize(4)(IMAGE.convert("RGBA"))
    with pytest.raises(DataError, match=r"outside the graph; pass the tensor's detach\(\)"):
        Resize(4)(ma.zeros(3, 4, 4, requires_grad=True))
    with pytest.raises(DataError, match="takes a tensor of uint8 or float32, not float64"):
        Resize(4)(ma.zeros(3, 4, 4, dtype=ma.float64))
    with pytest.raises(DataError, match="normalize has 3 numbers in mean for images of 1 channels"):
        Normalize((1, 2, 3), 1)(ma.zeros(1, 2, 2))
