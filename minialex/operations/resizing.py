"""Images of another size: nearest cells, or linear between them. A linear map, composed of others."""

from __future__ import annotations

import math

import numpy as np

from minialex.checks import in_words, is_int, is_number
from minialex.devices import to_device_array
from minialex.errors import ShapeError
from minialex.operations.inputs import require_floats
from minialex.operations.layout import along, getitem
from minialex.tensor import Tensor


def interpolate(
    x: Tensor, size=None, scale_factor=None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """Images (N, C, H, W) in another size, as ``torch.nn.functional.interpolate`` computes them.

    Parameters
    ----------
    x : Tensor (N, C, H, W)
    size : int or (H, W), optional
    scale_factor : float or (vertical, horizontal), optional
        In place of the size, which is H and W times this, rounded down.
    mode : "nearest" or "bilinear"
    align_corners : bool, optional
        Of "bilinear": whether the centres of the corner cells stay where they are. By default (False) the
        corners of these cells do.

    Raises
    ------
    ShapeError
        If the input is not (N, C, H, W), not one of size and scale_factor is given, or the mode is unknown.
    """
    require_floats("interpolate", x)
    if x.ndim != 4 or 0 in x.shape[2:]:
        raise ShapeError(f"interpolate: the input must be (N, C, H, W) with cells, not {x.shape}")
    if mode not in ("nearest", "bilinear"):
        raise ShapeError(f'interpolate: mode must be "nearest" or "bilinear", not {in_words(mode)}')
    if mode == "nearest" and align_corners is not None:
        raise ShapeError("interpolate: align_corners is for bilinear; leave it out for nearest")
    sizes, scales = _sizes(x.shape[2:], size, scale_factor)
    if mode == "nearest":
        for axis, (n, out, scale) in enumerate(zip(x.shape[2:], sizes, scales, strict=True), start=2):
            places = np.minimum(np.floor(np.arange(out) * scale).astype(np.intp), n - 1)
            x = getitem(x, along(axis, places))
        return x
    for axis, (out, scale) in enumerate(zip(sizes, scales, strict=True), start=2):
        x = _between(x, axis, out, scale, bool(align_corners))
    return x


def _sizes(old: tuple[int, ...], size, scale_factor) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The new size, and how many old cells one of the new ones takes."""
    if (size is None) == (scale_factor is None):
        raise ShapeError("interpolate: size or scale_factor must be given, and not both")
    if size is not None:
        new = tuple(size) if isinstance(size, tuple | list) else (size, size)
        if len(new) != 2 or not all(is_int(n, 1) for n in new):
            raise ShapeError(
                f"interpolate: size must be a positive int, or two of them, not {in_words(size)}"
            )
        return new, tuple(n / out for n, out in zip(old, new, strict=True))
    factors = tuple(scale_factor) if isinstance(scale_factor, tuple | list) else (scale_factor, scale_factor)
    if len(factors) != 2 or not all(is_number(f) and 0 < f < math.inf for f in factors):
        raise ShapeError(
            f"interpolate: scale_factor must be a number above 0, or two, not {in_words(scale_factor)}"
        )
    new = tuple(math.floor(n * f) for n, f in zip(old, factors, strict=True))
    if min(new) < 1:
        raise ShapeError(f"interpolate: scale_factor={scale_factor} leaves nothing of images of {old}")
    return new, tuple(1 / f for f in factors)


def _between(x: Tensor, axis: int, out: int, scale: float, align_corners: bool) -> Tensor:
    """x with another length of an axis: each new cell is a mean of the two old ones that it lies between.

    Not a product with a matrix of shares, whose zeros would spread a NaN over the whole axis.
    """
    n = x.shape[axis]
    if align_corners:
        places = np.arange(out) * ((n - 1) / (out - 1) if out > 1 else 0.0)
    else:
        places = np.maximum((np.arange(out) + 0.5) * scale - 0.5, 0)
    first = np.minimum(np.floor(places).astype(np.intp), n - 1)
    second = np.minimum(first + 1, n - 1)
    shares = (places - first).astype(x.dtype).reshape(-1, *(1,) * (x.ndim - axis - 1))
    share = Tensor(to_device_array(shares, x.device), device=x.device)
    return getitem(x, along(axis, first)) * (1 - share) + getitem(x, along(axis, second)) * share
