"""The filters by which pixels are found between those of an image: Pillow's, by torchvision's names."""

from __future__ import annotations

from typing import Any

from minialex.checks import require_module
from minialex.errors import DataError


class InterpolationMode:
    """The names of the filters, as torchvision's users write them."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


INTERPOLATIONS = tuple(value for name, value in vars(InterpolationMode).items() if name.isupper())


def resampling(interpolation: str, purpose: str) -> Any:
    """Return Pillow's constant for a filter. Its own "nearest" is what tensors call "nearest-exact".

    Raises
    ------
    DataError
        If Pillow is not installed.
    """
    pillow = require_module("PIL.Image", purpose, "pip install pillow", error=DataError)
    return getattr(pillow.Resampling, interpolation.removesuffix("-exact").upper())
