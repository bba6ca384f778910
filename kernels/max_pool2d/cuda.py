"""Max-pooling on a GPU: the launches of max_pool2d.cu."""

import numpy as np

from minialex.kernels.contract.shapes import output_shape
from minialex.kernels.cuda import Source, blocks_for, cuda_kernel
from minialex.kernels.cuda.windows import require_int_cells

SOURCE = Source(__file__, "max_pool2d.cu")
_THREADS = 256


@cuda_kernel("max_pool2d.forward", algo="thread-per-cell", rank=10)
def max_pool2d_forward(device, x, *, kernel_size, stride, padding, dilation, ceil_mode):
    require_int_cells("max_pool2d", x.shape[2:], padding)
    x = device.contiguous(x)
    shape = output_shape(
        "max_pool2d", x.shape, kernel_size=kernel_size, stride=stride,
        padding=padding, dilation=dilation, ceil_mode=ceil_mode,
    )  # fmt: skip
    y, index = device.empty(shape, x.dtype), device.empty(shape, np.int32)
    (top, _), (left, _) = padding
    device.launch(
        SOURCE["max_pool2d_forward"], blocks_for(y.size, _THREADS), _THREADS,
        x, y, index, y.size, *x.shape[2:], *shape[2:], *kernel_size, *stride, top, left, *dilation,
    )  # fmt: skip
    return y, index


@cuda_kernel("max_pool2d.gather", algo="thread-per-cell", rank=10)
def max_pool2d_gather(device, x, index):
    x, index = device.contiguous(x), device.contiguous(index)
    y = device.empty(index.shape, x.dtype)
    cells, positions = x.shape[2] * x.shape[3], index.shape[2] * index.shape[3]
    device.launch(
        SOURCE["max_pool2d_gather"], blocks_for(y.size, _THREADS), _THREADS,
        x, index, y, y.size, cells, positions,
    )  # fmt: skip
    return y


def _bounds_shape(index):
    """The lines of positions, for each of which the scatter keeps bounds: (N, C, P + Q)."""
    n, channels, height, width = index.shape
    return n, channels, height + width


def _bounds_bytes(g, index, *, input_size):
    return 2 * int(np.prod(_bounds_shape(index))) * np.dtype(np.int32).itemsize


@cuda_kernel("max_pool2d.scatter", algo="thread-per-cell", rank=10, workspace=_bounds_bytes)
def max_pool2d_scatter(device, g, index, *, input_size):
    g, index = device.contiguous(g), device.contiguous(index)
    lowest, highest = (device.empty(_bounds_shape(index), np.int32) for _ in range(2))
    device.launch(
        SOURCE["max_pool2d_winner_bounds"], blocks_for(lowest.size, _THREADS), _THREADS,
        index, lowest, highest, lowest.size, input_size[1], *index.shape[2:],
    )  # fmt: skip
    gx = device.empty((*g.shape[:2], *input_size), g.dtype)
    device.launch(
        SOURCE["max_pool2d_scatter"], blocks_for(gx.size, _THREADS), _THREADS,
        g, index, lowest, highest, gx, gx.size, *input_size, *index.shape[2:],
    )  # fmt: skip
    return gx
