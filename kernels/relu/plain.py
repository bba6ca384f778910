"""The rectified linear unit in one or two NumPy operations."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.relu import BACKWARD, FORWARD


@kernel(FORWARD, algo="plain", rank=10)
def relu_forward(x):
    return np.maximum(x, 0, dtype=x.dtype)


@kernel(BACKWARD, algo="plain", rank=10)
def relu_backward(g, y):
    # Ten times as fast as a masked copy. Where y is 0, an infinite g gives NaN instead of 0.
    return g * (y > 0)
