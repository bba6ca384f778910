"""The rectified linear unit by definition."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.relu import BACKWARD, FORWARD, MASK
from minialex.kernels.relu.shape import mask_shape


@kernel(FORWARD, algo="reference")
def relu_forward(x):
    y = np.zeros_like(x)
    for at in np.ndindex(*x.shape):
        y[at] = 0 if x[at] <= 0 else x[at]
    return y


@kernel(MASK, algo="reference")
def relu_mask(y):
    mask = np.zeros(mask_shape(y.shape), np.uint32)
    for i, at in enumerate(np.ndindex(*y.shape)):
        if y[at] > 0:
            mask[i // 32] += np.uint32(2 ** (i % 32))
    return mask


@kernel(BACKWARD, algo="reference")
def relu_backward(g, mask):
    gx = np.zeros_like(g)
    for i, at in enumerate(np.ndindex(*g.shape)):
        if int(mask[i // 32]) // 2 ** (i % 32) % 2:
            gx[at] = g[at]
    return gx
