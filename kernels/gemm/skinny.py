"""Skinny products, of a large matrix w and a few vectors: w is read or written once, and never copied.

    multiply_rows      y[n, o] = sum over i of w[o, i] * x[n, i]     (a dense layer forward)
    add_rows           y[n, i] = sum over o of g[n, o] * w[o, i]     (its input gradient)
    outer_products     w[o, i] = sum over n of g[n, o] * x[n, i]     (its weight gradient)

With few vectors the product is bound by memory: w has 151 MB in AlexNet's fc6. Copying a block of it first,
as `minialex.kernels.gemm.blocked` does to use it many times, would cost as much again. Four rows are read
side by side, as long runs, which the processor prefetches.

The order of each sum depends only on the shapes: the bits are the same for any number of threads. float32
only.
"""

from __future__ import annotations

import numpy as np

from minialex.integers import ceil_div, round_up
from minialex.kernels.gemm.processor import SKINNY_ROWS, processor
from minialex.kernels.gemm.tile import (
    add_tile_1,
    add_tile_2,
    add_tile_3,
    bytes_of,
    dot_tile_1,
    dot_tile_2,
    dot_tile_3,
    lanes,
    multiply_tile,
    pack_panels,
    panel_count,
    panel_start,
    tile_rows,
    widest,
)
from minialex.kernels.runtime.compiled import address, compiled
from minialex.kernels.runtime.memory import empty
from minialex.kernels.runtime.threads import num_threads

# Numbers of four rows that all vectors are multiplied by before the next ones: they stay in the L2 cache.
_DEPTH = 16384
# Columns of w in one item of `add_rows`: the sums stay in the cache while all rows are added.
_COLUMNS = 2304
# Groups of four rows that are added before their sum is added to others: short sums round less.
_SUMMED = 64
# Padding between the rows of sums: a power of two apart, they would share a few sets of the cache.
_APART = 16
# Tiles of rows that one item of `outer_products` writes side by side: with more, the runs of each row are too
# far apart; with fewer, x is read more often.
_TILES = 4


@compiled
def _dot(w, row_stride, x, x_stride, vectors, count, sums, accumulate):
    if count == 3 and widest() == 3:
        dot_tile_3(w, row_stride, x, x_stride, vectors, sums, accumulate)
    elif count == 2:
        dot_tile_2(w, row_stride, x, x_stride, vectors, sums, accumulate)
    else:
        dot_tile_1(w, row_stride, x, x_stride, vectors, sums, accumulate)


@compiled
def _add(w, row_stride, factors, vectors, count, sums, sum_stride, accumulate):
    if count == 3 and widest() == 3:
        add_tile_3(w, row_stride, factors, vectors, sums, sum_stride, accumulate)
    elif count == 2:
        add_tile_2(w, row_stride, factors, vectors, sums, sum_stride, accumulate)
    else:
        add_tile_1(w, row_stride, factors, vectors, sums, sum_stride, accumulate)


@compiled.parallel
def _multiply_rows(item, worker, w, x, bias, y, scratch):
    # w (O, I), x (N, I), y (N, O), scratch (threads, N * 4 * lanes). An item is four rows of w.
    sums = scratch[worker]
    images, depth = x.shape
    whole = depth // lanes() * lanes()
    groups = (images + widest() - 1) // widest()
    block = SKINNY_ROWS * lanes()
    # The last four rows may overlap the ones before, whose results they repeat.
    row = min(item * SKINNY_ROWS, w.shape[0] - SKINNY_ROWS)
    for k in range(0, whole, _DEPTH):
        for group in range(groups):
            n, end = group * images // groups, (group + 1) * images // groups
            _dot(
                address(w, row * depth + k),
                bytes_of(depth),
                address(x, n * depth + k),
                bytes_of(depth),
                min(_DEPTH, whole - k) // lanes(),
                end - n,
                address(sums, n * block),
                k,
            )
    for n in range(images):
        for m in range(SKINNY_ROWS):
            total = np.float32(0)
            for lane in range(lanes() if whole else 0):
                total += sums[n * block + m * lanes() + lane]
            for k in range(whole, depth):
                total += w[row + m, k] * x[n, k]
            y[n, row + m] = total + bias[row + m]


def multiply_rows(w, x, bias, y) -> None:
    """Compute y = x @ w.T + bias.

    Parameters
    ----------
    w : float32 array (O, I)
        At least four rows.
    x : float32 array (N, I)
    bias : float32 array (O,)
    y : float32 array (N, O)
        What is written.
    """
    scratch = empty((num_threads(), len(x) * SKINNY_ROWS * processor().lanes), np.float32)
    _multiply_rows.run(ceil_div(len(w), SKINNY_ROWS), w, x, bias, y, scratch)


