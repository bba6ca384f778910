"""Local response normalisation in compiled loops that read and write each array in memory once.

A block of pixels goes through the channels, so that the rows of a window stay in the cache. Each window
is summed afresh, in a fixed order: a running sum, which subtracts the channel that leaves the window,
would accumulate rounding errors. The five channels in the middle, which are all of the usual window,
are added in registers; those farther away come as a row that holds their sum.

The forward pass saves nothing. Recomputing d in the backward pass takes less time than reading it
from memory, and a training step needs no memory for it. The backward pass lags size // 2 channels behind:
g * d ** -beta and g * x * d ** (-beta - 1) are computed for channel c, and then channel c - size // 2,
whose window ends at c, is finished. Only the rows of one window are kept.

d ** -0.75 is 1 / (sqrt(d) * sqrt(sqrt(d))): correctly rounded operations, with a relative error of at most
2.25 times the unit roundoff. A general power takes ten times as long.
"""

import math

import numpy as np

from minialex.integers import ceil_div
from minialex.kernels.contract.registry import kernel
from minialex.kernels.local_response_norm import BACKWARD, FORWARD, WINDOW_SUM
from minialex.kernels.runtime import memory, threads
from minialex.kernels.runtime.compiled import compiled

# The pixels of a block: in float32 the dozen rows in use take less than half of a 512 KiB cache.
_BLOCK = 3072
# A small batch is cut further, so that threads can share it: into a few items for each thread, but not into
# shorter rows of pixels than this.
_ITEMS = 4
_SHORTEST = 256
# Rows of scratch memory: zeros, the sum of the far channels, and d.
_FORWARD_ROWS = 3
_SUM_ROWS = 2


@compiled
def _window_sides(rows, c, half, channels, start, stop, zeros):
    """The pixels of the channels c - 2, c - 1, c + 1 and c + 2; zeros where the window has no such channel.

    Channel c is in row c % len(rows).
    """
    a = b = d = e = zeros
    if half >= 1 and c >= 1:
        b = rows[(c - 1) % len(rows)][start:stop]
    if half >= 1 and c + 1 < channels:
        d = rows[(c + 1) % len(rows)][start:stop]
    if half >= 2 and c >= 2:
        a = rows[(c - 2) % len(rows)][start:stop]
    if half >= 2 and c + 2 < channels:
        e = rows[(c + 2) % len(rows)][start:stop]
    return a, b, d, e


@compiled
def _add_far(rows, c, half, channels, start, stop, squares, far):
    """Sum into `far` the channels of the window, or their squares, that are more than two away from c."""
    far[:] = 0
    for other in range(max(0, c - half), min(channels, c + half + 1)):
        if abs(other - c) > 2:
            row = rows[other % len(rows)][start:stop]
            if squares:
                for p in range(far.size):
                    far[p] += row[p] * row[p]
            else:
                for p in range(far.size):
                    far[p] += row[p]


@compiled
def _raise(d, beta):
    """Replace d by d ** -beta."""
    one = d.dtype.type(1)
    if beta == 0.5:
        for p in range(d.size):
            d[p] = one / math.sqrt(d[p])
    elif beta == 1.0:
        for p in range(d.size):
            d[p] = one / d[p]
    else:
        for p in range(d.size):
            d[p] = d[p] ** -beta


@compiled.parallel
def _forward(item, worker, x, y, scratch, blocks, half, alpha, beta, k):
    one = x.dtype.type(1)
    n, block = divmod(item, blocks)
    start, stop = x.shape[2] * block // blocks, x.shape[2] * (block + 1) // blocks
    image, result = x[n], y[n]  # (C, pixels)
    length = stop - start
    zeros, far = scratch[worker, 0][:length], scratch[worker, 1][:length]
    scale = scratch[worker, 2][:length]
    channels = len(image)
    for c in range(channels):
        a, b, d, e = _window_sides(image, c, half, channels, start, stop, zeros)
        v, out = image[c][start:stop], result[c][start:stop]
        if half > 2:
            _add_far(image, c, half, channels, start, stop, True, far)
        if beta == 0.75:
            for p in range(out.size):
                squares = a[p] * a[p] + b[p] * b[p] + v[p] * v[p] + d[p] * d[p] + e[p] * e[p] + far[p]
                root = math.sqrt(k + alpha * squares)
                out[p] = v[p] * (one / (root * math.sqrt(root)))
        else:
            for p in range(out.size):
                squares = a[p] * a[p] + b[p] * b[p] + v[p] * v[p] + d[p] * d[p] + e[p] * e[p] + far[p]
                scale[p] = k + alpha * squares
            _raise(scale, beta)
            for p in range(out.size):
                out[p] = v[p] * scale[p]


