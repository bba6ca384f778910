"""Resizing as Pillow does it, which is how torchvision resizes Pillow's images."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from minialex.checks import in_words, is_int, require_choice, require_int, require_only
from minialex.data.images import MAX_PIXELS
from minialex.data.transforms.fields import MAX_LENGTH, size
from minialex.data.transforms.interpolation import INTERPOLATIONS, InterpolationMode, resampling
from minialex.data.transforms.pictures import plane_by_plane
from minialex.data.transforms.transform import Shape, Transform
from minialex.errors import DataError


@dataclass(frozen=True, repr=False)
class Resize(Transform, name="resize"):
    """Resize with one of Pillow's filters, as torchvision's `Resize` does to a Pillow image.

    The filter, but for "nearest", is widened by the factor of reduction (antialiasing), and the result is
    rounded to 8 bits after each of the two directions; floats are not rounded, as in torchvision's
    antialiased `resize` of tensors. An image that has the size already is left as it is.

    Parameters
    ----------
    size : int or [height, width], optional
        Each from 1 to 4096. The proportions are not kept. An integer is `shorter_side`, as in torchvision.
    interpolation : {"nearest", "nearest-exact", "bilinear", "bicubic", "box", "hamming", "lanczos"}
        Pillow's "nearest" is the exact one: the pixel at the centre.
    max_size : int, optional
        What the longer side may have at most; the shorter one follows. With a shorter side only.
    antialias : bool or None
        True, or None: Pillow has no filter without.
    shorter_side : int, optional
        Instead of `size`: what the shorter side becomes, 1 to 4096; the longer becomes
        int(shorter_side * longer / shorter).

    Raises
    ------
    DataError
        If not exactly one of size and shorter side is given, or an argument is not as described.
    """

    size: Any = None
    interpolation: str = InterpolationMode.BILINEAR
    max_size: int | None = None
    antialias: bool | None = True
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
        require_choice("interpolation", self.interpolation, INTERPOLATIONS, error=DataError)
        if self.antialias is not None:
            advice = "without, resize tensors by F.interpolate"
            require_only("antialias", self.antialias, True, advice, error=DataError)
        self.keep(antialias=True)
        if self.max_size is not None:
            if self.shorter_side is None:
                raise DataError(f"max_size must be None where size is a pair, not {in_words(self.max_size)}")
            least = self.shorter_side + 1
            self.keep(max_size=require_int("max_size", self.max_size, least, MAX_PIXELS, error=DataError))

    def __repr__(self) -> str:
        """As it is written, with the fields that are set."""
        size = self.shorter_side if self.size is None else self.size
        others = {"interpolation": self.interpolation, "max_size": self.max_size}
        defaults = {"interpolation": InterpolationMode.BILINEAR, "max_size": None}
        text = "".join(f", {key}={value!r}" for key, value in others.items() if value != defaults[key])
        return f"Resize(size={size}{text})"

    def to_dict(self) -> dict:
        """Return the name and the fields that are set: TOML has no null."""
        defaults = {field.name: field.default for field in fields(self)}
        return {key: value for key, value in super().to_dict().items() if value != defaults.get(key)}

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Resize (..., C, H, W) to (..., C, height, width)."""
        return resized(image, *self._size_for(*image.shape[-2:]), self.interpolation)

    def steps(self, shape: Shape) -> list[str]:
        """Return the phrase; none for images that have the size."""
        if self._output_shape(shape) == shape and None not in shape:
            return []
        if self.size is None:
            return [f"shorter side resized to {self.shorter_side} ({self.interpolation})"]
        return [f"resized to {self.size[0]} x {self.size[1]} ({self.interpolation})"]

    def _output_shape(self, shape: Shape) -> Shape:
        return (*shape[:-2], *self._size_for(*shape[-2:]))

    def _size_for(self, height: int | None, width: int | None) -> tuple[Any, Any]:
        if self.size is not None:
            return self.size
        if self.shorter_side is None or height is None or width is None:
            return None, None
        shorter, longer = self.shorter_side, int(self.shorter_side * max(height, width) / min(height, width))
        if self.max_size is not None and longer > self.max_size:
            shorter, longer = int(self.max_size * shorter / longer), self.max_size
        if shorter * longer > MAX_PIXELS:
            raise DataError(
                f"shorter_side {self.shorter_side} makes {self.shorter_side:,} x {longer:,} pixels "
                f"of an image of {height:,} x {width:,}, more than the {MAX_PIXELS:,} that are allowed"
            )
        return (shorter, longer) if height <= width else (longer, shorter)


def resized(
    image: np.ndarray, height: int, width: int, interpolation: str = InterpolationMode.BILINEAR
) -> np.ndarray:
    """Resize uint8 or float32 (..., H, W) to (..., height, width), plane by plane, with a filter of Pillow's.

    Raises
    ------
    DataError
        If Pillow is needed and not installed.
    """
    if image.shape[-2:] == (height, width):
        return image
    by = resampling(interpolation, "resizing")
    return plane_by_plane(image, height, width, lambda plane, _: plane.resize((width, height), by))
