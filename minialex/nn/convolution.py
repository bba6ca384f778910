"""Convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex import functional as F
from minialex.checks import in_words, is_int, require_choice, require_only
from minialex.errors import ShapeError
from minialex.kernels.contract.windows import padding_form, pair, single
from minialex.nn import init
from minialex.nn.layer import Layer, require_flags, require_positive
from minialex.nn.module import Parameter
from minialex.nn.windows import require_window, window_of
from minialex.tensor import Tensor

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Convolution(Layer):
    """What convolutions share: channels, groups, weights."""

    kernel_size: Any
    stride: Any
    padding: Any
    dilation: Any
    output_padding: Any
    # What is printed where it is not the default.
    _options = (("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1), ("padding_mode", "zeros"))

    def _set_up(self, in_channels: int, out_channels: int, groups: int, padding_mode: str) -> None:
        require_positive(in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ShapeError(
                f"{type(self).__name__}: in_channels and out_channels must be multiples of groups={groups}, "
                f"not {in_channels} and {out_channels}"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.padding_mode = require_choice("padding_mode", padding_mode, PADDING_MODES, error=ShapeError)

    def _add_weights(self, shape: tuple[int, ...], bias: bool, device, dtype) -> None:
        require_flags(bias=bias)
        self.weight = Parameter(np.empty(shape, np.float32))
        values = Parameter(np.empty(self.out_channels, np.float32)) if bias else None
        self.register_parameter("bias", values)
        init.default(self)
        self.to(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        init.pytorch(self)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        for name, default in self._options:
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)!r}"
        return text if self.bias is not None else text + ", bias=False"


class Conv2d(_Convolution):
    """Convolution; see `minialex.functional.conv2d`. Weights start as PyTorch's do.

    Parameters
    ----------
    in_channels, out_channels : int
        The layer takes (N, in_channels, H, W) and gives (N, out_channels, P, Q).
    kernel_size, stride, padding, dilation, groups
        As of the function.
    bias : bool
    padding_mode : "zeros", "reflect", "replicate" or "circular"
        What stands in the padding; see `minialex.functional.pad`.
    device : str, optional
    dtype : float32 or float64, optional
    """

    _function = staticmethod(F.conv2d)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device=None,
        dtype=None,
    ):
        super().__init__()
        self._set_up(in_channels, out_channels, groups, padding_mode)
        self.kernel_size = pair(kernel_size, "kernel_size")
        require_window(kernel_size, stride, padding, dilation)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self._add_weights(shape, bias, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros" and x.ndim == 4:
            rows, columns = window_of(self, (x.shape[2], x.shape[3])).padding
            x, padding = F.pad(x, (*columns, *rows), self.padding_mode), 0
        return self._function(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_Convolution):
    """Convolution of rows; see `minialex.functional.conv1d`. Weights start as PyTorch's do.

    Parameters
    ----------
    in_channels, out_channels : int
        The layer takes (N, in_channels, L) and gives (N, out_channels, M).
    kernel_size, stride, padding, dilation, groups : int
        As of the function; or tuples of one.
    bias : bool
    padding_mode : "zeros", "reflect", "replicate" or "circular"
        What stands in the padding, which then is a number.
    device : str, optional
    dtype : float32 or float64, optional
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device=None,
        dtype=None,
    ):
        super().__init__()
        self._set_up(in_channels, out_channels, groups, padding_mode)
        self.kernel_size = single(kernel_size, "kernel_size")
        self.stride, self.dilation = single(stride, "stride"), single(dilation, "dilation")
        # Of a word, the function of images says which there are.
        self.padding = (
            padding_form(padding) if isinstance(padding, str) else single(padding, "padding", minimum=0)
        )
        if padding_mode != "zeros" and not is_int(self.padding, 0):
            raise ShapeError(f"padding must be an int with padding_mode, not {in_words(padding)}")
        self._add_weights((out_channels, in_channels // groups, self.kernel_size), bias, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            x, padding = F.pad(x, (padding, padding), self.padding_mode), 0
        return F.conv1d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class ConvTranspose2d(_Convolution):
    """Transposed convolution; see `minialex.functional.conv_transpose2d`. Weights start as PyTorch's do.

    Parameters
    ----------
    in_channels, out_channels : int
        The layer takes (N, in_channels, P, Q) and gives (N, out_channels, H, W).
    kernel_size, stride, padding, output_padding, groups, dilation
        As of the function.
    bias : bool
    padding_mode : "zeros"
    device : str, optional
    dtype : float32 or float64, optional
    """

    _options = (("stride", 1), ("padding", 0), ("output_padding", 0), ("groups", 1), ("dilation", 1))

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        groups: int = 1,
        bias: bool = True,
        dilation=1,
        padding_mode: str = "zeros",
        device=None,
        dtype=None,
    ):
        super().__init__()
        why = "a transposed convolution has no other"
        require_only("padding_mode", padding_mode, "zeros", why, error=ShapeError)
        self._set_up(in_channels, out_channels, groups, padding_mode)
        self.kernel_size = pair(kernel_size, "kernel_size")
        self.stride, self.padding, self.output_padding = stride, padding, output_padding
        self.dilation = dilation
        for name, minimum in (("stride", 1), ("padding", 0), ("output_padding", 0), ("dilation", 1)):
            pair(getattr(self, name), name, minimum=minimum)
        self._add_weights((in_channels, out_channels // groups, *self.kernel_size), bias, device, dtype)

    def forward(self, x: Tensor, output_size=None) -> Tensor:
        """The images; output_size (H, W) says which, where the stride leaves several sizes."""
        more: Any = self.output_padding
        if output_size is not None:
            more = self._more(x, tuple(output_size)[-2:])
        return F.conv_transpose2d(
            x, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation
        )

    def _more(self, x: Tensor, size: tuple[int, ...]) -> tuple[int, ...]:
        options = (self.stride, self.padding, self.dilation)
        strides, paddings, dilations = ((v, v) if is_int(v, 0) else tuple(v) for v in options)
        axes = zip(x.shape[2:], self.kernel_size, strides, paddings, dilations, strict=True)
        least = tuple((n - 1) * s - 2 * p + d * (k - 1) + 1 for n, k, s, p, d in axes)
        most = tuple(n + s - 1 for n, s in zip(least, strides, strict=True))
        if len(size) != 2 or not all(a <= n <= b for a, n, b in zip(least, size, most, strict=True)):
            raise ShapeError(f"output_size must be from {least} to {most}, not {size}")
        return tuple(n - a for n, a in zip(size, least, strict=True))
