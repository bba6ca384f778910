"""Average pooling on a GPU: the launches of avg_pool2d.cu."""

from minialex.kernels.contract.shapes import output_shape
from minialex.kernels.cuda import Source, blocks_for, cuda_kernel
from minialex.kernels.cuda.windows import require_int_cells

SOURCE = Source(__file__, "avg_pool2d.cu")
_THREADS = 256


@cuda_kernel("avg_pool2d.forward", algo="thread-per-cell", rank=10)
def avg_pool2d_forward(device, x, *, kernel_size, stride, padding, ceil_mode, count_include_pad):
    require_int_cells("avg_pool2d", x.shape[2:], padding)
    x = device.contiguous(x)
    shape = output_shape(
        "avg_pool2d", x.shape, kernel_size=kernel_size, stride=stride, padding=padding,
        ceil_mode=ceil_mode,
    )  # fmt: skip
    y = device.empty(shape, x.dtype)
    device.launch(
        SOURCE["avg_pool2d_forward"], blocks_for(y.size, _THREADS), _THREADS,
        x, y, y.size, *x.shape[2:], *shape[2:],
        *_window(kernel_size, stride, padding), *_counted(x.shape[2:], padding, count_include_pad),
    )  # fmt: skip
    return y


@cuda_kernel("avg_pool2d.input_grad", algo="thread-per-cell", rank=10, workspace=lambda g, **_: g.nbytes)
def avg_pool2d_input_grad(
    device, g, *, input_size, kernel_size, stride, padding, ceil_mode, count_include_pad
):
    require_int_cells("avg_pool2d", input_size, padding)
    g = device.contiguous(g)
    shares, gx = device.empty(g.shape, g.dtype), device.empty((*g.shape[:2], *input_size), g.dtype)
    window = _window(kernel_size, stride, padding)
    device.launch(
        SOURCE["avg_pool2d_shares"], blocks_for(g.size, _THREADS), _THREADS,
        g, shares, g.size, *g.shape[2:], *window, *_counted(input_size, padding, count_include_pad),
    )  # fmt: skip
    device.launch(
        SOURCE["avg_pool2d_input_grad"], blocks_for(gx.size, _THREADS), _THREADS,
        shares, gx, gx.size, *input_size, *g.shape[2:], *window,
    )  # fmt: skip
    return gx


def _window(kernel_size, stride, padding):
    (top, _), (left, _) = padding
    return *kernel_size, *stride, top, left


def _counted(size, padding, count_include_pad):
    """The rectangle of the cells that count: its first row, the row after its last; its columns likewise."""
    rows, columns = (
        (-before, length + after) if count_include_pad else (0, length)
        for length, (before, after) in zip(size, padding, strict=True)
    )
    return *rows, *columns