@compiled.parallel
def _backward(item, worker, g, x, gx, scratch, blocks, half, alpha, beta, k):
    one, factor = x.dtype.type(1), x.dtype.type(2) * alpha * beta
    n, block = divmod(item, blocks)
    start, stop = x.shape[2] * block // blocks, x.shape[2] * (block + 1) // blocks
    length = stop - start
    upstream, image, result = g[n], x[n], gx[n]  # (C, pixels)
    zeros, far = scratch[worker, 0][:length], scratch[worker, 1][:length]
    scale, power = scratch[worker, 2][:length], scratch[worker, 3][:length]
    crosses = scratch[worker][4:]  # g * x * d ** (-beta - 1) of the last channels
    channels = len(image)
    for c in range(channels + half):
        if c < channels:
            a, b, d, e = _window_sides(image, c, half, channels, start, stop, zeros)
            u, v, direct = upstream[c][start:stop], image[c][start:stop], result[c][start:stop]
            cross = crosses[c % len(crosses)][:length]
            if half > 2:
                _add_far(image, c, half, channels, start, stop, True, far)
            if beta == 0.75:
                for p in range(length):
                    squares = a[p] * a[p] + b[p] * b[p] + v[p] * v[p] + d[p] * d[p] + e[p] * e[p] + far[p]
                    s = k + alpha * squares
                    root = math.sqrt(s)
                    direct[p] = u[p] * (one / (root * math.sqrt(root)))
                    cross[p] = direct[p] * v[p] / s
            else:
                for p in range(length):
                    squares = a[p] * a[p] + b[p] * b[p] + v[p] * v[p] + d[p] * d[p] + e[p] * e[p] + far[p]
                    scale[p] = k + alpha * squares
                    power[p] = scale[p]
                _raise(power, beta)
                for p in range(length):
                    direct[p] = u[p] * power[p]
                    cross[p] = direct[p] * v[p] / scale[p]
        if c >= half:
            done = c - half
            a, b, d, e = _window_sides(crosses, done, half, channels, 0, length, zeros)
            v, out = image[done][start:stop], result[done][start:stop]
            cross = crosses[done % len(crosses)][:length]
            if half > 2:
                _add_far(crosses, done, half, channels, 0, length, False, far)
            for p in range(length):
                out[p] -= factor * v[p] * (a[p] + b[p] + cross[p] + d[p] + e[p] + far[p])


@compiled.parallel
def _window_sum(item, worker, x, y, scratch, blocks, half):
    n, block = divmod(item, blocks)
    start, stop = x.shape[2] * block // blocks, x.shape[2] * (block + 1) // blocks
    image, result = x[n], y[n]  # (C, pixels)
    zeros, far = scratch[worker, 0][: stop - start], scratch[worker, 1][: stop - start]
    channels = len(image)
    for c in range(channels):
        a, b, d, e = _window_sides(image, c, half, channels, start, stop, zeros)
        v, out = image[c][start:stop], result[c][start:stop]
        if half > 2:
            _add_far(image, c, half, channels, start, stop, False, far)
        for p in range(out.size):
            out[p] = a[p] + b[p] + v[p] + d[p] + e[p] + far[p]


def _backward_rows(channels, size):
    """The rows of scratch memory that `_backward` uses."""
    return 4 + min(size, channels)


def _blocks(shape) -> tuple[int, int]:
    """The number of blocks that an image is cut into, and the pixels of the longest."""
    images, _, height, width = shape
    pixels = height * width
    to_share = ceil_div(_ITEMS * threads.num_threads(), images)
    blocks = max(ceil_div(pixels, _BLOCK), min(to_share, pixels // _SHORTEST))
    return blocks, ceil_div(pixels, blocks)


def _scratch_bytes(x, rows):
    return threads.num_threads() * rows * _blocks(x.shape)[1] * x.itemsize if x.size else 0


def _run(body, arrays, rows, size, *numbers):
    """Run a body on arrays (N, C, H, W), each thread with `rows` scratch rows; return its result."""
    shape, dtype = arrays[0].shape, arrays[0].dtype
    result = memory.empty(shape, dtype)
    if result.size:
        blocks, longest = _blocks(shape)
        scratch = memory.zeros((threads.num_threads(), rows, longest), dtype)
        planes = (np.ascontiguousarray(array).reshape(*shape[:2], -1) for array in (*arrays, result))
        body.run(shape[0] * blocks, *planes, scratch, blocks, size // 2, *map(dtype.type, numbers))
    return result


def _forward_bytes(x, *, call) -> int:
    return _scratch_bytes(x, _FORWARD_ROWS)


def _backward_bytes(g, x, *, call) -> int:
    return _scratch_bytes(x, _backward_rows(x.shape[1], call.size))


def _sum_bytes(x, *, size) -> int:
    return _scratch_bytes(x, _SUM_ROWS)


@kernel(FORWARD, algo="one-pass", rank=20, workspace=_forward_bytes, records=1)
def local_response_norm_forward(x, *, call):
    return _run(_forward, (x,), _FORWARD_ROWS, call.size, call.alpha, call.beta, call.k)


@kernel(BACKWARD, algo="one-pass", rank=20, workspace=_backward_bytes)
def local_response_norm_backward(g, x, *, call):
    rows = _backward_rows(x.shape[1], call.size)
    return _run(_backward, (g, x), rows, call.size, call.alpha, call.beta, call.k)


@kernel(WINDOW_SUM, algo="one-pass", rank=20, workspace=_sum_bytes)
def channel_window_sum_forward(x, *, size):
    return _run(_window_sum, (x,), _SUM_ROWS, size)
