"""Shifts by a fraction of the image, as in Keras."""

import math
from dataclasses import dataclass

import numpy as np

from minialex.checks import require_number
from minialex.data.sample_random import SampleRandom
from minialex.data.transforms.transform import FLOAT32, Shape, Transform
from minialex.errors import DataError

_LARGEST = 0.99
_MAX_FILL = 1e6


@dataclass(frozen=True)
class Shift(Transform, name="shift"):
    """Shift the image by a random number of pixels, whole or not: Keras' `ImageDataGenerator`.

    That class's `height_shift_range` and `width_shift_range`, as fractions, with
    fill_mode="constant": the shifts are drawn from U(-height, height) * H and U(-width, width) * W.
    Between pixels the image is interpolated bilinearly; what comes from beyond the centres of its
    outermost pixels is `cval`, not blended with the edge. So a shift by 1.5 rows leaves two rows of
    `cval`. The result is float32, which Keras' generator works on too: put `normalize` before it where
    `cval` 0 shall mean the mean, and `horizontal_flip` after it, as there.

    In Keras 3 the fraction of the height moves columns, and that of the width rows (its
    `apply_affine_transform` exchanges the axes): for square images and equal fractions, as usual, it
    is the same.

    Parameters
    ----------
    height, width : float
        The largest shift as a fraction of the image's height and width; 0 to 0.99.
    cval : float
        The value of what comes in, on the scale of the image.
    """

    batched = False
    gives = FLOAT32

    height: float = 0.0
    width: float = 0.0
    cval: float = 0.0

    def __post_init__(self):
        for field, low, high in (
            ("height", 0.0, _LARGEST),
            ("width", 0.0, _LARGEST),
            ("cval", -_MAX_FILL, _MAX_FILL),
        ):
            value = require_number(field, getattr(self, field), low, high, error=DataError)
            self.keep(**{field: value})

    def apply(self, image: np.ndarray, random: SampleRandom) -> np.ndarray:
        """Shift (C, H, W) to float32 (C, H, W)."""
        down = random.uniform(-self.height, self.height) * image.shape[-2]
        right = random.uniform(-self.width, self.width) * image.shape[-1]
        return shifted(image, down, right, self.cval)

    def steps(self, shape: Shape) -> list[str]:
        return [
            f"shifted by up to {self.height:g} of the height and {self.width:g} of the width, "
            f"filled with {self.cval:g}"
        ]


def shifted(image: np.ndarray, rows: float, columns: float, cval: float) -> np.ndarray:
    """Return float32 (..., H, W) whose element [i, j] is that at [i + rows, j + columns] of the image.

    As `scipy.ndimage.affine_transform` with order=1 and mode="constant" has it: bilinear within the
    outermost elements, `cval` outside.
    """
    for axis, offset in ((-2, rows), (-1, columns)):
        image = _shifted_along(image, axis, offset, cval)
    return image


def _shifted_along(image: np.ndarray, axis: int, offset: float, cval: float) -> np.ndarray:
    length = image.shape[axis]
    whole = math.floor(offset)
    share = np.float32(offset - whole)
    # The neighbour above is there for all but the last element, unless the offset is whole.
    start, stop = max(0, -whole), min(length, length - whole - (offset != whole))
    out = np.full(image.shape, cval, dtype=np.float32)
    if start < stop:
        into = np.moveaxis(out, axis, 0)[start:stop]
        source = np.moveaxis(image, axis, 0)
        into[:] = source[start + whole : stop + whole]
        if share:
            into += share * (source[start + whole + 1 : stop + whole + 1] - into)
    return out
