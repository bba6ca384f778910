"""Parts of an image: at random, at the centre, and the ten of the paper's tests."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.checks import require_choice, require_flag
from minialex.data.sample_random import SampleRandom
from minialex.data.transforms.fields import fill_of, numbers, per_channel, side_or_size
from minialex.data.transforms.geometry import PADDING_MODES, padded, sides_of
from minialex.data.transforms.resize import resized
from minialex.data.transforms.transform import Shape, Transform, text_of_shape
from minialex.errors import DataError

_TRIES = 10
_MIN_RATIO, _MAX_RATIO = 1e-3, 1e3


@dataclass(frozen=True)
class RandomResizedCrop(Transform, name="random_resized_crop"):
    """Crop a random part of random area and proportions, and resize it: torchvision's `RandomResizedCrop`.

    Ten times an area is drawn from U(scale) of the image's and a ratio width / height, its logarithm
    from U(log ratio). The first pair that fits, rounded to pixels, is put at a random place. If none
    fits, the crop is the largest one at the centre whose ratio is within `ratio`. It is resized with
    Pillow's BILINEAR (see `resize`), which sees nothing of the image outside the crop.

    Parameters
    ----------
    size : int or [height, width]
        Of the result; each from 1 to 4096.
    scale : [low, high]
        Shares of the image's area, from 1e-6 to 1.
    ratio : [low, high]
        Width / height, from 0.001 to 1000.
    """

    batched = False

    size: Any
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self):
        self.keep(size=side_or_size("size", self.size))
        for field, low, high in (("scale", 1e-6, 1.0), ("ratio", _MIN_RATIO, _MAX_RATIO)):
            values = numbers(field, getattr(self, field), low, high, count=2)
            if values[0] > values[1]:
                raise DataError(f"{field} must be [low, high] with low up to high, not {list(values)}")
            self.keep(**{field: values})

    def apply(self, image: np.ndarray, random: SampleRandom) -> np.ndarray:
        """Crop and resize (..., C, H, W) to (..., C, height, width)."""
        top, left, height, width = self.box(image.shape[-2], image.shape[-1], random)
        # Cropped first: Pillow's resize(box=...) would blend in pixels from around the box.
        return resized(image[..., top : top + height, left : left + width], *self.size)

    def box(self, height: int, width: int, random: SampleRandom) -> tuple[int, int, int, int]:
        """Draw the crop's (top, left, height, width) in an image of this height and width."""
        low, high = (math.log(ratio) for ratio in self.ratio)
        for _ in range(_TRIES):
            area = height * width * random.uniform(*self.scale)
            ratio = math.exp(random.uniform(low, high))
            crop_width, crop_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < crop_width <= width and 0 < crop_height <= height:
                top = random.integers(0, height - crop_height + 1)
                left = random.integers(0, width - crop_width + 1)
                return top, left, crop_height, crop_width
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        # One of the two is the image's own; the other may round to 0 in a sliver of an image.
        crop_height = min(height, max(1, round(width / ratio)))
        crop_width = min(width, max(1, round(height * ratio)))
        return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width

    def steps(self, shape: Shape) -> list[str]:
        low, high = self.scale
        share = f"{100 * low:g} to {100 * high:g} %"
        height, width = self.size
        return [f"random crop of {share} of the area resized to {height} x {width} (bilinear)"]

    def _output_shape(self, shape: Shape) -> Shape:
        return (*shape[:-2], *self.size)


@dataclass(frozen=True)
class RandomCrop(Transform, name="random_crop"):
    """Crop a part of fixed size at a random place, every place as likely: torchvision's `RandomCrop`.

    Parameters
    ----------
    size : int or [height, width]
        Each from 1 to 4096; an integer is both.
    padding : int or list of int
        How many rows and columns are put first on all sides, on [left and right, top and bottom], or on
        [left, top, right, bottom]; 0 to 4096.
    pad_if_needed : bool
        Whether an image that is smaller yet is padded on both sides by what is missing.
    fill, padding_mode
        What is put there; see `Pad`.

    Raises
    ------
    DataError
        If an argument is not as described. A call raises it if the image is smaller than the crop.
    """

    batched = False

    size: Any
    padding: Any = 0
    pad_if_needed: bool = False
    fill: Any = 0
    padding_mode: str = "constant"

    def __post_init__(self):
        self.keep(size=side_or_size("size", self.size))
        # A number stays one: recipes and the settings of runs have it so.
        sides = sides_of(self.padding)
        self.keep(padding=sides[0] if len(set(sides)) == 1 else sides)
        require_flag("pad_if_needed", self.pad_if_needed, error=DataError)
        self.keep(fill=per_channel("fill", self.fill, -1e6, 1e6))
        require_choice("padding_mode", self.padding_mode, PADDING_MODES, error=DataError)

    def apply(self, image: np.ndarray, random: SampleRandom) -> np.ndarray:
        """Crop (..., C, H, W) to (..., C, height, width)."""
        sides = sides_of(self.padding)
        if self.pad_if_needed:
            sides = self._enough(sides, *image.shape[-2:])
        left, top, right, bottom = sides
        height, width = image.shape[-2] + top + bottom, image.shape[-1] + left + right
        row = random.integers(0, height - self.size[0] + 1)
        column = random.integers(0, width - self.size[1] + 1)
        return _crop(padded(image, sides, self.fill, self.padding_mode), row, column, self.size)

    def to_dict(self) -> dict:
        """Return the name and the fields, without those of torchvision's that are not used."""
        unused = {"pad_if_needed": False, "fill": [0.0], "padding_mode": "constant"}
        return {key: value for key, value in super().to_dict().items() if unused.get(key) != value}

    def steps(self, shape: Shape) -> list[str]:
        with_what = "zeros" if self.padding_mode == "constant" and not any(self.fill) else self.padding_mode
        padded = [f"padded by {self.padding} with {with_what}"] if self.padding else []
        return [*padded, f"random crop of {self.size[0]} x {self.size[1]}"]

    def _enough(self, sides, height: int, width: int) -> tuple[int, int, int, int]:
        left, top, right, bottom = sides
        rows = max(0, self.size[0] - height - top - bottom)
        columns = max(0, self.size[1] - width - left - right)
        return left + columns, top + rows, right + columns, bottom + rows

    def _output_shape(self, shape: Shape) -> Shape:
        fill_of(self.name, self.fill, shape)
        if self.pad_if_needed:
            return (*shape[:-2], *self.size)
        return _cropped_shape(self.name, shape, self.size, sides_of(self.padding))


