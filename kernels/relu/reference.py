"""The rectified linear unit by definition."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.relu import BACKWARD, FORWARD


@kernel(FORWARD, algo="reference")
def relu_forward(x):
    y = np.zeros_like(x)
    for at in np.ndindex(*x.shape):
        y[at] = 0 if x[at] <= 0 else x[at]
    return y


@kernel(BACKWARD, algo="reference")
def relu_backward(g, y):
    gx = np.zeros_like(g)
    for at in np.ndindex(*g.shape):
        gx[at] = g[at] if y[at] > 0 else 0
    return gx
