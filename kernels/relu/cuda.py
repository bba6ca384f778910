"""The rectified linear unit on a GPU: the launches of relu.cu."""

from minialex.kernels.contract.shapes import require_same_shape
from minialex.kernels.cuda import Source, cuda_kernel
from minialex.kernels.relu import BACKWARD, FORWARD

SOURCE = Source(__file__, "relu.cu")


@cuda_kernel(FORWARD, algo="one-pass", rank=10)
def relu_forward(device, x):
    x = device.contiguous(x)
    y = device.empty(x.shape, x.dtype)
    device.launch_over(SOURCE["relu_forward"], x.size, x, y, x.size)
    return y


@cuda_kernel(BACKWARD, algo="one-pass", rank=10)
def relu_backward(device, g, y):
    g, y = device.contiguous(g), device.contiguous(y)
    gx = device.empty(require_same_shape(BACKWARD, g=g.shape, y=y.shape), g.dtype)
    device.launch_over(SOURCE["relu_backward"], g.size, g, y, gx, g.size)
    return gx
