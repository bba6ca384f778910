"""Average pooling in compiled loops, plane by plane: each window is added up along its columns, then across.

The gradient goes the other way: a row of shares is spread across, and added to each row of its windows.
"""

import math

import numpy as np

from minialex.kernels.avg_pool2d.shape import window_counts
from minialex.kernels.contract.registry import kernel
from minialex.kernels.contract.shapes import output_shape
from minialex.kernels.runtime import memory, threads
from minialex.kernels.runtime.compiled import compiled

# Elements of an item: some ten microseconds of work, and a batch below this size stays on one thread.
_ITEM = 2**15
# Between the scratch rows of two threads, in elements: at least two cache lines, which processors fetch in
# pairs. Threads that write to one line wait for each other; with small images that took longer than the work.
_APART = 32


@compiled.parallel
def _forward(item, worker, x, y, rows, counts, planes, kernel_size, stride, start):
    height, width = x.shape[1:]
    padded = rows[worker]  # zeros, but for the columns of the image
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


def _run(body, source, result, size, positions, kernel_size, stride, padding, count_include_pad):
    """Run a body from source to result, both (N, C, any, any), one of which is the input of the pooling."""
    (top, _), (left, _) = padding
    counts = window_counts(size, positions, kernel_size, stride, padding, count_include_pad)
    planes = max(1, _ITEM // max(1, math.prod(size)))
    flat = (np.ascontiguousarray(a).reshape(-1, *a.shape[2:]) for a in (source, result))
    body.run(
        -(-math.prod(result.shape[:2]) // planes), *flat,
        memory.zeros(_rows_shape(size, positions, kernel_size, stride, left), result.dtype),
        counts.astype(result.dtype), planes, kernel_size, stride, (top, left),
    )  # fmt: skip


def _rows_shape(size, positions, kernel_size, stride, left):
    """The shape of the scratch rows, one a thread, with the padding on both sides."""
    reach = max((positions[1] - 1) * stride[1] + kernel_size[1], left + size[1])
    return threads.num_threads(), reach + _APART


@kernel("avg_pool2d.forward", algo="one-pass", rank=20)
def avg_pool2d_forward(x, *, kernel_size, stride, padding, ceil_mode, count_include_pad):
    y_shape = output_shape(
        "avg_pool2d", x.shape, kernel_size=kernel_size, stride=stride, padding=padding,
        ceil_mode=ceil_mode,
    )  # fmt: skip
    y = memory.empty(y_shape, x.dtype)
    if y.size:
        _run(_forward, x, y, x.shape[2:], y_shape[2:], kernel_size, stride, padding, count_include_pad)
    return y


@kernel("avg_pool2d.input_grad", algo="one-pass", rank=20)
def avg_pool2d_input_grad(g, *, input_size, kernel_size, stride, padding, ceil_mode, count_include_pad):
    gx = memory.empty((*g.shape[:2], *input_size), g.dtype)
    if gx.size:
        _run(_input_grad, g, gx, input_size, g.shape[2:], kernel_size, stride, padding, count_include_pad)
    return gx
