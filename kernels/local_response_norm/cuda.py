"""Local response normalisation on a GPU: the launches of local_response_norm.cu."""

from minialex.kernels.cuda import Source, cuda_kernel
from minialex.kernels.local_response_norm import BACKWARD, FORWARD, WINDOW_SUM

SOURCE = Source(__file__, "local_response_norm.cu")


def _window(x, size):
    """What each kernel takes of the shape of x (N, C, H, W) and of its window, as ints."""
    return x.size, x.shape[1], x.shape[2] * x.shape[3], size // 2


@cuda_kernel(FORWARD, algo="thread-per-cell", rank=10)
def local_response_norm_forward(device, x, *, call):
    x = device.contiguous(x)
    y = device.empty(x.shape, x.dtype)
    kernel = SOURCE["local_response_norm_forward"]
    device.launch_over(kernel, x.size, x, y, *_window(x, call.size), call.alpha, call.beta, call.k)
    return y


@cuda_kernel(BACKWARD, algo="thread-per-cell", rank=10, workspace=lambda g, x, **_: x.nbytes)
def local_response_norm_backward(device, g, x, *, call):
    g, x = device.contiguous(g), device.contiguous(x)
    gx, cross = device.empty(x.shape, x.dtype), device.empty(x.shape, x.dtype)
    window = _window(x, call.size)
    factors, backward = SOURCE["local_response_norm_factors"], SOURCE["local_response_norm_backward"]
    device.launch_over(factors, x.size, g, x, gx, cross, *window, call.alpha, call.beta, call.k)
    device.launch_over(backward, x.size, x, cross, gx, *window, call.alpha, call.beta)
    return gx


@cuda_kernel(WINDOW_SUM, algo="thread-per-cell", rank=10)
def channel_window_sum_forward(device, x, *, size):
    x = device.contiguous(x)
    y = device.empty(x.shape, x.dtype)
    device.launch_over(SOURCE["channel_window_sum"], x.size, x, y, *_window(x, size))
    return y
