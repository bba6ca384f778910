"""Convolution. It and its two gradients form a closed family: the derivatives of each are the other two."""

from __future__ import annotations

from typing import Any

from minialex.autograd import Operation
from minialex.kernels.conv2d import FORWARD, INPUT_GRAD, WEIGHT_GRAD, ConvCall
from minialex.operations.inputs import require_floats, weight_tensor
from minialex.operations.reduction import sum
from minialex.tensor import Tensor, as_tensor


class _Convolution(Operation):
    saved_inputs = (0, 1)

    def __init__(self, call: ConvCall):
        self.call = call


class Conv2d(_Convolution):
    def forward(self, x, weight, bias):
        return self.kernel(FORWARD, x, weight, bias, call=self.call)

    def backward(self, g):
        x, weight = self.saved[:2]
        gx = Conv2dInputGrad(self.call)(g, weight) if self.needs(0) else None
        gw = Conv2dWeightGrad(self.call)(g, x) if self.needs(1) else None
        gb = sum(g, (0, 2, 3)) if self.needs(2) else None
        return gx, gw, gb


class Conv2dInputGrad(_Convolution):
    def forward(self, g, weight):
        return self.kernel(INPUT_GRAD, g, weight, call=self.call)

    def backward(self, u):
        g, weight = self.saved
        gg = Conv2d(self.call)(u, weight, None) if self.needs(0) else None
        gw = Conv2dWeightGrad(self.call)(g, u) if self.needs(1) else None
        return gg, gw


class Conv2dWeightGrad(_Convolution):
    def forward(self, g, x):
        return self.kernel(WEIGHT_GRAD, g, x, call=self.call)

    def backward(self, u):
        g, x = self.saved
        gg = Conv2d(self.call)(x, u, None) if self.needs(0) else None
        gx = Conv2dInputGrad(self.call)(g, u) if self.needs(1) else None
        return gg, gx


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Two-dimensional convolution (cross-correlation); the formula is in `minialex.kernels.conv2d`.

    Parameters
    ----------
    x : Tensor (N, C, H, W)
    weight : Tensor (O, C/groups, KH, KW)
    bias : Tensor (O,), optional
    stride, dilation : int or (vertical, horizontal)
    padding : int, (vertical, horizontal), ((top, bottom), (left, right)), "valid" or "same"
        ``"same"`` is TensorFlow's SAME at any stride, which pads more at the bottom and right.
    groups : int
        Input and output channels are divided into this many groups; each output group sees only its
        input group.

    Returns
    -------
    Tensor (N, O, P, Q)

    Raises
    ------
    ShapeError
        If shapes and parameters do not fit together.
    """
    window = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return convolve(Conv2d, x, weight, bias, window)


def convolve(operation: type[Conv2d], x: Tensor, weight: Any, bias: Any, window: dict) -> Tensor:
    """Check the arguments of `conv2d`, and apply an operation."""
    require_floats("conv2d", x)
    weight = weight_tensor("conv2d", weight, x)
    bias = None if bias is None else as_tensor(bias, x)
    call = ConvCall.of(x.shape, weight.shape, x.dtype, **window)
    if bias is not None:
        call.require_bias(bias.shape)
    return operation(call)(x, weight, bias)
