"""Colours and pixels at random: `ColorJitter`, `Grayscale`, `RandomGrayscale`, `RandomErasing`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.checks import is_number, require_number
from minialex.data.sample_random import SampleRandom
from minialex.data.transforms.colour import ToGrey
from minialex.data.transforms.fields import fill_of, numbers, per_channel
from minialex.data.transforms.pictures import image_of, planes_of
from minialex.data.transforms.transform import Shape, Transform
from minialex.errors import DataError

_TRIES = 10
_LARGEST_FACTOR = 1e3
# Of torchvision's `rgb_to_grayscale` on tensors; on bytes Pillow's luma is taken, as for Pillow images there.
_LUMA = np.array([0.2989, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class ColorJitter(Transform, name="color_jitter"):
    """Change brightness, contrast, saturation and hue by random factors, in random order.

    torchvision's `ColorJitter`: bytes are worked on as it works on Pillow images, floats from 0 to 1 as it
    works on tensors. Saturation and hue leave grey images as they are.

    Parameters
    ----------
    brightness, contrast, saturation : float or [low, high]
        The factor is drawn from U(max(0, 1 - x), 1 + x) or U(low, high); 0 leaves the image as it is.
    hue : float or [low, high]
        The shift, in turns of the colour circle, is drawn from U(-hue, hue) or U(low, high); up to 0.5.

    Raises
    ------
    DataError
        If an argument is not as described. A call raises it for images that have neither 1 nor 3 channels.
    """

    batched = False

    brightness: Any = 0.0
    contrast: Any = 0.0
    saturation: Any = 0.0
    hue: Any = 0.0

    def __post_init__(self):
        for field in ("brightness", "contrast", "saturation"):
            self.keep(**{field: _factors(field, getattr(self, field))})
        hue = self.hue
        if is_number(hue):
            hue = (-require_number("hue", hue, 0.0, 0.5, error=DataError), hue)
        self.keep(hue=_ordered("hue", numbers("hue", hue, -0.5, 0.5, count=2)))

    def apply(self, image: np.ndarray, random: SampleRandom) -> np.ndarray:
        """Change uint8 or float32 (..., C, H, W)."""
        steps: list[tuple[Callable, Callable, tuple[float, float], float]] = [
            (_brightness_of_bytes, _brightness, self.brightness, 1.0),
            (_contrast_of_bytes, _contrast, self.contrast, 1.0),
            (_saturation_of_bytes, _saturation, self.saturation, 1.0),
            (_hue_of_bytes, _hue, self.hue, 0.0),
        ]
        order = [steps.pop(random.integers(0, len(steps))) for _ in range(4)]
        for of_bytes, of_floats, (low, high), nothing in order:
            if low == high == nothing:
                continue
            factor = random.uniform(low, high)
            if image.dtype == np.uint8:
                image = _on_pillow_images(image, of_bytes, factor)
            else:
                image = of_floats(image, np.float32(factor))
        return image

    def steps(self, shape: Shape) -> list[str]:
        """Return the phrase; none if nothing is changed."""
        named = {"brightness": 1, "contrast": 1, "saturation": 1, "hue": 0}
        changed = [
            f"{name} {getattr(self, name)[0]:g} to {getattr(self, name)[1]:g}"
            for name, nothing in named.items()
            if getattr(self, name) != (nothing, nothing)
        ]
        return [f"colours at random ({', '.join(changed)})"] if changed else []

    def _output_shape(self, shape: Shape) -> Shape:
        if shape[-3] not in (1, 3):
            raise DataError(f"{self.name} takes images of 1 or 3 channels, not {shape[-3]}")
        return shape


@dataclass(frozen=True)
class Grayscale(Transform, name="grayscale"):
    """Colour to grey, in one channel or three equal ones: torchvision's `Grayscale`.

    Bytes become grey as in `to_grey`, floats by 0.2989 R + 0.587 G + 0.114 B, as tensors do there.

    Parameters
    ----------
    num_output_channels : {1, 3}

    Raises
    ------
    DataError
        If it is another number. A call raises it for images that have neither 1 nor 3 channels.
    """

    num_output_channels: int = 1

    def __post_init__(self):
        if isinstance(self.num_output_channels, bool) or self.num_output_channels not in (1, 3):
            raise DataError(f"num_output_channels must be 1 or 3, not {self.num_output_channels!r}")

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Turn (..., 3 or 1, H, W) into (..., 1 or 3, H, W)."""
        grey = _grey(image)
        return grey if self.num_output_channels == 1 else np.repeat(grey, 3, axis=-3)

    def steps(self, shape: Shape) -> list[str]:
        """Return the phrase; none for grey images that stay as they are."""
        if shape[-3] == self.num_output_channels == 1:
            return []
        return [f"converted to grey in {self.num_output_channels} channels"]

    def _output_shape(self, shape: Shape) -> Shape:
        ToGrey().output_shape(shape)
        return (*shape[:-3], self.num_output_channels, *shape[-2:])


