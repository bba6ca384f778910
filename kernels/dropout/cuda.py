"""Dropout on a GPU: the launch of dropout.cu."""

import math

from minialex.integers import ceil_div
from minialex.kernels.cuda import Source, cuda_kernel
from minialex.kernels.dropout import FORWARD

SOURCE = Source(__file__, "dropout.cu")
_ELEMENTS_A_THREAD = 4


@cuda_kernel(FORWARD, algo="one-pass", rank=10)
def dropout_forward(device, x, *, p, seed, offset):
    x = device.contiguous(x)
    y = device.empty(x.shape, x.dtype)
    # A word is an integer: it is below a bound if it is below the next integer up.
    threshold = math.ceil((1 - p) * 2**32)
    turns = ceil_div(x.size, _ELEMENTS_A_THREAD)
    kernel = SOURCE["dropout_forward"]
    device.launch_over(kernel, turns, x, y, x.size, 1 - p, threshold, seed, offset)
    return y
