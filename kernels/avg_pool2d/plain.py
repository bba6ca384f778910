"""Average pooling with one NumPy addition per cell of the window, over all positions at once."""

from minialex.kernels.avg_pool2d.shape import window_counts
from minialex.kernels.contract.registry import kernel
from minialex.kernels.contract.shapes import output_shape
from minialex.kernels.contract.windows import tap_slices
from minialex.kernels.runtime import memory


@kernel("avg_pool2d.forward", algo="plain", rank=10)
def avg_pool2d_forward(x, *, kernel_size, stride, padding, ceil_mode, count_include_pad):
    y_shape = output_shape(
        "avg_pool2d", x.shape, kernel_size=kernel_size, stride=stride, padding=padding,
        ceil_mode=ceil_mode,
    )  # fmt: skip
    size, positions = x.shape[2:], y_shape[2:]
    y = memory.zeros(y_shape, x.dtype)  # (N, C, P, Q)
    for _, at_y, at_x in tap_slices(size, positions, kernel_size, stride, padding, (1, 1)):
        y[:, :, *at_y] += x[:, :, *at_x]
    counts = window_counts(size, positions, kernel_size, stride, padding, count_include_pad)
    y /= counts.astype(x.dtype)
    return y


@kernel("avg_pool2d.input_grad", algo="plain", rank=10)
def avg_pool2d_input_grad(g, *, input_size, kernel_size, stride, padding, ceil_mode, count_include_pad):
    positions = g.shape[2:]
    counts = window_counts(input_size, positions, kernel_size, stride, padding, count_include_pad)
    share = g / counts.astype(g.dtype)
    gx = memory.zeros((*g.shape[:2], *input_size), g.dtype)  # (N, C, H, W)
    for _, at_y, at_x in tap_slices(input_size, positions, kernel_size, stride, padding, (1, 1)):
        gx[:, :, *at_x] += share[:, :, *at_y]
    return gx
