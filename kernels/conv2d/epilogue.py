"""Convolution with the ReLU behind it: the definition, the plain kernel, and what the fast ones use."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.conv2d import FORWARD_RELU, im2col, reference
from minialex.kernels.runtime.compiled import compiled


@kernel(FORWARD_RELU, algo="reference")
def conv2d_forward_relu(x, weight, bias, *, call):
    return np.maximum(reference.conv2d_forward(x, weight, bias, call=call), 0)


@kernel(FORWARD_RELU, algo="im2col", rank=10, workspace=im2col.workspace)
def conv2d_forward_relu_im2col(x, weight, bias, *, call):
    y = im2col.conv2d_forward(x, weight, bias, call=call)
    return np.maximum(y, 0, out=y)


@compiled
def rectify(numbers):
    """Replace numbers of a row that are less than 0 by 0, while they are in the cache; NaN stays."""
    zero = numbers.dtype.type(0)
    for i in range(numbers.size):
        numbers[i] = zero if numbers[i] <= zero else numbers[i]
