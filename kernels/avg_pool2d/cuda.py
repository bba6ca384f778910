"""Average pooling on a GPU: the launches of avg_pool2d.cu."""

from minialex.kernels.avg_pool2d import FORWARD, INPUT_GRAD
from minialex.kernels.cuda import Source, blocks_for, cuda_kernel
from minialex.kernels.cuda.windows import require_int_cells

SOURCE = Source(__file__, "avg_pool2d.cu")
_THREADS = 256


@cuda_kernel(FORWARD, algo="thread-per-cell", rank=10)
def avg_pool2d_forward(device, x, *, call):
    require_int_cells("avg_pool2d", call.window)
    x, y = device.contiguous(x), device.empty(call.y_shape, x.dtype)
    sizes = y.size, *call.window.size, *call.window.positions
    grid = blocks_for(y.size, _THREADS)
    arguments = x, y, *sizes, *_window(call), *_counted(call)
    device.launch(SOURCE["avg_pool2d_forward"], grid, _THREADS, *arguments)
    return y


@cuda_kernel(INPUT_GRAD, algo="thread-per-cell", rank=10, workspace=lambda g, *, call: g.nbytes)
def avg_pool2d_input_grad(device, g, *, call):
    require_int_cells("avg_pool2d", call.window)
    g = device.contiguous(g)
    shares, gx = device.empty(g.shape, g.dtype), device.empty(call.x_shape, g.dtype)
    arguments = g, shares, g.size, *call.window.positions, *_window(call), *_counted(call)
    device.launch(SOURCE["avg_pool2d_shares"], blocks_for(g.size, _THREADS), _THREADS, *arguments)
    arguments = shares, gx, gx.size, *call.window.size, *call.window.positions, *_window(call)
    device.launch(SOURCE["avg_pool2d_input_grad"], blocks_for(gx.size, _THREADS), _THREADS, *arguments)
    return gx


def _window(call) -> tuple[int, ...]:
    return *call.window.kernel_size, *call.window.stride, *call.window.before


def _counted(call) -> tuple[int, ...]:
    """The rectangle of cells that count: its first row and the row after its last, and so its columns."""
    rows, columns = (
        (-axis.before, axis.size + axis.after) if call.count_include_pad else (0, axis.size)
        for axis in call.window
    )
    return *rows, *columns
