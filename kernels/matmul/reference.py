"""The matrix product by definition."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.matmul import FORWARD


@kernel(FORWARD, algo="reference")
def matmul_forward(a, b):
    y = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for i, j, k in np.ndindex(*y.shape, a.shape[1]):
        y[i, j] += a[i, k] * b[k, j]
    return y
