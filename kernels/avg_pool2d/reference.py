"""Average pooling by its definition: both directions add up the same terms."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.contract.shapes import output_shape


def _terms(x_shape, y_shape, kernel_size, stride, padding, count_include_pad):
    """Yield (index into y, index into x, divisor) for every cell that a window adds."""
    _, _, height, width = x_shape
    (top, bottom), (left, right) = padding
    for n, c, p, q in np.ndindex(*y_shape):
        inside, divisor = [], 0
        for i, j in np.ndindex(*kernel_size):
            row, column = p * stride[0] - top + i, q * stride[1] - left + j
            in_image = 0 <= row < height and 0 <= column < width
            in_padding = -top <= row < height + bottom and -left <= column < width + right
            if in_image:
                inside.append((n, c, row, column))
            if in_image or (count_include_pad and in_padding):
                divisor += 1
        for cell in inside:
            yield (n, c, p, q), cell, divisor


@kernel("avg_pool2d.forward", algo="reference")
def avg_pool2d_forward(x, *, kernel_size, stride, padding, ceil_mode, count_include_pad):
    y_shape = output_shape(
        "avg_pool2d", x.shape, kernel_size=kernel_size, stride=stride, padding=padding,
        ceil_mode=ceil_mode,
    )  # fmt: skip
    y = np.zeros(y_shape, x.dtype)
    for at_y, at_x, divisor in _terms(x.shape, y_shape, kernel_size, stride, padding, count_include_pad):
        y[at_y] += x[at_x] / divisor
    return y


@kernel("avg_pool2d.input_grad", algo="reference")
def avg_pool2d_input_grad(g, *, input_size, kernel_size, stride, padding, ceil_mode, count_include_pad):
    gx = np.zeros((*g.shape[:2], *input_size), g.dtype)
    for at_y, at_x, divisor in _terms(gx.shape, g.shape, kernel_size, stride, padding, count_include_pad):
        gx[at_x] += g[at_y] / divisor
    return gx
