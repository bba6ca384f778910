"""Max-pooling in compiled loops, plane by plane: each plane is read once and stays in the cache.

The maximum of a window is taken down its columns first, in whole rows, and then across: a window of
3 x 3 takes four comparisons instead of eight. That also finds the first of equal maxima, provided that the
second step compares the cells where values are equal. All positions across are computed, adjacent ones in one
instruction, and those that the stride skips are dropped.

Three cells are compared in registers, enough for the usual window; a missing cell is replaced by the first of
the three, which never wins against itself.

Where the result is as large as the image, as in Inception, all rows whose windows end inside are compared as
one, and so are all windows across: a short row takes longer to begin than to compare. Across, what belongs to
another row is masked.

Where no gradient will be asked for, cells are left out of all this.
"""

import functools
import math

import numpy as np

from minialex.integers import ceil_div
from minialex.kernels.contract.registry import kernel
from minialex.kernels.max_pool2d import EVALUATE, FORWARD, GATHER, SCATTER
from minialex.kernels.max_pool2d.call import PoolCall
from minialex.kernels.runtime import memory, threads
from minialex.kernels.runtime.compiled import compiled

# Elements of an item: some ten microseconds of work. A batch below this size stays on one thread.
_ITEM = 2**15
# Rows are compared in multiples of this many columns. The rest of a row, one column at a time, would take
# longer than the row: its comparisons are branches that the processor cannot predict.
_LANES = 8
# The cells of a plane, and the columns of a window, up to which rows are compared as one.
_SMALL_PLANE, _SMALL_KERNEL = 4096, 7
# The cell of a padded column: after all others, so that it loses even where all values are -inf.
_NOWHERE = 2**31 - 1


@compiled
def _greater(a, b):
    """Whether a > b, NaN counting as the largest number."""
    return (not (a <= b)) & (b == b)