@dataclass(frozen=True)
class RandomGrayscale(Transform, name="random_grayscale"):
    """Colour to grey, in as many channels, with probability `p`: torchvision's `RandomGrayscale`.

    Parameters
    ----------
    p : float
        From 0 to 1.
    """

    batched = False

    p: float = 0.1

    def __post_init__(self):
        self.keep(p=require_number("p", self.p, 0.0, 1.0, error=DataError))

    def apply(self, image: np.ndarray, random: SampleRandom) -> np.ndarray:
        """Return (..., C, H, W), grey or not."""
        if not random.bernoulli(self.p):
            return image
        return np.repeat(_grey(image), image.shape[-3], axis=-3)

    def steps(self, shape: Shape) -> list[str]:
        return [f"converted to grey with probability {self.p:g}"]

    def _output_shape(self, shape: Shape) -> Shape:
        ToGrey().output_shape(shape)
        return shape


@dataclass(frozen=True)
class RandomErasing(Transform, name="random_erasing"):
    """Fill a random part of the image, with probability `p`: torchvision's `RandomErasing`.

    Ten times an area is drawn from U(scale) of the image's and a ratio height / width, its logarithm from
    U(log ratio); the first pair smaller than the image is put at a random place. If none is, nothing is
    erased (Zhong et al., "Random Erasing Data Augmentation", 2017). Put it after `normalize`.

    Parameters
    ----------
    p : float
        From 0 to 1.
    scale : [low, high]
        Shares of the image's area, from 1e-6 to 1.
    ratio : [low, high]
        Height / width, from 0.001 to 1000.
    value : float, list of float or "random"
        One number, one per channel, or a standard normal number for each element.

    Raises
    ------
    DataError
        If an argument is not as described.
    """

    batched = False

    p: float = 0.5
    scale: Any = (0.02, 0.33)
    ratio: Any = (0.3, 3.3)
    value: Any = 0.0

    def __post_init__(self):
        self.keep(p=require_number("p", self.p, 0.0, 1.0, error=DataError))
        for field, low, high in (("scale", 1e-6, 1.0), ("ratio", 1e-3, 1e3)):
            values = numbers(field, getattr(self, field), low, high, count=2)
            self.keep(**{field: _ordered(field, values)})
        if self.value != "random":
            self.keep(value=per_channel("value", self.value, -1e6, 1e6))

    def apply(self, image: np.ndarray, random: SampleRandom) -> np.ndarray:
        """Return (..., C, H, W) with a part filled, or as it is."""
        height, width = image.shape[-2:]
        box = self.box(height, width, random) if random.bernoulli(self.p) else None
        if box is None:
            return image
        top, left, height, width = box
        out = image.copy()
        part = out[..., top : top + height, left : left + width]
        if self.value == "random":
            part[...] = random.normals(part.size).reshape(part.shape).astype(image.dtype)
        else:
            part[...] = np.array(fill_of(self.name, self.value, image.shape)).reshape(-1, 1, 1)
        return out

    def box(self, height: int, width: int, random: SampleRandom) -> tuple[int, int, int, int] | None:
        """Draw the part's (top, left, height, width) in an image of this size; None if none fits."""
        low, high = (math.log(ratio) for ratio in self.ratio)
        for _ in range(_TRIES):
            area = height * width * random.uniform(*self.scale)
            ratio = math.exp(random.uniform(low, high))
            rows, columns = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if rows < height and columns < width:
                top = random.integers(0, height - rows + 1)
                return top, random.integers(0, width - columns + 1), rows, columns
        return None

    def steps(self, shape: Shape) -> list[str]:
        low, high = self.scale
        return [f"{100 * low:g} to {100 * high:g} % of the area erased with probability {self.p:g}"]

    def _output_shape(self, shape: Shape) -> Shape:
        if self.value != "random":
            fill_of(self.name, self.value, shape)
        return shape


