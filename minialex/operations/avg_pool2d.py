"""Average pooling. It is linear, and it and its gradient are each other's gradient."""

from __future__ import annotations

from minialex.autograd import Operation
from minialex.checks import require_flag
from minialex.errors import ShapeError
from minialex.kernels.avg_pool2d import FORWARD, INPUT_GRAD, AvgPoolCall
from minialex.operations.inputs import require_floats
from minialex.tensor import Tensor


class _AveragePooling(Operation):
    def __init__(self, call: AvgPoolCall):
        self.call = call


class AvgPool2d(_AveragePooling):
    def forward(self, x):
        return self.kernel(FORWARD, x, call=self.call)

    def backward(self, g):
        return (AvgPool2dInputGrad(self.call)(g),)


class AvgPool2dInputGrad(_AveragePooling):
    def forward(self, g):
        return self.kernel(INPUT_GRAD, g, call=self.call)

    def backward(self, u):
        return (AvgPool2d(self.call)(u),)


def avg_pool2d(
    x: Tensor,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window.

    Parameters
    ----------
    x : Tensor (N, C, H, W)
    kernel_size, stride, padding, ceil_mode : as in `max_pool2d`
    count_include_pad : bool
        Whether padded cells count towards the divisor (PyTorch's default); TensorFlow counts only the
        image.

    Returns
    -------
    Tensor (N, C, P, Q)
    """
    require_floats("avg_pool2d", x)
    call = AvgPoolCall.of(
        x.shape,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=require_flag("avg_pool2d: ceil_mode", ceil_mode, error=ShapeError),
        count_include_pad=require_flag("avg_pool2d: count_include_pad", count_include_pad, error=ShapeError),
    )
    return AvgPool2d(call)(x)