@compiled.parallel
def _add_rows(item, worker, w, rest, factors, y, wide, stride, scratch):
    # w (O, I), rest (4, I), factors (O / 4, N, 4), y (N, I), scratch (threads, N * stride).
    # An item is a range of columns.
    sums = scratch[worker]
    images, columns = y.shape
    groups = (images + widest() - 1) // widest()
    first = item * wide
    valid = min(wide, columns - first)
    vectors = valid // lanes()
    for part in range(0, factors.shape[0], _SUMMED):
        last = min(part + _SUMMED, factors.shape[0])
        for four in range(part, last):
            row = four * SKINNY_ROWS
            rows = address(w, row * columns) if row + SKINNY_ROWS <= w.shape[0] else address(rest)
            for group in range(groups):
                n, end = group * images // groups, (group + 1) * images // groups
                _add(
                    rows + bytes_of(first),
                    bytes_of(columns),
                    address(factors, (four * images + n) * SKINNY_ROWS),
                    vectors,
                    end - n,
                    address(sums, n * stride),
                    bytes_of(stride),
                    four - part,
                )
        for n in range(images):
            for i in range(vectors * lanes(), valid):
                total = np.float32(0)
                for row in range(part * SKINNY_ROWS, min(last * SKINNY_ROWS, w.shape[0])):
                    four, m = divmod(row, SKINNY_ROWS)
                    total += factors[four, n, m] * w[row, first + i]
                sums[n * stride + i] = total
            for i in range(valid):
                y[n, first + i] = sums[n * stride + i] + (y[n, first + i] if part else np.float32(0))


def add_rows(g, w, y) -> None:
    """Compute y = g @ w.

    Parameters
    ----------
    g : float32 array (N, O)
    w : float32 array (O, I)
    y : float32 array (N, I)
        What is written.
    """
    (images, rows), columns = g.shape, w.shape[1]
    fours = ceil_div(rows, SKINNY_ROWS)
    # Rows beyond the last four are zeros, and so are their factors.
    whole = rows // SKINNY_ROWS * SKINNY_ROWS
    rest = np.zeros((SKINNY_ROWS, columns), np.float32)
    rest[: rows - whole] = w[whole:]
    factors = np.zeros((images, fours * SKINNY_ROWS), np.float32)
    factors[:, :rows] = g
    factors = np.ascontiguousarray(factors.reshape(images, fours, SKINNY_ROWS).transpose(1, 0, 2))
    blocks = round_up(ceil_div(columns, _COLUMNS), num_threads())
    wide = round_up(ceil_div(columns, blocks), _APART)
    scratch = empty((num_threads(), images * (wide + _APART)), np.float32)
    _add_rows.run(ceil_div(columns, wide), w, rest, factors, y, wide, wide + _APART, scratch)


@compiled.parallel
def _outer_products(item, worker, g, rows, steps, panels, w, scratch):
    # g: flat, panels (N * I), w (O, I). An item is a few tiles of rows of w.
    depth, columns = steps.size, w.shape[1]
    vectors = (columns + lanes() - 1) // lanes()
    tiles = (rows.size + tile_rows() - 1) // tile_rows()
    sums = scratch[worker]
    for panel in range(panel_count(vectors)):
        start = panel_start(vectors, panel) * lanes()
        wide = panel_start(vectors, panel + 1) - panel_start(vectors, panel)
        inside = start + wide * lanes() <= columns
        for tile in range(item * _TILES, min((item + 1) * _TILES, tiles)):
            # The last rows may overlap the ones before, whose results they repeat.
            row = min(tile * tile_rows(), rows.size - tile_rows())
            multiply_tile(
                address(g),
                address(rows, row),
                address(steps),
                depth,
                address(panels, depth * start),
                bytes_of(wide * lanes()),
                wide,
                address(w, row * columns + start) if inside else address(sums),
                bytes_of(columns) if inside else bytes_of(wide * lanes()),
                0,
            )
            if not inside:
                for m in range(tile_rows()):
                    for v in range(columns - start):
                        w[row + m, start + v] = sums[m * wide * lanes() + v]


def outer_products(g, x, w) -> None:
    """Compute w = g.T @ x.

    Parameters
    ----------
    g : float32 array (N, O)
        O is at least the rows of a tile.
    x : float32 array (N, I)
    w : float32 array (O, I)
        What is written.
    """
    (images, rows), columns = g.shape, x.shape[1]
    steps = np.arange(images)
    panels = pack_panels(x.reshape(1, x.size), columns, 1, steps * columns)[0]
    scratch = empty((num_threads(), processor().rows * processor().widest * processor().lanes), np.float32)
    _outer_products.run(
        ceil_div(rows, _TILES * processor().rows),
        np.ascontiguousarray(g.T).ravel(),
        np.arange(rows) * images,
        steps.astype(np.int32),
        panels,
        w,
        scratch,
    )
