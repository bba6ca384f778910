"""The fully connected layer by the BLAS that NumPy is linked with."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.linear import FORWARD, INPUT_GRAD, WEIGHT_GRAD
from minialex.kernels.runtime import memory


@kernel(FORWARD, algo="blas", rank=10)
def linear_forward(x, weight, bias):
    y = np.matmul(x, weight.T, out=memory.empty((len(x), len(weight)), x.dtype))
    if bias is not None:
        y += bias
    return y


@kernel(INPUT_GRAD, algo="blas", rank=10)
def linear_input_grad(g, weight):
    return np.matmul(g, weight, out=memory.empty((len(g), weight.shape[1]), g.dtype))


@kernel(WEIGHT_GRAD, algo="blas", rank=10)
def linear_weight_grad(g, x):
    return np.matmul(g.T, x, out=memory.empty((g.shape[1], x.shape[1]), g.dtype))
