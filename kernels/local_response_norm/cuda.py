"""Local response normalisation on a GPU: the launches of local_response_norm.cu."""

from minialex.kernels.cuda import Source, blocks_for, cuda_kernel

SOURCE = Source(__file__, "local_response_norm.cu")
_THREADS = 256


def _window(x, size):
    """What each kernel of the file is told of x (N, C, H, W) and its window: sizes that are ints."""
    return x.size, x.shape[1], x.shape[2] * x.shape[3], size // 2


@cuda_kernel("local_response_norm.forward", algo="thread-per-cell", rank=10)
def local_response_norm_forward(device, x, *, call):
    x = device.contiguous(x)
    y = device.empty(x.shape, x.dtype)
    device.launch(
        SOURCE["local_response_norm_forward"], blocks_for(x.size, _THREADS), _THREADS,
        x, y, *_window(x, call.size), call.alpha, call.beta, call.k,
    )  # fmt: skip
    return y


@cuda_kernel(
    "local_response_norm.backward", algo="thread-per-cell", rank=10, workspace=lambda g, x, **_: x.nbytes
)
def local_response_norm_backward(device, g, x, *, call):
    g, x = device.contiguous(g), device.contiguous(x)
    gx, cross = device.empty(x.shape, x.dtype), device.empty(x.shape, x.dtype)
    device.launch(
        SOURCE["local_response_norm_factors"], blocks_for(x.size, _THREADS), _THREADS,
        g, x, gx, cross, *_window(x, call.size), call.alpha, call.beta, call.k,
    )  # fmt: skip
    device.launch(
        SOURCE["local_response_norm_backward"], blocks_for(x.size, _THREADS), _THREADS,
        x, cross, gx, *_window(x, call.size), call.alpha, call.beta,
    )  # fmt: skip
    return gx


@cuda_kernel("channel_window_sum.forward", algo="thread-per-cell", rank=10)
def channel_window_sum_forward(device, x, *, size):
    x = device.contiguous(x)
    y = device.empty(x.shape, x.dtype)
    device.launch(
        SOURCE["channel_window_sum"], blocks_for(x.size, _THREADS), _THREADS, x, y, *_window(x, size)
    )
    return y
