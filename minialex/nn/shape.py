"""Layers that change the shape, or nothing."""

from __future__ import annotations

import math
from typing import Any

from minialex import functional as F
from minialex.checks import is_number
from minialex.errors import ShapeError
from minialex.nn.layer import Layer, require_positive
from minialex.nn.module import Module
from minialex.tensor import Tensor


class Identity(Module):
    """What it is given; arguments of the constructor are ignored, as PyTorch ignores them."""

    def __init__(self, *_, **__):
        super().__init__()

    def forward(self, x) -> Any:
        return x


class Flatten(Layer):
    """Join the axes from start_dim to end_dim; by default all but the first."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        return F.flatten(x, self.start_dim, self.end_dim)


class ChannelShuffle(Layer):
    """The channels of images (N, C, H, W) in another order: each group's dealt out over all groups.

    Channel i of group g of G comes to place i * G + g (Zhang, Zhou, Lin and Sun 2018, "ShuffleNet",
    section 3.1).

    Parameters
    ----------
    groups : int
        Divides C.
    """

    def __init__(self, groups: int):
        super().__init__()
        require_positive(groups=groups)
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] % self.groups:
            raise ShapeError(
                f"ChannelShuffle: the input must be (N, C, H, W), C divisible by {self.groups}, not {x.shape}"
            )
        n, c, h, w = x.shape
        grouped = x.reshape(n, self.groups, c // self.groups, h, w)
        return grouped.permute(0, 2, 1, 3, 4).reshape(n, c, h, w)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


class Unfold(Layer):
    """Windows of images (N, C, H, W) as columns (N, C * KH * KW, P * Q).

    See `minialex.functional.unfold`, which has the same parameters.
    """

    def __init__(self, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__()
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Fold(Layer):
    """Columns (N, C * KH * KW, P * Q) added up to images (N, C, *output_size).

    See `minialex.functional.fold`, which has the same parameters.
    """

    def __init__(self, output_size, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__()
        self.output_size, self.kernel_size = output_size, kernel_size
        self.dilation, self.padding, self.stride = dilation, padding, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.fold(x, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )


class Upsample(Layer):
    """Images (N, C, H, W) in another size; see `minialex.functional.interpolate`.

    Parameters
    ----------
    size : int or (H, W), optional
    scale_factor : float or (vertical, horizontal), optional
        In place of the size, which is H and W times this, rounded down.
    mode : "nearest" or "bilinear"
    align_corners : bool, optional
        Of "bilinear".
    recompute_scale_factor : bool, optional
        Whether cells are as large as the new size, which is rounded, makes them, instead of as scale_factor
        says.
    """

    def __init__(
        self,
        size=None,
        scale_factor=None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ):
        super().__init__()
        self.size, self.scale_factor, self.mode = size, scale_factor, mode
        self.align_corners, self.recompute_scale_factor = align_corners, recompute_scale_factor

    def forward(self, x: Tensor) -> Tensor:
        size, scale = self.size, self.scale_factor
        factors: Any = tuple(scale) if isinstance(scale, tuple | list) else (scale, scale)
        if self.recompute_scale_factor and len(factors) == 2 and all(map(is_number, factors)):
            scale = None
            size = tuple(math.floor(n * f) for n, f in zip(x.shape[2:], factors, strict=False))
        return F.interpolate(x, size, scale, self.mode, self.align_corners)

    def extra_repr(self) -> str:
        size = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{size}, mode={self.mode!r}"
