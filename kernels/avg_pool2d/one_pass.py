"""Average pooling in compiled loops, plane by plane: each window is summed down its columns, then across.

The gradient goes the other way: a row of shares is spread across, and added to each row of its windows.
"""

import math

import numpy as np

from minialex.integers import ceil_div
from minialex.kernels.avg_pool2d import FORWARD, INPUT_GRAD
from minialex.kernels.avg_pool2d.call import AvgPoolCall
from minialex.kernels.contract.registry import kernel
from minialex.kernels.runtime import memory, threads
from minialex.kernels.runtime.compiled import compiled

# Elements of an item: some ten microseconds of work. A batch below this size stays on one thread.
_ITEM = 2**15
# Padding between the scratch rows of two threads, in elements: at least two cache lines, which processors
# fetch in pairs. Threads that write to one line wait for each other; with small images that dominated.
_APART = 32


@compiled.parallel
def _forward(item, worker, x, y, rows, counts, planes, kernel_size, stride, start):
    height, width = x.shape[1:]
    padded = rows[worker]  # zeros, except in the columns of the image
    row = padded[start[1] : start[1] + width]
    for plane in range(item * planes, min((item + 1) * planes, len(x))):
        image = x[plane]
        for p in range(y.shape[1]):
            first = p * stride[0] - start[0]
            row[:] = 0
            for r in range(max(0, first), min(height, first + kernel_size[0])):
                values = image[r]
                for w in range(width):
                    row[w] += values[w]
            out, divisor = y[plane, p], counts[p]
            for q in range(out.size):
                total = padded[q * stride[1]]
                for j in range(1, kernel_size[1]):
                    total += padded[q * stride[1] + j]
                out[q] = total / divisor[q]


@compiled.parallel
def _input_grad(item, worker, g, gx, rows, counts, planes, kernel_size, stride, start):
    height, width = gx.shape[1:]
    padded = rows[worker]
    row = padded[start[1] : start[1] + width]
    for plane in range(item * planes, min((item + 1) * planes, len(gx))):
        result = gx[plane]
        result[:] = 0
        for p in range(g.shape[1]):
            upstream, divisor = g[plane, p], counts[p]
            padded[:] = 0
            for q in range(upstream.size):
                share = upstream[q] / divisor[q]
                for j in range(kernel_size[1]):
                    padded[q * stride[1] + j] += share
            first = p * stride[0] - start[0]
            for r in range(max(0, first), min(height, first + kernel_size[0])):
                values = result[r]
                for w in range(width):
                    values[w] += row[w]


def _run(body, source, result, call: AvgPoolCall) -> None:
    """Run a body from source to result, both (N, C, any, any), one of which is the input of the pooling."""
    window = call.window
    planes = max(1, _ITEM // max(1, math.prod(window.size)))
    source, flat = (np.ascontiguousarray(a).reshape(-1, *a.shape[2:]) for a in (source, result))
    rows = memory.zeros(_rows_shape(call), result.dtype)
    divisors = call.divisors().astype(result.dtype)
    geometry = window.kernel_size, window.stride, window.before
    body.run(ceil_div(len(flat), planes), source, flat, rows, divisors, planes, *geometry)


def _rows_shape(call: AvgPoolCall) -> tuple[int, int]:
    """The shape of the scratch rows, one for each thread, with padding on both sides."""
    axis = call.window.horizontal
    reach = max((axis.positions - 1) * axis.stride + axis.kernel, axis.before + axis.size)
    return threads.num_threads(), reach + _APART


@kernel(FORWARD, algo="one-pass", rank=20, records=1)
def avg_pool2d_forward(x, *, call):
    y = memory.empty(call.y_shape, x.dtype)
    if y.size:
        _run(_forward, x, y, call)
    return y


@kernel(INPUT_GRAD, algo="one-pass", rank=20)
def avg_pool2d_input_grad(g, *, call):
    gx = memory.empty(call.x_shape, g.dtype)
    if gx.size:
        _run(_input_grad, g, gx, call)
    return gx
