"""The rectified linear unit on a GPU: the launches of relu.cu."""

import numpy as np

from minialex.kernels.cuda import Source, cuda_kernel
from minialex.kernels.relu import BACKWARD, FORWARD, MASK
from minialex.kernels.relu.shape import mask_shape

SOURCE = Source(__file__, "relu.cu")


@cuda_kernel(FORWARD, algo="one-pass", rank=10)
def relu_forward(device, x):
    x = device.contiguous(x)
    y = device.empty(x.shape, x.dtype)
    device.launch_over(SOURCE["relu_forward"], x.size, x, y, x.size)
    return y


@cuda_kernel(MASK, algo="one-pass", rank=10)
def relu_mask(device, y):
    y = device.contiguous(y)
    mask = device.empty(mask_shape(y.shape), np.uint32)
    device.launch_over(SOURCE["relu_mask"], y.size, y, mask, y.size)
    return mask


@cuda_kernel(BACKWARD, algo="one-pass", rank=10)
def relu_backward(device, g, mask):
    g = device.contiguous(g)
    gx = device.empty(g.shape, g.dtype)
    device.launch_over(SOURCE["relu_backward"], g.size, g, device.contiguous(mask), gx, g.size)
    return gx
