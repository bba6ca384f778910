"""The rectified linear unit by its definition."""

import numpy as np

from minialex.kernels.contract.registry import kernel


@kernel("relu.forward", algo="reference")
def relu_forward(x):
    y = np.zeros_like(x)
    for at in np.ndindex(*x.shape):
        y[at] = 0 if x[at] <= 0 else x[at]
    return y


@kernel("relu.backward", algo="reference")
def relu_backward(g, y):
    gx = np.zeros_like(g)
    for at in np.ndindex(*g.shape):
        gx[at] = g[at] if y[at] > 0 else 0
    return gx
