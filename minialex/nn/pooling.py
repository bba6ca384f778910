"""Pooling."""

from __future__ import annotations

from typing import Any

from minialex import functional as F
from minialex.checks import in_words, is_int, require_only
from minialex.errors import ShapeError
from minialex.nn.layer import Layer, require_flags
from minialex.nn.windows import require_window
from minialex.tensor import Tensor


class MaxPool2d(Layer):
    """Max-pooling; see `minialex.functional.max_pool2d`."""

    def __init__(
        self,
        kernel_size,
        stride=None,
        padding=0,
        dilation=1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        require_window(kernel_size, self.stride, padding, dilation)
        require_flags(return_indices=return_indices, ceil_mode=ceil_mode)
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode
        self.return_indices = return_indices

    def forward(self, x: Tensor) -> Any:
        return F.max_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )

    def extra_repr(self) -> str:
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding!r}"


class MaxUnpool2d(Layer):
    """Maxima put back to the places where `MaxPool2d` with ``return_indices`` found them.

    See `minialex.functional.max_unpool2d`.
    """

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        require_window(kernel_size, self.stride, padding)
        self.padding = padding

    def forward(self, x: Tensor, indices, output_size=None) -> Tensor:
        return F.max_unpool2d(x, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(Layer):
    """Average pooling; see `minialex.functional.avg_pool2d`."""

    def __init__(
        self,
        kernel_size,
        stride=None,
        padding=0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        require_window(kernel_size, self.stride, padding)
        require_flags(ceil_mode=ceil_mode, count_include_pad=count_include_pad)
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )

    def extra_repr(self) -> str:
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding!r}"


def _require_size(output_size):
    sizes = output_size if isinstance(output_size, tuple | list) else (output_size, output_size)
    if len(sizes) != 2 or not all(n is None or is_int(n, 1) for n in sizes):
        raise ShapeError(
            f"output_size must be a positive int or None, or two of them, not {in_words(output_size)}"
        )
    return output_size


class AdaptiveAvgPool2d(Layer):
    """Average pooling of images (N, C, H, W) to (N, C, *output_size).

    Parameters
    ----------
    output_size : int or (P, Q)
        None for a length keeps that of the input; see `minialex.functional.adaptive_avg_pool2d`.
    """

    def __init__(self, output_size):
        super().__init__()
        self.output_size = _require_size(output_size)

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(Layer):
    """Max-pooling of images (N, C, H, W) to (N, C, *output_size).

    Parameters
    ----------
    output_size : int or (P, Q)
        None for a length keeps that of the input; see `minialex.functional.adaptive_max_pool2d`.
    return_indices : bool
        False: the places of the maxima are not given.
    """

    def __init__(self, output_size, return_indices: bool = False):
        super().__init__()
        why = "the places of the maxima are not given"
        require_only("return_indices", return_indices, False, why, error=ShapeError)
        self.output_size = _require_size(output_size)

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_max_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"
