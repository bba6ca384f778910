"""PIL images and tensors as the arrays that transforms work on, and back."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.errors import DataError
from minialex.tensor import Tensor

_MODES = ("L", "RGB")


@dataclass(frozen=True)
class Picture:
    """A PIL image or a tensor as an array.

    Attributes
    ----------
    transform : str
        Who works on it, for messages.
    original : PIL.Image.Image or Tensor
    array : numpy.ndarray
        Its values, shape (..., C, H, W).
    """

    transform: str
    original: Any
    array: np.ndarray

    def wrapped(self, array: np.ndarray) -> Any:
        """Return the result in the form of the original; several crops of a PIL image as a tuple."""
        if not isinstance(self.original, Tensor):
            if array.ndim == 4:
                return tuple(image_of(self.transform, each) for each in array)
            return image_of(self.transform, array)
        if self.original.ndim == 2 and array.shape[0] == 1:
            array = array[0]
        return Tensor(np.array(array, order="C"), device=self.original.device)


def picture_of(transform: str, image: Any) -> Picture | None:
    """Return what a transform works on of a PIL image or a tensor; None for anything else.

    Raises
    ------
    DataError
        If a PIL image has another mode than L and RGB, or a tensor requires a gradient.
    """
    if isinstance(image, Tensor):
        if image.requires_grad:
            raise DataError(f"{transform} works outside the graph; pass the tensor's detach()")
        array = image.numpy()
        return Picture(transform, image, array[np.newaxis] if array.ndim == 2 else array)
    if is_pil_image(image):
        if image.mode not in _MODES:
            raise DataError(
                f"{transform} takes PIL images of mode L or RGB, not {image.mode}; "
                "call image.convert('RGB') first"
            )
        return Picture(transform, image, planes_of(image))
    return None


def is_pil_image(value: Any) -> bool:
    """Whether a value is a PIL image; whoever has one has imported Pillow."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


def planes_of(image: Any) -> np.ndarray:
    """Return a PIL image as an array (C, H, W)."""
    array = np.asarray(image)
    return array.reshape(*array.shape[:2], -1).transpose(2, 0, 1)


def image_of(name: str, array: np.ndarray) -> Any:
    """Return an array (C, H, W) as a PIL image, of mode L or RGB.

    Raises
    ------
    DataError
        If it is none of bytes with one or three channels.
    """
    from PIL import Image

    if array.dtype != np.uint8:
        raise DataError(f"{name} gives floats, which a PIL image does not hold; put ToTensor() before it")
    if array.ndim != 3 or array.shape[0] not in (1, 3):
        raise DataError(
            f"{name} gives an array of shape {array.shape}, which is no PIL image; put ToTensor() before it"
        )
    pixels = array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(pixels))


def plane_by_plane(image: np.ndarray, height: int, width: int, work) -> np.ndarray:
    """Return (..., height, width) of what `work` makes of each plane (H, W), a PIL image of mode L or F.

    `work` takes the image and its place among the leading axes.
    """
    from PIL import Image

    out = np.empty((*image.shape[:-2], height, width), dtype=image.dtype)
    for position in np.ndindex(image.shape[:-2]):
        plane = Image.fromarray(np.ascontiguousarray(image[position]))
        out[position] = np.asarray(work(plane, position))
    return out
