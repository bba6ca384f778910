"""Max-pooling on a GPU: the launches of max_pool2d.cu."""

import numpy as np

from minialex.kernels.cuda import Source, blocks_for, cuda_kernel
from minialex.kernels.cuda.windows import require_int_cells
from minialex.kernels.max_pool2d import EVALUATE, FORWARD, GATHER, SCATTER

SOURCE = Source(__file__, "max_pool2d.cu")
_THREADS = 256


@cuda_kernel(FORWARD, algo="thread-per-cell", rank=10)
def max_pool2d_forward(device, x, *, call):
    window = call.window
    require_int_cells("max_pool2d", window)
    x = device.contiguous(x)
    y, index = device.empty(call.y_shape, x.dtype), device.empty(call.y_shape, np.int32)
    sizes = y.size, *window.size, *window.positions
    geometry = *window.kernel_size, *window.stride, *window.before, *window.dilation
    grid = blocks_for(y.size, _THREADS)
    device.launch(SOURCE["max_pool2d_forward"], grid, _THREADS, x, y, index, *sizes, *geometry)
    return y, index


@cuda_kernel(EVALUATE, algo="thread-per-cell", rank=10)
def max_pool2d_evaluate(device, x, *, call):
    window = call.window
    require_int_cells("max_pool2d", window)
    x, y = device.contiguous(x), device.empty(call.y_shape, x.dtype)
    sizes = y.size, *window.size, *window.positions
    geometry = *window.kernel_size, *window.stride, *window.before, *window.dilation
    device.launch(
        SOURCE["max_pool2d_evaluate"], blocks_for(y.size, _THREADS), _THREADS, x, y, *sizes, *geometry
    )
    return y


@cuda_kernel(GATHER, algo="thread-per-cell", rank=10)
def max_pool2d_gather(device, x, index):
    x, index = device.contiguous(x), device.contiguous(index)
    y = device.empty(index.shape, x.dtype)
    cells, positions = x.shape[2] * x.shape[3], index.shape[2] * index.shape[3]
    grid = blocks_for(y.size, _THREADS)
    device.launch(SOURCE["max_pool2d_gather"], grid, _THREADS, x, index, y, y.size, cells, positions)
    return y


def _bounds_shape(index):
    """The lines of positions for which the scatter keeps bounds: (N, C, P + Q)."""
    n, channels, height, width = index.shape
    return n, channels, height + width


def _bounds_bytes(g, index, *, input_size):
    return 2 * int(np.prod(_bounds_shape(index))) * np.dtype(np.int32).itemsize


@cuda_kernel(SCATTER, algo="thread-per-cell", rank=10, workspace=_bounds_bytes)
def max_pool2d_scatter(device, g, index, *, input_size):
    g, index = device.contiguous(g), device.contiguous(index)
    lowest, highest = (device.empty(_bounds_shape(index), np.int32) for _ in range(2))
    grid, sizes = blocks_for(lowest.size, _THREADS), (lowest.size, input_size[1], *index.shape[2:])
    device.launch(SOURCE["max_pool2d_winner_bounds"], grid, _THREADS, index, lowest, highest, *sizes)
    gx = device.empty((*g.shape[:2], *input_size), g.dtype)
    grid, sizes = blocks_for(gx.size, _THREADS), (gx.size, *input_size, *index.shape[2:])
    device.launch(SOURCE["max_pool2d_scatter"], grid, _THREADS, g, index, lowest, highest, gx, *sizes)
    return gx
