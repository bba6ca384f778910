"""The rectified linear unit on a GPU: the launches of relu.cu."""

from minialex.kernels.contract.shapes import require_same_shape
from minialex.kernels.cuda import Source, blocks_for, cuda_kernel

SOURCE = Source(__file__, "relu.cu")
_THREADS = 256


@cuda_kernel("relu.forward", algo="one-pass", rank=10)
def relu_forward(device, x):
    x = device.contiguous(x)
    y = device.empty(x.shape, x.dtype)
    device.launch(SOURCE["relu_forward"], blocks_for(x.size, _THREADS), _THREADS, x, y, x.size)
    return y


@cuda_kernel("relu.backward", algo="one-pass", rank=10)
def relu_backward(device, g, y):
    g, y = device.contiguous(g), device.contiguous(y)
    gx = device.empty(require_same_shape("relu.backward", g=g.shape, y=y.shape), g.dtype)
    device.launch(SOURCE["relu_backward"], blocks_for(g.size, _THREADS), _THREADS, g, y, gx, g.size)
    return gx
