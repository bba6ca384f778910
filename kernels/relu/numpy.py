"""The rectified linear unit in one NumPy operation."""

import numpy as np
from minialex.kernels.registry import kernel


@kernel("relu.forward", algo="numpy", rank=10)
def relu_forward(x):
    return np.maximum(x, 0, dtype=x.dtype)


@kernel("relu.backward", algo="numpy", rank=10)
def relu_backward(g, y):
    # Not g * (y > 0): an infinite g times zero would be NaN.
    gx = np.zeros(g.shape, g.dtype)
    np.copyto(gx, g, where=y > 0)
    return gx
