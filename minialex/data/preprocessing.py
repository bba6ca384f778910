"""From the bytes of an image to the numbers that a network reads."""

import reprlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np

from minialex.data.checks import integer, optional_module
from minialex.errors import DataError

_MAX_LENGTH = 4096
_MIN_STD, _MAX_STD = 1e-6, 1e6
_COLOURS = {1: "grey", 3: "RGB"}


@dataclass(frozen=True)
class Preprocessing:
    """A fixed recipe that turns uint8 images into a network's float32 input.

    In this order: RGB becomes grey where one channel is wanted, by the ITU-R 601 luma in Pillow's
    fixed point, (19595 R + 38470 G + 7471 B + 32768) >> 16; images of another size are resized;
    255 - x replaces x where `invert` is set; grey is repeated where three channels are wanted;
    the values become ((x / 255) - mean) / std, in float32, the arithmetic of torchvision's
    ToTensor and Normalize.

    Resizing is Pillow's BILINEAR, channel by channel: the triangle filter is widened by the factor
    of reduction (antialiasing), and the result is rounded to 8 bits.

    Parameters
    ----------
    channels, height, width : int
        The network's input, each from 1 to 4096.
    mean, std : sequence of float
        One number per channel, on the scale 0..1: mean from 0 to 1, std from 1e-6 to 1e6.
    invert : bool
        Whether to turn black on white into white on black, which is how MNIST is drawn.

    Raises
    ------
    DataError
        If an argument is not as described.
    """

    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    invert: bool = False

    def __post_init__(self):
        for field in ("channels", "height", "width"):
            value = integer(field, getattr(self, field), 1, _MAX_LENGTH)
            object.__setattr__(self, field, value)
        for field, low, high in (("mean", 0.0, 1.0), ("std", _MIN_STD, _MAX_STD)):
            value = _checked_numbers(field, getattr(self, field), self.channels, low, high)
            object.__setattr__(self, field, value)
        if not isinstance(self.invert, bool):
            raise DataError(f"invert must be true or false, got {reprlib.repr(self.invert)}")

    @classmethod
    def for_model(
        cls,
        input_shape: Sequence[int],
        *,
        mean: float | Sequence[float],
        std: float | Sequence[float],
        invert: bool = False,
    ) -> "Preprocessing":
        """Return the recipe for a network whose input is (C, H, W); one number serves all channels.

        Raises
        ------
        DataError
            If the shape has not three lengths, or a value is not as the class asks.
        """
        if len(input_shape) != 3:
            raise DataError(f"input_shape must be (C, H, W), got {reprlib.repr(input_shape)}")
        channels = integer("channels", input_shape[0], 1, _MAX_LENGTH)
        mean, std = ([each] * channels if np.isscalar(each) else each for each in (mean, std))
        return cls(channels, *input_shape[1:], mean, std, invert)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Apply the recipe.

        Parameters
        ----------
        images : numpy.ndarray
            uint8, shape (N, C, H, W), with C equal to `channels`, or 1 or 3 where that is 3 or 1.

        Returns
        -------
        numpy.ndarray
            float32, shape (N, channels, height, width).

        Raises
        ------
        DataError
            If the images have another type, shape or number of channels.
        """
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4:
            given = (
                f"{images.dtype} of shape {images.shape}"
                if isinstance(images, np.ndarray)
                else type(images).__name__
            )
            raise DataError(f"images must be a uint8 array of shape (N, C, H, W), got {given}")
        self._check_source(images.shape[1:])
        if self.channels == 1 and images.shape[1] == 3:
            images = _luma(images)
        if images.shape[2:] != (self.height, self.width):
            images = _resized(images, self.height, self.width)
        if self.invert:
            images = 255 - images
        out = np.empty((len(images), self.channels, self.height, self.width), dtype=np.float32)
        # Broadcasting over the channels is what repeats grey.
        np.divide(images, np.float32(255), out=out, dtype=np.float32)
        out -= _per_channel(self.mean)
        out /= _per_channel(self.std)
        return out

    def steps(self, source_shape: Sequence[int]) -> list[str]:
        """Return what is done to images of shape (C, H, W), one phrase a step, in order.

        Raises
        ------
        DataError
            If the recipe does not take such images.
        """
        channels, height, width = self._check_source(source_shape)
        steps = []
        if self.channels == 1 and channels == 3:
            steps.append("converted to grey (ITU-R 601 luma)")
        if (height, width) != (self.height, self.width):
            steps.append(f"resized to {self.height} x {self.width} (bilinear)")
        if self.invert:
            steps.append("inverted")
        if self.channels == 3 and channels == 1:
            steps.append("repeated to 3 channels")
        steps.append("scaled to 0..1")
        steps.append(f"mean {_numbers_text(self.mean)}")
        steps.append(f"std {_numbers_text(self.std)}")
        return steps

    def describe(self, source_shape: Sequence[int]) -> str:
        """Return the source and the steps as one line.

        For example "28 x 28 grey, resized to 227 x 227 (bilinear), repeated to 3 channels, scaled
        to 0..1, mean 0.1307, std 0.3081".

        Raises
        ------
        DataError
            If the recipe does not take such images.
        """
        channels, height, width = self._check_source(source_shape)
        colour = _COLOURS.get(channels, f"with {channels} channels")
        return ", ".join([f"{height} x {width} {colour}", *self.steps(source_shape)])

    def to_dict(self) -> dict:
        """Return the fields as values that JSON can hold; `from_dict` reads them back."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: object) -> "Preprocessing":
        """Return the recipe that `to_dict` wrote, trusting nothing about `values`.

        Raises
        ------
        DataError
            If `values` is not a dict, a key is missing or unknown, or a value is not as the class
            asks.
        """
        if not isinstance(values, dict):
            raise DataError(f"a preprocessing must be a JSON object, got {reprlib.repr(values)}")
        known = {field.name for field in fields(cls)}
        if values.keys() != known:
            missing = sorted(known - values.keys())
            unknown = sorted(map(str, values.keys() - known))
            raise DataError(
                f"a preprocessing must have the keys {', '.join(sorted(known))}; "
                f"missing: {reprlib.repr(missing)}, unknown: {reprlib.repr(unknown)}"
            )
        return cls(**values)

    def _check_source(self, source_shape: Sequence[int]) -> tuple[int, int, int]:
        """Return the (C, H, W) of images that the recipe takes, or refuse them."""
        if len(source_shape) != 3 or min(source_shape) < 1:
            raise DataError(
                f"images must have a shape (C, H, W) of lengths from 1, got {tuple(source_shape)}"
            )
        channels = source_shape[0]
        if channels != self.channels and {channels, self.channels} != _COLOURS.keys():
            allowed = "1 or 3" if self.channels in _COLOURS else str(self.channels)
            raise DataError(
                f"images for an input of {self.channels} channels must have {allowed} channels, "
                f"got {channels}"
            )
        return tuple(source_shape)