def _factors(name: str, value: Any) -> tuple[float, float]:
    if is_number(value):
        value = require_number(name, value, 0.0, _LARGEST_FACTOR, error=DataError)
        value = (max(0.0, 1.0 - value), 1.0 + value)
    return _ordered(name, numbers(name, value, 0.0, _LARGEST_FACTOR + 1, count=2))


def _ordered(name: str, values: tuple[float, ...]) -> tuple[float, float]:
    low, high = values
    if low > high:
        raise DataError(f"{name} must be [low, high] with low up to high, not {list(values)}")
    return low, high


def _grey(image: np.ndarray) -> np.ndarray:
    if image.shape[-3] == 1:
        return image
    if image.dtype == np.uint8:
        return ToGrey().apply(image)
    return np.tensordot(_LUMA, np.moveaxis(image, -3, 0), 1)[..., np.newaxis, :, :].astype(image.dtype)


# Bytes: Pillow's own, as torchvision calls them.


def _on_pillow_images(image: np.ndarray, change: Callable, factor: float) -> np.ndarray:
    out = np.empty_like(image)
    for position in np.ndindex(image.shape[:-3]):
        out[position] = planes_of(change(image_of("color_jitter", image[position]), factor))
    return out


def _brightness_of_bytes(image, factor):
    from PIL import ImageEnhance

    return ImageEnhance.Brightness(image).enhance(factor)


def _contrast_of_bytes(image, factor):
    from PIL import ImageEnhance

    return ImageEnhance.Contrast(image).enhance(factor)


def _saturation_of_bytes(image, factor):
    from PIL import ImageEnhance

    return ImageEnhance.Color(image).enhance(factor)


def _hue_of_bytes(image, factor):
    if image.mode == "L":
        return image
    from PIL import Image

    hue, *others = image.convert("HSV").split()
    # Bytes wrap around, as the circle of hues does.
    turned = np.asarray(hue) + np.array(factor * 255).astype(np.int32).astype(np.uint8)
    return Image.merge("HSV", (Image.fromarray(turned), *others)).convert("RGB")


# Floats from 0 to 1.


def _blend(image: np.ndarray, other: Any, factor: np.float32) -> np.ndarray:
    return np.clip(factor * image + (1 - factor) * other, 0, 1, dtype=np.float32)


def _brightness(image, factor):
    return _blend(image, np.float32(0), factor)


def _contrast(image, factor):
    return _blend(image, _grey(image).mean(axis=(-3, -2, -1), keepdims=True, dtype=np.float32), factor)


def _saturation(image, factor):
    return image if image.shape[-3] == 1 else _blend(image, _grey(image), factor)


def _hue(image, factor):
    if image.shape[-3] == 1:
        return image
    hue, saturation, value = _hsv(image)
    sector = np.floor((turned := (hue + factor) % 1.0) * 6.0)
    part = turned * 6.0 - sector
    low = np.clip(value * (1 - saturation), 0, 1)
    falling = np.clip(value * (1 - saturation * part), 0, 1)
    rising = np.clip(value * (1 - saturation * (1 - part)), 0, 1)
    sector = sector.astype(np.int64) % 6
    # The colours of the six sectors of the circle (Smith, "Color gamut transform pairs", 1978).
    red = np.choose(sector, [value, falling, low, low, rising, value])
    green = np.choose(sector, [rising, value, value, falling, low, low])
    blue = np.choose(sector, [low, low, rising, value, value, falling])
    return np.stack([red, green, blue], axis=-3).astype(np.float32)


def _hsv(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    red, green, blue = np.moveaxis(image, -3, 0)
    value = image.max(axis=-3)
    spread = value - image.min(axis=-3)
    is_grey = spread == 0
    saturation = spread / np.where(is_grey, 1, value)
    divisor = np.where(is_grey, 1, spread)
    from_red, from_green, from_blue = ((value - each) / divisor for each in (red, green, blue))
    hue = np.select(
        [value == red, value == green],
        [from_blue - from_green, 2 + from_red - from_blue],
        4 + from_green - from_red,
    )
    return (hue / 6 + 1) % 1.0, saturation, value
