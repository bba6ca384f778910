"""Convolution and the ReLU behind it, by one kernel: for networks that only infer."""

from __future__ import annotations

from typing import Any

from minialex.kernels.conv2d import FORWARD_RELU
from minialex.kernels.relu import MASK
from minialex.operations.conv2d import Conv2d, convolve
from minialex.operations.relu import ReLUBackward
from minialex.tensor import Tensor


class Conv2dReLU(Conv2d):
    saved_outputs = (0,)

    def forward(self, x, weight, bias):
        return self.kernel(FORWARD_RELU, x, weight, bias, call=self.call)

    def branch(self, inputs, results):
        return results[0] > 0

    def backward(self, g):
        *_, y = self.saved
        mask = self.kernel(MASK, y.data)
        return super().backward(ReLUBackward(mask)(g))


def conv2d_relu(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """``relu(conv2d(...))``; parameters, result and errors are those of `conv2d`."""
    window = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return convolve(Conv2dReLU, x, weight, bias, window)
