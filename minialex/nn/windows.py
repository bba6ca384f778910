"""The window of a layer, for those who count and measure."""

from __future__ import annotations

from minialex.kernels.contract.windows import Pair, Window, padding_form, pair
from minialex.nn.module import Module


def require_window(kernel_size, stride, padding, dilation=1) -> None:
    """Raise `ShapeError` unless they make a window of some image."""
    for name, value in (("kernel_size", kernel_size), ("stride", stride), ("dilation", dilation)):
        pair(value, name)
    padding_form(padding)


def window_of(layer: Module, size: Pair) -> Window:
    """The window of a convolution or a pool, over images of that height and width."""
    return Window.of(
        size,
        pair(layer.kernel_size, "kernel_size"),
        stride=pair(layer.stride, "stride"),
        padding=layer.padding,
        dilation=pair(getattr(layer, "dilation", 1), "dilation"),
        ceil_mode=getattr(layer, "ceil_mode", False),
    )
