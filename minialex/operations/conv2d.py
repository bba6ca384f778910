"""Convolution. It is linear in its input and in its weight, so it and its two gradients are a closed
family: the derivatives of each are the other two.
"""

from __future__ import annotations

from minialex.autograd import Operation
from minialex.kernels import output_shape
from minialex.kernels.contract.windows import pair, resolve_padding
from minialex.operations.reduction import sum
from minialex.tensor import Tensor, as_tensor, require_tensor


class Conv2d(Operation):
    saved_inputs = (0, 1)

    def __init__(self, window: dict):
        self.window = window

    def forward(self, x, weight, bias):
        return self.kernel("conv2d.forward", x, weight, bias, **self.window)

    def backward(self, g):
        x, weight = self.saved
        gx = Conv2dInputGrad(x.shape[2:], self.window)(g, weight) if self.needs(0) else None
        gw = Conv2dWeightGrad(weight.shape[2:], self.window)(g, x) if self.needs(1) else None
        gb = sum(g, (0, 2, 3)) if self.needs(2) else None
        return gx, gw, gb


class Conv2dInputGrad(Operation):
    saved_inputs = (0, 1)

    def __init__(self, input_size, window: dict):
        self.input_size, self.window = input_size, window

    def forward(self, g, weight):
        return self.kernel("conv2d.input_grad", g, weight, input_size=self.input_size, **self.window)

    def backward(self, u):
        g, weight = self.saved
        gg = Conv2d(self.window)(u, weight, None) if self.needs(0) else None
        gw = Conv2dWeightGrad(weight.shape[2:], self.window)(g, u) if self.needs(1) else None
        return gg, gw


class Conv2dWeightGrad(Operation):
    saved_inputs = (0, 1)

    def __init__(self, kernel_size, window: dict):
        self.kernel_size, self.window = kernel_size, window

    def forward(self, g, x):
        return self.kernel("conv2d.weight_grad", g, x, kernel_size=self.kernel_size, **self.window)

    def backward(self, u):
        g, x = self.saved
        gg = Conv2d(self.window)(x, u, None) if self.needs(0) else None
        gx = Conv2dInputGrad(x.shape[2:], self.window)(g, u) if self.needs(1) else None
        return gg, gx


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride=1,
    padding=0,
    dilation=1,
    groups: int = 1,
) -> Tensor:
    """Two-dimensional convolution (cross-correlation); the formula stands in `minialex.kernels.conv2d`.

    Parameters
    ----------
    x : Tensor (N, C, H, W)
    weight : Tensor (O, C/groups, KH, KW)
    bias : Tensor (O,), optional
    stride, dilation : int or (vertical, horizontal)
    padding : int, (vertical, horizontal), ((top, bottom), (left, right)), "valid" or "same"
        ``"same"`` is TensorFlow's SAME at any stride, which pads more at the bottom and right.
    groups : int
        The input's and the output's channels are cut into that many groups, each output group
        seeing its input group alone.

    Returns
    -------
    Tensor (N, O, P, Q)

    Raises
    ------
    ShapeError
        If shapes and parameters do not fit together.
    """
    require_tensor("conv2d", x)
    weight = as_tensor(weight, x)
    bias = None if bias is None else as_tensor(bias, x)
    output_shape(
        "conv2d", x.shape, weight.shape, None if bias is None else bias.shape,
        stride=stride, padding=padding, dilation=dilation, groups=groups,
    )  # fmt: skip
    stride, dilation = pair(stride, "stride"), pair(dilation, "dilation")
    window = {
        "stride": stride,
        "padding": resolve_padding(padding, x.shape[2:], weight.shape[2:], stride, dilation),
        "dilation": dilation,
        "groups": groups,
    }
    return Conv2d(window)(x, weight, bias)