@dataclass(frozen=True)
class CenterCrop(Transform, name="center_crop"):
    """Crop the part of fixed size at the centre, as torchvision's `CenterCrop` does.

    It starts at row round((H - height) / 2), halves to the even number, and so for columns. A PIL image or
    a tensor that is smaller is padded with zeros, as there; an array is an error.

    Parameters
    ----------
    size : int or [height, width]
        Each from 1 to 4096; an integer is both.

    Raises
    ------
    DataError
        If it is not as described. A call raises it for an array that is smaller than the crop.
    """

    size: Any

    def __post_init__(self):
        self.keep(size=side_or_size("size", self.size))

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Crop (..., C, H, W) to (..., C, height, width)."""
        return _crop(image, *_center(image.shape, self.size), self.size)

    def prepared(self, image: np.ndarray) -> np.ndarray:
        """Return the image with as many zeros around it as torchvision adds to one that is smaller."""
        rows, columns = (
            max(0, side - length) for length, side in zip(image.shape[-2:], self.size, strict=True)
        )
        return padded(image, (columns // 2, rows // 2, (columns + 1) // 2, (rows + 1) // 2))

    def steps(self, shape: Shape) -> list[str]:
        """Return the phrase; none for images that have the size."""
        return [] if shape[-2:] == self.size else [f"center crop of {self.size[0]} x {self.size[1]}"]

    def _output_shape(self, shape: Shape) -> Shape:
        return _cropped_shape(self.name, shape, self.size)


@dataclass(frozen=True)
class TenCrop(Transform, name="ten_crop"):
    """Crop the four corners and the centre, and the mirror images of the five: the paper's tests.

    In the order of torchvision's `TenCrop`: top left, top right, bottom left, bottom right, centre
    (as `center_crop`), and these five again from the image mirrored left to right. The network's ten
    outputs, after softmax, are averaged (Krizhevsky et al., 2012, section 4.1).

    Parameters
    ----------
    size : int or [height, width]
        Each from 1 to 4096; an integer is both.

    Raises
    ------
    DataError
        If it is not as described. A call raises it if the image is smaller than the crops.
    """

    size: Any

    def __post_init__(self):
        self.keep(size=side_or_size("size", self.size))

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Crop (..., C, H, W) to (..., 10, C, height, width)."""
        bottom, right = (length - side for length, side in zip(image.shape[-2:], self.size, strict=True))
        corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), _center(image.shape, self.size)]
        crops = [
            _crop(each, top, left, self.size) for each in (image, image[..., ::-1]) for top, left in corners
        ]
        return np.stack(crops, axis=-4)

    def steps(self, shape: Shape) -> list[str]:
        return [f"ten crops of {self.size[0]} x {self.size[1]}"]

    def _output_shape(self, shape: Shape) -> Shape:
        *before, channels, height, width = _cropped_shape(self.name, shape, self.size)
        return (*before, 10, channels, height, width)


def _crop(image: np.ndarray, top: int, left: int, size: tuple[int, int]) -> np.ndarray:
    return image[..., top : top + size[0], left : left + size[1]]


def _center(shape: Shape, size: tuple[int, int]) -> tuple[int, int]:
    """The row and column where the crop at the centre starts."""
    return round((shape[-2] - size[0]) / 2), round((shape[-1] - size[1]) / 2)


def _cropped_shape(
    name: str, shape: Shape, size: tuple[int, int], sides: tuple[int, int, int, int] = (0, 0, 0, 0)
) -> Shape:
    left, top, right, bottom = sides
    for length, side, more in zip(shape[-2:], size, (top + bottom, left + right), strict=True):
        if length is not None and length + more < side:
            by = sides[0] if len(set(sides)) == 1 else sides
            padded = f" padded by {by}" if any(sides) else ""
            raise DataError(
                f"{name} of {size[0]} x {size[1]} does not fit into an image of "
                f"{text_of_shape(shape[-2:])}{padded}; resize it first"
            )
    return (*shape[:-2], *size)