@compiled
def _best_of_rows(x, plane, width, columns, first, last, step, best, cells):
    """The largest of the rows first, first + step, ... up to last in each column, and its cell.

    x is flat, and the plane, of rows of this width, begins at element `plane`. There may be more columns than
    that: they are those of the rows below. A comparison reads past the last column, up to a multiple of the
    lanes; the results there become padding.
    """
    second = first + step if first + step <= last else first
    third = first + 2 * step if first + 2 * step <= last else first
    length = min(-(-columns // _LANES) * _LANES, x.size - plane - max(second, third) * width)
    r, s, t = x[plane + first * width :], x[plane + second * width :], x[plane + third * width :]
    for w in range(length):
        a, b, c = r[w], s[w], t[w]
        second_wins = _greater(b, a)
        value = b if second_wins else a
        third_wins = _greater(c, value)
        best[w] = c if third_wins else value
        if cells is not None:
            cell = second * width + w if second_wins else first * width + w
            cells[w] = third * width + w if third_wins else cell
    for other in range(first + 3 * step, last + 1, step):
        r = x[plane + other * width :]
        for w in range(columns):
            a, value = r[w], best[w]
            wins = _greater(a, value)
            best[w] = a if wins else value
            if cells is not None:
                cells[w] = other * width + w if wins else cells[w]
    for w in range(columns, length):
        best[w] = -np.inf
        if cells is not None:
            cells[w] = _NOWHERE


@compiled
def _wins(a, cell, best, winner):
    """Whether a, at a cell, is larger than the best, or equal and before it."""
    return _greater(a, best) | ((cell < winner) & (not _greater(best, a)))


@compiled
def _largest_across(values, taps, step, best):
    """The largest of the values at u, u + step, ..., u + (taps - 1) * step for each u."""
    second, third = step if taps > 1 else 0, 2 * step if taps > 2 else 0
    r, s, t = values, values[second:], values[third:]
    for u in range(best.size):
        value, a, b = r[u], s[u], t[u]
        value = a if _greater(a, value) else value
        best[u] = b if _greater(b, value) else value
    for j in range(3, taps):
        r = values[j * step :]
        for u in range(best.size):
            a, value = r[u], best[u]
            best[u] = a if _greater(a, value) else value


@compiled
def _best_across(values, cells, taps, step, best, winners):
    """The same, and its cell."""
    second, third = step if taps > 1 else 0, 2 * step if taps > 2 else 0
    r, s, t = values, values[second:], values[third:]
    of_r, of_s, of_t = cells, cells[second:], cells[third:]
    for u in range(best.size):
        value, winner = r[u], of_r[u]
        a, cell = s[u], of_s[u]
        wins = _wins(a, cell, value, winner)
        value, winner = a if wins else value, cell if wins else winner
        a, cell = t[u], of_t[u]
        wins = _wins(a, cell, value, winner)
        best[u], winners[u] = a if wins else value, cell if wins else winner
    for j in range(3, taps):
        r, of_r = values[j * step :], cells[j * step :]
        for u in range(best.size):
            a, cell, value, winner = r[u], of_r[u], best[u], winners[u]
            wins = _wins(a, cell, value, winner)
            best[u], winners[u] = a if wins else value, cell if wins else winner


@compiled
def _every(values, stride, kept):
    """Every stride-th of the values."""
    if stride == 1:
        for q in range(kept.size):
            kept[q] = values[q]
    elif stride == 2:
        # A stride that the compiler knows: it shuffles vectors in place of single numbers.
        for q in range(kept.size):
            kept[q] = values[2 * q]
    else:
        for q in range(kept.size):
            kept[q] = values[q * stride]


@compiled
def _row_bounds(p, height, kernel, stride, start, dilation):
    """The first and the last row of the image in the windows at p."""
    first = p * stride - start
    last = min(first + (kernel - 1) * dilation, height - 1)
    while first < 0:
        first += dilation
    return first, last


@compiled.parallel
def _forward(item, worker, x, y, index, values, cells, planes, size, kernel_size, stride, start, dilation):
    height, width = size
    positions, columns = y.shape[1:]
    # Scratch planes (P, padded width): of the rows, whose padding is there already, and of the windows.
    of_rows, at_rows = values[worker, 0], cells[worker, 0]
    best, winners = values[worker, 1], cells[worker, 1]
    span = (positions - 1) * of_rows.shape[1] + (columns - 1) * stride[1] + 1
    for plane in range(item * planes, min((item + 1) * planes, len(y))):
        for p in range(positions):
            first, last = _row_bounds(p, height, kernel_size[0], stride[0], start[0], dilation[0])
            row, at_row = of_rows[p][start[1] :], at_rows[p][start[1] :]
            _best_of_rows(x, plane * height * width, width, width, first, last, dilation[0], row, at_row)
        found, at = best.reshape(-1)[:span], winners.reshape(-1)[:span]
        _best_across(of_rows.reshape(-1), at_rows.reshape(-1), kernel_size[1], dilation[1], found, at)
        for p in range(positions):
            _every(best[p], stride[1], y[plane, p])
            _every(winners[p], stride[1], index[plane, p])


@compiled.parallel
def _evaluate(item, worker, x, y, values, planes, size, kernel_size, stride, start, dilation):
    # As `_forward`, without cells.
    height, width = size
    positions, columns = y.shape[1:]
    of_rows, best = values[worker, 0], values[worker, 1]
    span = (positions - 1) * of_rows.shape[1] + (columns - 1) * stride[1] + 1
    for plane in range(item * planes, min((item + 1) * planes, len(y))):
        for p in range(positions):
            first, last = _row_bounds(p, height, kernel_size[0], stride[0], start[0], dilation[0])
            row = of_rows[p][start[1] :]
            _best_of_rows(x, plane * height * width, width, width, first, last, dilation[0], row, None)
        _largest_across(of_rows.reshape(-1), kernel_size[1], dilation[1], best.reshape(-1)[:span])
        for p in range(positions):
            _every(best[p], stride[1], y[plane, p])


@compiled
def _best_inside(values, cells, inside, step, best, winners):
    """The largest, and its cell, of values that are allowed: where `inside` (taps, u) is 1."""
    nothing, nowhere = values.dtype.type(-np.inf), np.int32(_NOWHERE)
    for j in range(len(inside)):
        r, of_r, allowed = values[j * step :], cells[j * step :], inside[j]
        if j == 0:
            for u in range(best.size):
                best[u], winners[u] = r[u] if allowed[u] else nothing, of_r[u] if allowed[u] else nowhere
        else:
            for u in range(best.size):
                a, cell = r[u] if allowed[u] else nothing, of_r[u] if allowed[u] else nowhere
                value, winner = best[u], winners[u]
                wins = _wins(a, cell, value, winner)
                best[u], winners[u] = a if wins else value, cell if wins else winner


@compiled
def _largest_inside(values, inside, step, best):
    """Their largest alone."""
    nothing = values.dtype.type(-np.inf)
    for j in range(len(inside)):
        r, allowed = values[j * step :], inside[j]
        if j == 0:
            for u in range(best.size):
                best[u] = r[u] if allowed[u] else nothing
        else:
            for u in range(best.size):
                a, value = r[u] if allowed[u] else nothing, best[u]
                best[u] = a if _greater(a, value) else value


@compiled
def _best_of_all_rows(x, plane, size, taps, above, step, best, cells):
    """`_best_of_rows` for each row of a plane, those whose windows end inside as one."""
    height, width = size
    span, p = (taps - 1) * step, 0
    while p < height:
        first, rows = p - above, 1
        last = min(first + span, height - 1)
        if first >= 0 and first + span < height:
            rows = height - span - first
        while first < 0:
            first += step
        at = None if cells is None else cells[p * width :]
        _best_of_rows(
            x, plane * height * width, width, rows * width, first, last, step, best[p * width :], at
        )
        p += rows


@compiled.parallel
def _forward_of_same_size(
    item, worker, x, y, index, values, cells, inside, planes, size, taps, start, dilation
):
    # y and index (planes, H * W); scratch (threads, H * W and what windows reach beside them).
    of_rows, at_rows = values[worker][start[1] :], cells[worker][start[1] :]
    for plane in range(item * planes, min((item + 1) * planes, len(y))):
        _best_of_all_rows(x, plane, size, taps, start[0], dilation[0], of_rows, at_rows)
        _best_inside(values[worker], cells[worker], inside, dilation[1], y[plane], index[plane])


@compiled.parallel
def _evaluate_of_same_size(item, worker, x, y, values, inside, planes, size, taps, start, dilation):
    # As `_forward_of_same_size`, without cells.
    of_rows = values[worker][start[1] :]
    for plane in range(item * planes, min((item + 1) * planes, len(y))):
        _best_of_all_rows(x, plane, size, taps, start[0], dilation[0], of_rows, None)
        _largest_inside(values[worker], inside, dilation[1], y[plane])


@compiled.parallel
def _scatter(item, worker, g, index, gx, planes):
    for plane in range(item * planes, min((item + 1) * planes, len(gx))):
        upstream, winner, result = g[plane], index[plane], gx[plane]
        result[:] = 0
        for i in range(upstream.size):
            result[winner[i]] += upstream[i]


@compiled.parallel
def _gather(item, worker, x, index, y, planes):
    for plane in range(item * planes, min((item + 1) * planes, len(y))):
        image, winner, result = x[plane], index[plane], y[plane]
        for i in range(result.size):
            result[i] = image[winner[i]]


def _flat_planes(array):
    """The array (N, C, H, W) as (N * C, H * W), contiguous."""
    n, channels, height, width = array.shape
    return np.ascontiguousarray(array).reshape(n * channels, height * width)


def _planes_per_item(size):
    return max(1, _ITEM // max(1, size[0] * size[1]))


def _padded_planes(call: PoolCall) -> tuple[int, int, int, int]:
    """The shape of the scratch planes: (threads, 2, P, padded width)."""
    axis = call.window.horizontal
    read = (axis.positions - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1
    written = axis.before + ceil_div(axis.size, _LANES) * _LANES
    return threads.num_threads(), 2, call.y_shape[2], max(read, written)


def _is_compared_whole(call: PoolCall) -> bool:
    """Whether the result is as large as a small image, so that `_forward_of_same_size` pays, and its mask."""
    size, kernel = call.window.size, call.window.kernel_size
    if call.window.stride != (1, 1) or call.window.positions != size:
        return False
    return math.prod(size) <= _SMALL_PLANE and kernel[1] <= _SMALL_KERNEL


def _scratch_shape(call: PoolCall) -> tuple[int, ...]:
    if not _is_compared_whole(call):
        return _padded_planes(call)
    axis = call.window.horizontal
    return threads.num_threads(), math.prod(call.window.size) + (axis.kernel - 1) * axis.dilation + _LANES


@functools.lru_cache(maxsize=64)
def _inside(call: PoolCall) -> np.ndarray:
    """For each tap across, and each position (P, Q), whether it is in the position's row: (KW, P * Q)."""
    axis, (height, width) = call.window.horizontal, call.window.size
    w = np.arange(width) - axis.before + np.arange(axis.kernel)[:, None] * axis.dilation
    return np.tile((w >= 0) & (w < width), (1, height)).astype(np.int32)


def _forward_bytes(x, *, call: PoolCall) -> int:
    return math.prod(_scratch_shape(call)) * (x.itemsize + np.dtype(np.int32).itemsize)


def _evaluate_bytes(x, *, call: PoolCall) -> int:
    return math.prod(_scratch_shape(call)) * x.itemsize


@kernel(FORWARD, algo="one-pass", rank=20, workspace=_forward_bytes, records=1)
def max_pool2d_forward(x, *, call):
    y, index = memory.empty(call.y_shape, x.dtype), memory.empty(call.y_shape, np.int32)
    scratch = _scratch_shape(call)
    values, cells = memory.full(scratch, -np.inf, x.dtype), memory.full(scratch, _NOWHERE, np.int32)
    _run(_forward, _forward_of_same_size, x, (y, index), (values, cells), call)
    return y, index


@kernel(EVALUATE, algo="one-pass", rank=20, workspace=_evaluate_bytes, records=1)
def max_pool2d_evaluate(x, *, call):
    y, values = memory.empty(call.y_shape, x.dtype), memory.full(_scratch_shape(call), -np.inf, x.dtype)
    _run(_evaluate, _evaluate_of_same_size, x, (y,), (values,), call)
    return y


def _run(loop, loop_of_same_size, x, results, scratch, call: PoolCall) -> None:
    """Pool the planes of x, by the loop that suits the call."""
    window = call.window
    planes, count = _planes_per_item(window.size), math.prod(call.y_shape[:2])
    flat, items = np.ascontiguousarray(x).reshape(-1), ceil_div(count, planes)
    if _is_compared_whole(call):
        flat_results = (array.reshape(count, math.prod(window.size)) for array in results)
        geometry = window.size, window.vertical.kernel, window.before, window.dilation
        loop_of_same_size.run(items, flat, *flat_results, *scratch, _inside(call), planes, *geometry)
    else:
        plane_results = (array.reshape(count, *window.positions) for array in results)
        geometry = window.size, window.kernel_size, window.stride, window.before, window.dilation
        loop.run(items, flat, *plane_results, *scratch, planes, *geometry)


@kernel(SCATTER, algo="one-pass", rank=20)
def max_pool2d_scatter(g, index, *, input_size):
    gx = memory.empty((*g.shape[:2], *input_size), g.dtype)
    planes, flat_gx = _planes_per_item(input_size), _flat_planes(gx)
    _scatter.run(ceil_div(len(flat_gx), planes), _flat_planes(g), _flat_planes(index), flat_gx, planes)
    return gx


@kernel(GATHER, algo="one-pass", rank=20)
def max_pool2d_gather(x, index):
    y = memory.empty(index.shape, x.dtype)
    planes, flat_y = _planes_per_item(x.shape[2:]), _flat_planes(y)
    _gather.run(ceil_div(len(flat_y), planes), _flat_planes(x), _flat_planes(index), flat_y, planes)
    return y
