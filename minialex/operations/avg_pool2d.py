"""Average pooling. It is linear, and it and its gradient are each other's gradient."""

from __future__ import annotations

from minialex.autograd import Operation
from minialex.kernels import output_shape
from minialex.kernels.contract.windows import pair, resolve_padding
from minialex.tensor import Tensor, require_tensor


class AvgPool2d(Operation):
    def __init__(self, window: dict):
        self.window = window

    def forward(self, x):
        return self.kernel("avg_pool2d.forward", x, **self.window)

    def backward(self, g):
        return (AvgPool2dInputGrad(self.shapes[0][2:], self.window)(g),)


class AvgPool2dInputGrad(Operation):
    def __init__(self, input_size, window: dict):
        self.input_size, self.window = input_size, window

    def forward(self, g):
        return self.kernel("avg_pool2d.input_grad", g, input_size=self.input_size, **self.window)

    def backward(self, u):
        return (AvgPool2d(self.window)(u),)


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
        Whether padded cells count in the divisor (PyTorch's default); TensorFlow counts the image
        alone.

    Returns
    -------
    Tensor (N, C, P, Q)
    """
    require_tensor("avg_pool2d", x)
    output_shape(
        "avg_pool2d", x.shape, kernel_size=kernel_size, stride=stride, padding=padding,
        ceil_mode=ceil_mode,
    )  # fmt: skip
    kernel_size = pair(kernel_size, "kernel_size")
    stride = kernel_size if stride is None else pair(stride, "stride")
    window = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": resolve_padding(padding, x.shape[2:], kernel_size, stride, (1, 1)),
        "ceil_mode": bool(ceil_mode),
        "count_include_pad": bool(count_include_pad),
    }
    return AvgPool2d(window)(x)
