"""The fully connected layer by definition."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.linear import FORWARD, INPUT_GRAD, WEIGHT_GRAD


@kernel(FORWARD, algo="reference")
def linear_forward(x, weight, bias):
    y = np.zeros((len(x), len(weight)), x.dtype)
    for n, o in np.ndindex(*y.shape):
        y[n, o] = 0 if bias is None else bias[o]
        for i in range(x.shape[1]):
            y[n, o] += weight[o, i] * x[n, i]
    return y


@kernel(INPUT_GRAD, algo="reference")
def linear_input_grad(g, weight):
    gx = np.zeros((len(g), weight.shape[1]), g.dtype)
    for n, o, i in np.ndindex(*g.shape, weight.shape[1]):
        gx[n, i] += g[n, o] * weight[o, i]
    return gx


@kernel(WEIGHT_GRAD, algo="reference")
def linear_weight_grad(g, x):
    gw = np.zeros((g.shape[1], x.shape[1]), g.dtype)
    for n, o, i in np.ndindex(*g.shape, x.shape[1]):
        gw[o, i] += g[n, o] * x[n, i]
    return gw