def _checked_numbers(name: str, values: object, count: int, low: float, high: float) -> tuple[float, ...]:
    # A comparison is false for NaN, and exact for an integer too large for a float.
    if (
        not isinstance(values, tuple | list)
        or len(values) != count
        or not all(
            isinstance(each, int | float | np.floating) and not isinstance(each, bool) and low <= each <= high
            for each in values
        )
    ):
        raise DataError(
            f"{name} must be a sequence of {count} numbers from {low:g} to {high:g}, one per "
            f"channel, got {reprlib.repr(values)}"
        )
    return tuple(map(float, values))


def _luma(images: np.ndarray) -> np.ndarray:
    """RGB (N, 3, H, W) to grey (N, 1, H, W), uint8, as Pillow rounds it."""
    red, green, blue = np.moveaxis(images.astype(np.uint32), 1, 0)
    grey = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    return grey.astype(np.uint8)[:, np.newaxis]


def _resized(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """(N, C, H, W) to (N, C, height, width), uint8, plane by plane."""
    pillow = optional_module("PIL.Image", "resizing", "pip install pillow")
    out = np.empty((*images.shape[:2], height, width), dtype=np.uint8)
    for position in np.ndindex(images.shape[:2]):
        plane = pillow.fromarray(images[position])
        out[position] = np.asarray(plane.resize((width, height), pillow.Resampling.BILINEAR))
    return out


def _per_channel(values: tuple[float, ...]) -> np.ndarray:
    return np.array(values, dtype=np.float32).reshape(-1, 1, 1)


def _numbers_text(values: tuple[float, ...]) -> str:
    if len(set(values)) == 1:
        return f"{values[0]:g}"
    return f"({', '.join(f'{each:g}' for each in values)})"
