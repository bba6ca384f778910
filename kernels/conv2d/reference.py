"""Convolution by definition: the three directions sum the same products."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.conv2d import FORWARD, INPUT_GRAD, WEIGHT_GRAD


def _products(call):
    """Yield the indices (into y, weight, x) of every product weight * x that counts towards y."""
    rows, columns = call.window
    for n, o, p, q in np.ndindex(*call.y_shape):
        group = o // call.group_outputs
        for c, i, j in np.ndindex(*call.weight_shape[1:]):
            h = p * rows.stride - rows.before + i * rows.dilation
            w = q * columns.stride - columns.before + j * columns.dilation
            if 0 <= h < rows.size and 0 <= w < columns.size:
                yield (n, o, p, q), (o, c, i, j), (n, group * call.group_channels + c, h, w)


@kernel(FORWARD, algo="reference")
def conv2d_forward(x, weight, bias, *, call):
    y = np.zeros(call.y_shape, x.dtype)
    if bias is not None:
        y += bias.reshape(-1, 1, 1)
    for at_y, at_weight, at_x in _products(call):
        y[at_y] += weight[at_weight] * x[at_x]
    return y


@kernel(INPUT_GRAD, algo="reference")
def conv2d_input_grad(g, weight, *, call):
    gx = np.zeros(call.x_shape, g.dtype)
    for at_y, at_weight, at_x in _products(call):
        gx[at_x] += weight[at_weight] * g[at_y]
    return gx


@kernel(WEIGHT_GRAD, algo="reference")
def conv2d_weight_grad(g, x, *, call):
    gw = np.zeros(call.weight_shape, g.dtype)
    for at_y, at_weight, at_x in _products(call):
        gw[at_weight] += g[at_y] * x[at_x]
    return gw
