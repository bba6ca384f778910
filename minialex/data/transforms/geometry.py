"""Padding and rotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.checks import is_number, require_choice, require_flag, require_int, require_module
from minialex.data.sample_random import SampleRandom
from minialex.data.transforms.fields import MAX_LENGTH, fill_of, numbers, per_channel
from minialex.data.transforms.interpolation import InterpolationMode, resampling
from minialex.data.transforms.pictures import plane_by_plane
from minialex.data.transforms.transform import Shape, Transform
from minialex.errors import DataError

PADDING_MODES = ("constant", "edge", "reflect", "symmetric")
_INTERPOLATIONS = (InterpolationMode.NEAREST, InterpolationMode.BILINEAR)
_LARGEST_ANGLE = 1e6


@dataclass(frozen=True)
class Pad(Transform, name="pad"):
    """Add rows and columns on the four sides: torchvision's `Pad`.

    Parameters
    ----------
    padding : int or list of int
        For all sides, for [left and right, top and bottom], or for [left, top, right, bottom]; 0 to 4096.
    fill : float or list of float
        The value of the new pixels with "constant": one number, or one per channel.
    padding_mode : {"constant", "edge", "reflect", "symmetric"}
        What the new pixels are: `fill`, the nearest pixel, or the mirror image without or with the edge.

    Raises
    ------
    DataError
        If an argument is not as described. A call raises it if "reflect" or "symmetric" needs a larger image.
    """

    padding: Any
    fill: Any = 0
    padding_mode: str = "constant"

    def __post_init__(self):
        self.keep(padding=sides_of(self.padding), fill=per_channel("fill", self.fill, -1e6, 1e6))
        require_choice("padding_mode", self.padding_mode, PADDING_MODES, error=DataError)

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Pad (..., C, H, W) to (..., C, top + H + bottom, left + W + right)."""
        return padded(image, self.padding, self.fill, self.padding_mode)

    def steps(self, shape: Shape) -> list[str]:
        kind = "" if self.padding_mode == "constant" else f" ({self.padding_mode})"
        return [f"padded by {', '.join(map(str, self.padding))} at left, top, right and bottom{kind}"]

    def _output_shape(self, shape: Shape) -> Shape:
        left, top, right, bottom = self.padding
        *before, height, width = shape
        if self.padding_mode == "constant":
            fill_of(self.name, self.fill, shape)
        for length, most in ((height, max(top, bottom)), (width, max(left, right))):
            allowed = {"reflect": (length or 0) - 1, "symmetric": length}.get(self.padding_mode)
            if length is not None and allowed is not None and most > allowed:
                raise DataError(
                    f"{self.name} by {most} with {self.padding_mode!r} needs a side of more than {length} "
                    "pixels"
                )
        return (
            *before,
            None if height is None else height + top + bottom,
            None if width is None else width + left + right,
        )


@dataclass(frozen=True)
class RandomRotation(Transform, name="random_rotation"):
    """Rotate by a random angle, counter-clockwise, as torchvision's `RandomRotation` does to a Pillow image.

    Parameters
    ----------
    degrees : float or [low, high]
        The angle is drawn from U(-degrees, degrees) or U(low, high).
    interpolation : {"nearest", "bilinear"}
        How pixels are found between those of the image.
    expand : bool
        Whether the result grows to hold the whole image, or keeps its size.
    center : [x, y], optional
        Around which point; the image's centre unless told otherwise.
    fill : float or list of float
        What comes in: one number, or one per channel.

    Raises
    ------
    DataError
        If an argument is not as described.
    """

    batched = False

    degrees: Any
    interpolation: str = "nearest"
    expand: bool = False
    center: Any = None
    fill: Any = 0

    def __post_init__(self):
        degrees = self.degrees
        if is_number(degrees):
            if degrees < 0:
                raise DataError(f"degrees must be 0 or more, or [low, high], not {degrees}")
            degrees = (-degrees, degrees)
        self.keep(degrees=numbers("degrees", degrees, -_LARGEST_ANGLE, _LARGEST_ANGLE, count=2))
        require_choice("interpolation", self.interpolation, _INTERPOLATIONS, error=DataError)
        require_flag("expand", self.expand, error=DataError)
        if self.center is not None:
            self.keep(center=numbers("center", self.center, -MAX_LENGTH, MAX_LENGTH, count=2))
        self.keep(fill=per_channel("fill", self.fill, -1e6, 1e6))

    def apply(self, image: np.ndarray, random: SampleRandom) -> np.ndarray:
        """Rotate (..., C, H, W)."""
        return rotated(image, random.uniform(*self.degrees), self)

    def to_dict(self) -> dict:
        """Return the name and the fields that are set: TOML has no null."""
        return {key: value for key, value in super().to_dict().items() if value is not None}

    def steps(self, shape: Shape) -> list[str]:
        low, high = self.degrees
        return [f"rotated by {low:g} to {high:g} degrees ({self.interpolation})"]

    def _output_shape(self, shape: Shape) -> Shape:
        fill_of(self.name, self.fill, shape)
        return (*shape[:-2], None, None) if self.expand else shape


def rotated(image: np.ndarray, angle: float, settings: RandomRotation) -> np.ndarray:
    """Rotate (..., C, H, W) by an angle in degrees, plane by plane, with Pillow's `rotate`."""
    pillow = require_module("PIL.Image", "rotation", "pip install pillow", error=DataError)
    fill = fill_of(settings.name, settings.fill, image.shape)

    def turn(plane, position):
        colour = fill[position[-1]]
        return plane.rotate(
            angle,
            resampling(settings.interpolation, "rotation"),
            settings.expand,
            settings.center,
            fillcolor=int(colour) if image.dtype == np.uint8 else colour,
        )

    height, width = image.shape[-2:]
    if settings.expand:
        mode = "L" if image.dtype == np.uint8 else "F"
        width, height = turn(pillow.new(mode, (width, height)), (0,)).size
    return plane_by_plane(image, height, width, turn)


def sides_of(padding: Any) -> tuple[int, int, int, int]:
    """Return a padding as (left, top, right, bottom).

    Raises
    ------
    DataError
        If it is no int from 0 to 4096, and no list of 2 or 4 of them.
    """
    if not isinstance(padding, tuple | list):
        padding = [padding]
    elif len(padding) not in (1, 2, 4):
        raise DataError(f"padding must be an integer or a list of 2 or 4, not of {len(padding)}")
    sides = tuple(require_int("padding", each, 0, MAX_LENGTH, error=DataError) for each in padding)
    left, top, right, bottom = sides * (4 // len(sides))
    return left, top, right, bottom


def padded(
    image: np.ndarray,
    sides: tuple[int, int, int, int],
    fill: tuple[float, ...] = (0.0,),
    mode: str = "constant",
) -> np.ndarray:
    """Return (..., C, H, W) with rows and columns added at (left, top, right, bottom)."""
    left, top, right, bottom = sides
    if not any(sides):
        return image
    widths = [(0, 0)] * (image.ndim - 2) + [(top, bottom), (left, right)]
    if mode != "constant":
        return np.pad(image, widths, mode=mode)  # pyright: ignore[reportArgumentType, reportCallIssue]
    colours = np.array(fill_of("padding", fill, image.shape)).astype(image.dtype)
    height, width = image.shape[-2:]
    out = np.empty((*image.shape[:-2], top + height + bottom, left + width + right), image.dtype)
    out[...] = colours[:, np.newaxis, np.newaxis]
    out[..., top : top + height, left : left + width] = image
    return out
