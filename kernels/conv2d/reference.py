"""Convolution by its definition: the three directions add up the same products."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.contract.shapes import output_shape


def _products(x_shape, weight_shape, y_shape, stride, padding, dilation, groups):
    """Yield the indices (into y, weight, x) of every product weight * x that counts towards y."""
    _, _, height, width = x_shape
    outputs, per_group, kernel_height, kernel_width = weight_shape
    (top, _), (left, _) = padding
    for n, o, p, q in np.ndindex(*y_shape):
        group = o // (outputs // groups)
        for c, i, j in np.ndindex(per_group, kernel_height, kernel_width):
            row = p * stride[0] - top + i * dilation[0]
            column = q * stride[1] - left + j * dilation[1]
            if 0 <= row < height and 0 <= column < width:
                yield (n, o, p, q), (o, c, i, j), (n, group * per_group + c, row, column)


@kernel("conv2d.forward", algo="reference")
def conv2d_forward(x, weight, bias, *, stride, padding, dilation, groups):
    window = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    y = np.zeros(output_shape("conv2d", x.shape, weight.shape, **window), x.dtype)
    if bias is not None:
        y += bias.reshape(-1, 1, 1)
    for at_y, at_weight, at_x in _products(x.shape, weight.shape, y.shape, **window):
        y[at_y] += weight[at_weight] * x[at_x]
    return y


@kernel("conv2d.input_grad", algo="reference")
def conv2d_input_grad(g, weight, *, input_size, stride, padding, dilation, groups):
    gx = np.zeros((len(g), weight.shape[1] * groups, *input_size), g.dtype)
    for at_y, at_weight, at_x in _products(
        gx.shape, weight.shape, g.shape, stride, padding, dilation, groups
    ):
        gx[at_x] += weight[at_weight] * g[at_y]
    return gx


@kernel("conv2d.weight_grad", algo="reference")
def conv2d_weight_grad(g, x, *, kernel_size, stride, padding, dilation, groups):
    gw = np.zeros((g.shape[1], x.shape[1] // groups, *kernel_size), g.dtype)
    for at_y, at_weight, at_x in _products(x.shape, gw.shape, g.shape, stride, padding, dilation, groups):
        gw[at_weight] += g[at_y] * x[at_x]
    return gw
