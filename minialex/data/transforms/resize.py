"""Resizing as Pillow does it, which is how torchvision resizes Pillow's images."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.checks import is_int, require_int, require_module
from minialex.data.images import MAX_PIXELS
from minialex.data.transforms.fields import MAX_LENGTH, size
from minialex.data.transforms.pictures import plane_by_plane
from minialex.data.transforms.transform import Shape, Transform
from minialex.errors import DataError


@dataclass(frozen=True, repr=False)
class Resize(Transform, name="resize"):
    """Resize with Pillow's BILINEAR, as torchvision's `Resize` does to a Pillow image.

    The triangle filter is widened by the factor of reduction (antialiasing), and the result is rounded
    to 8 bits after each of the two directions; floats are not rounded, as in torchvision's antialiased
    `resize` of tensors. An image that has the size already is left as it is.

    Parameters
    ----------
    size : int or [height, width], optional
        Each from 1 to 4096. The proportions are not kept. An integer is `shorter_side`, as in torchvision.
    shorter_side : int, optional
        Instead of `size`: what the shorter side becomes, 1 to 4096; the longer becomes
        int(shorter_side * longer / shorter).

    Raises
    ------
    DataError
        If not exactly one of the two is given, or it is not as described.
    """

    size: Any = None
    shorter_side: int | None = None

    def __post_init__(self):
        if (self.size is None) == (self.shorter_side is None):
            raise DataError(
                f"resize needs one of size and shorter_side, not size {self.size!r} and "
                f"shorter_side {self.shorter_side!r}"
            )
        if is_int(self.size, 1, MAX_LENGTH):
            self.keep(size=None, shorter_side=int(self.size))
        elif self.size is not None:
            self.keep(size=size("size", self.size))
        else:
            side = require_int("shorter_side", self.shorter_side, 1, MAX_LENGTH, error=DataError)
            self.keep(shorter_side=side)

    def __repr__(self) -> str:
        """As it is written, with the one field that is set."""
        return f"Resize(size={self.shorter_side if self.size is None else self.size})"

    def to_dict(self) -> dict:
        """Return the name and the one field that is set: TOML has no null."""
        return {key: value for key, value in super().to_dict().items() if value is not None}

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Resize (..., C, H, W) to (..., C, height, width)."""
        return resized(image, *self._size_for(*image.shape[-2:]))

    def steps(self, shape: Shape) -> list[str]:
        """Return the phrase; none for images that have the size."""
        if self._output_shape(shape) == shape and None not in shape:
            return []
        if self.size is None:
            return [f"shorter side resized to {self.shorter_side} (bilinear)"]
        return [f"resized to {self.size[0]} x {self.size[1]} (bilinear)"]

    def _output_shape(self, shape: Shape) -> Shape:
        return (*shape[:-2], *self._size_for(*shape[-2:]))

    def _size_for(self, height: int | None, width: int | None) -> tuple[Any, Any]:
        if self.size is not None:
            return self.size
        if self.shorter_side is None or height is None or width is None:
            return None, None
        longer = int(self.shorter_side * max(height, width) / min(height, width))
        if self.shorter_side * longer > MAX_PIXELS:
            raise DataError(
                f"shorter_side {self.shorter_side} makes {self.shorter_side:,} x {longer:,} pixels "
                f"of an image of {height:,} x {width:,}, more than the {MAX_PIXELS:,} that are allowed"
            )
        return (self.shorter_side, longer) if height <= width else (longer, self.shorter_side)


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize uint8 or float32 (..., H, W) to (..., height, width), plane by plane, with Pillow's BILINEAR.

    Raises
    ------
    DataError
        If Pillow is needed and not installed.
    """
    if image.shape[-2:] == (height, width):
        return image
    pillow = require_module("PIL.Image", "resizing", "pip install pillow", error=DataError)
    return plane_by_plane(
        image, height, width, lambda plane, _: plane.resize((width, height), pillow.Resampling.BILINEAR)
    )
