"""From PIL images to tensors, and transforms in a row: what only the one-by-one form has.

Its names and semantics are torchvision's. These are no `Transform`s, as a recipe cannot name them: a recipe's
image is an array of bytes already, and `scale` is what `ToTensor` does to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from minialex.checks import in_words
from minialex.data.transforms.pictures import is_pil_image, planes_of
from minialex.errors import DataError
from minialex.tensor import Tensor, require_dtype

# What PIL's modes of more than 8 bits become, as torchvision has it.
_WIDE = {"I": np.int32, "I;16": np.int16, "F": np.float32}


class Compose:
    """Transforms one after the other: torchvision's `Compose`.

    Parameters
    ----------
    transforms : iterable of callable
        Each takes what the one before it gives: transforms of this package, a `Pipeline`, or any function.

    Raises
    ------
    DataError
        If one of them cannot be called.

    Notes
    -----
    For a data set of arrays a `Pipeline` does the same to whole batches at once, and knows the shape of its
    result before it sees an image.
    """

    def __init__(self, transforms: Iterable[Callable[[Any], Any]]):
        self.transforms = list(transforms)
        for position, transform in enumerate(self.transforms, 1):
            if not callable(transform):
                raise DataError(f"transform {position} must be callable, not {in_words(transform)}")

    def __call__(self, image: Any) -> Any:
        """Return what the transforms make of an image."""
        for transform in self.transforms:
            image = transform(image)
        return image

    def __len__(self) -> int:
        """Return the number of transforms."""
        return len(self.transforms)

    def __iter__(self) -> Iterator[Callable[[Any], Any]]:
        """Return an iterator over the transforms."""
        return iter(self.transforms)

    def __repr__(self) -> str:
        """One transform a line, as torchvision prints them."""
        return "\n".join(["Compose(", *(f"    {transform!r}" for transform in self.transforms), ")"])


class ToTensor:
    """A PIL image or an array (H, W, C) as a tensor (C, H, W): torchvision's `ToTensor`.

    Bytes become float32 from 0 to 1, divided by 255; PIL's modes I, I;16 and F, and arrays of other numbers,
    keep their values. An array without channels, (H, W), becomes (1, H, W).
    """

    def __call__(self, image: Any) -> Tensor:
        """Return the tensor; a call raises `DataError` for anything but an image or such an array."""
        values = _planes("ToTensor", image)
        if values.dtype == np.uint8:
            values = np.divide(values, np.float32(255), dtype=np.float32)
        return Tensor(np.array(require_dtype(values), order="C"))

    def __repr__(self) -> str:
        """As it is written."""
        return "ToTensor()"


class PILToTensor:
    """A PIL image as a tensor (C, H, W) of its own numbers, bytes as uint8: torchvision's `PILToTensor`."""

    def __call__(self, image: Any) -> Tensor:
        """Return the tensor; a call raises `DataError` for anything but a PIL image."""
        if not is_pil_image(image):
            raise DataError(f"PILToTensor takes a PIL image, not {in_words(image)}")
        return Tensor(np.array(_planes("PILToTensor", image), order="C"))

    def __repr__(self) -> str:
        """As it is written."""
        return "PILToTensor()"


class ConvertImageDtype:
    """An image in another dtype, its values on the scale of that: torchvision's `ConvertImageDtype`.

    uint8 is 0..255 and floats are 0..1: bytes are divided by 255, floats become floor(x (256 - 0.001)).

    Parameters
    ----------
    dtype : dtype
        uint8, float32 or float64.
    """

    def __init__(self, dtype: Any):
        self.dtype = np.dtype(dtype)
        if self.dtype not in _DTYPES:
            raise DataError(f"dtype must be uint8, float32 or float64, not {self.dtype}")

    def __call__(self, image: Any) -> Tensor:
        """Return the tensor; a call raises `DataError` for anything but a tensor of these dtypes."""
        if not isinstance(image, Tensor) or image.dtype not in _DTYPES:
            raise DataError(
                f"ConvertImageDtype takes a tensor of uint8, float32 or float64, not {in_words(image)}"
            )
        values = image.numpy()
        if values.dtype == np.uint8 != self.dtype:
            values = values.astype(self.dtype) / self.dtype.type(255)
        elif self.dtype == np.uint8 != values.dtype:
            values = values * values.dtype.type(255 + 1 - 1e-3)
        return Tensor(values.astype(self.dtype), device=image.device)

    def __repr__(self) -> str:
        """As it is written."""
        return f"ConvertImageDtype({self.dtype.name})"


class Lambda:
    """Any function as a transform: torchvision's `Lambda`.

    Parameters
    ----------
    function : callable
        Takes what the transform before it gives.
    """

    def __init__(self, function: Callable[[Any], Any]):
        if not callable(function):
            raise DataError(f"Lambda takes a function, not {in_words(function)}")
        self.function = function

    def __call__(self, image: Any) -> Any:
        """Return what the function makes of it."""
        return self.function(image)

    def __repr__(self) -> str:
        """As torchvision prints it."""
        return "Lambda()"


_DTYPES = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))


def _planes(name: str, image: Any) -> np.ndarray:
    if isinstance(image, np.ndarray):
        if image.ndim not in (2, 3):
            raise DataError(f"{name} takes an array of shape (H, W, C) or (H, W), not {image.shape}")
        return image[np.newaxis] if image.ndim == 2 else image.transpose(2, 0, 1)
    if not is_pil_image(image):
        raise DataError(f"{name} takes a PIL image or an array (H, W, C), not {in_words(image)}")
    planes = planes_of(image)
    if image.mode == "1":
        return planes.astype(np.uint8) * np.uint8(255)
    return planes.astype(_WIDE.get(image.mode, np.uint8), copy=False)
