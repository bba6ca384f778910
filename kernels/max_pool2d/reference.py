"""Max-pooling by its definition."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.contract.shapes import output_shape


@kernel("max_pool2d.forward", algo="reference")
def max_pool2d_forward(x, *, kernel_size, stride, padding, dilation, ceil_mode):
    _, _, height, width = x.shape
    (top, _), (left, _) = padding
    y = np.zeros(
        output_shape(
            "max_pool2d", x.shape, kernel_size=kernel_size, stride=stride,
            padding=padding, dilation=dilation, ceil_mode=ceil_mode,
        ), x.dtype,
    )  # fmt: skip
    index = np.zeros(y.shape, np.int32)
    for n, c, p, q in np.ndindex(*y.shape):
        best = None
        for i, j in np.ndindex(*kernel_size):
            row = p * stride[0] - top + i * dilation[0]
            column = q * stride[1] - left + j * dilation[1]
            if 0 <= row < height and 0 <= column < width:
                value = x[n, c, row, column]
                if best is None or value > best or (np.isnan(value) and not np.isnan(best)):
                    best = value
                    y[n, c, p, q] = value
                    index[n, c, p, q] = row * width + column
    return y, index


@kernel("max_pool2d.scatter", algo="reference")
def max_pool2d_scatter(g, index, *, input_size):
    gx = np.zeros((*g.shape[:2], *input_size), g.dtype)
    for n, c, p, q in np.ndindex(*g.shape):
        row, column = divmod(int(index[n, c, p, q]), input_size[1])
        gx[n, c, row, column] += g[n, c, p, q]
    return gx


@kernel("max_pool2d.gather", algo="reference")
def max_pool2d_gather(x, index):
    y = np.zeros(index.shape, x.dtype)
    for n, c, p, q in np.ndindex(*index.shape):
        row, column = divmod(int(index[n, c, p, q]), x.shape[3])
        y[n, c, p, q] = x[n, c, row, column]
    return y
