"""Resizing as TensorFlow does it, with the proportions kept and the rest filled with zeros."""

from dataclasses import dataclass

import numpy as np

from minialex.data.transforms.fields import size
from minialex.data.transforms.transform import FLOAT32, Shape, Transform

_HALF = np.float32(0.5)


@dataclass(frozen=True)
class ResizeWithPad(Transform, name="resize_with_pad"):
    """Fit the image into a size and pad it with zeros, as TensorFlow's `image.resize_with_pad` does.

    Bilinear with half-pixel centres and, unlike `resize`, without antialiasing: of an image made
    smaller, most pixels are not looked at. The values stay on their scale, 0..255 for bytes, and are
    not rounded. All arithmetic is in float32, as there, so that even the sizes round alike.

    Parameters
    ----------
    size : [height, width]
        Each from 1 to 4096.
    """

    gives = FLOAT32

    size: tuple[int, int]

    def __post_init__(self):
        self.keep(size=size("size", self.size))

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Fit (..., C, H, W) into float32 (..., C, height, width)."""
        (height, top), (width, left) = self._placement(*image.shape[-2:])
        out = np.zeros((*image.shape[:-2], *self.size), dtype=np.float32)
        out[..., top : top + height, left : left + width] = _bilinear(image, height, width)
        return out

    def steps(self, shape: Shape) -> list[str]:
        height, width = self.size
        return [f"resized to fit {height} x {width} (bilinear, not antialiased) and padded with zeros"]

    def _output_shape(self, shape: Shape) -> Shape:
        return (*shape[:-2], *self.size)

    def _placement(self, height: int, width: int) -> list[tuple[int, int]]:
        """The (length, zeros before) of the rows and of the columns."""
        lengths, targets = np.array((height, width), np.float32), np.array(self.size, np.float32)
        fitted = lengths / (lengths / targets).max()
        # A sliver of an image would get the length 0, which TensorFlow refuses.
        kept = np.maximum(np.floor(fitted), 1)
        before = np.maximum(np.floor((targets - fitted) / 2), 0)
        return [(int(length), int(zeros)) for length, zeros in zip(kept, before, strict=True)]


def _bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (..., H, W) to float32 (..., height, width): first along the rows, then down the columns."""
    for length, axis in ((width, -1), (height, -2)):
        lower, upper, share = _neighbours(image.shape[axis], length)
        near = image.take(lower, axis).astype(np.float32, copy=False)
        step = image.take(upper, axis).astype(np.float32, copy=False)
        step -= near
        step *= share if axis == -1 else share[:, np.newaxis]
        near += step
        image = near
    return image


def _neighbours(length: int, new_length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each new element the two old ones around its centre, and the share of the second."""
    scale = np.float32(length) / np.float32(new_length)
    centres = (np.arange(new_length, dtype=np.float32) + _HALF) * scale - _HALF
    below = np.floor(centres)
    lower = np.maximum(below, 0).astype(np.intp)
    upper = np.minimum(np.ceil(centres), length - 1).astype(np.intp)
    return lower, upper, centres - below
