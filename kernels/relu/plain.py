"""The rectified linear unit in one or two NumPy operations."""

import numpy as np

from minialex.kernels.contract.registry import kernel


@kernel("relu.forward", algo="plain", rank=10)
def relu_forward(x):
    return np.maximum(x, 0, dtype=x.dtype)


@kernel("relu.backward", algo="plain", rank=10)
def relu_backward(g, y):
    # Ten times as fast as a masked copy. Where y is 0 an infinite g gives NaN instead of 0.
    return g * (y > 0)
