"""Padding of images, as layers; see `minialex.functional.pad`."""

from __future__ import annotations

from minialex import functional as F
from minialex.checks import in_words, is_int
from minialex.errors import ShapeError
from minialex.nn.layer import Layer
from minialex.tensor import Tensor


class _Pad2d(Layer):
    """Images (N, C, H, W) with more rows and columns.

    Parameters
    ----------
    padding : int or (left, right, top, bottom)
        A negative number takes cells away.

    Raises
    ------
    ShapeError
        If it is neither.
    """

    mode = "constant"

    def __init__(self, padding):
        super().__init__()
        given = tuple(padding) if isinstance(padding, tuple | list) else (padding,) * 4
        if len(given) != 4 or not all(is_int(n, -(2**31)) for n in given):
            raise ShapeError(f"padding must be an int or (left, right, top, bottom), not {in_words(padding)}")
        self.padding = given

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad2d(_Pad2d):
    """Padding by zeros: an int, or (left, right, top, bottom)."""


class ReflectionPad2d(_Pad2d):
    """Padding by the image mirrored at its edge cells: an int, or (left, right, top, bottom)."""

    mode = "reflect"


class ReplicationPad2d(_Pad2d):
    """Padding by the cells at the edge: an int, or (left, right, top, bottom)."""

    mode = "replicate"
