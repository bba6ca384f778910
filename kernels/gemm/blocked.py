"""The blocked gemm: matrix products c = a @ b made of tiles.

There are two, which differ in the operand that is large and in when b is packed:

`multiply`          b is packed into panels first; an item is a block of rows of a. For a large a or a
                    small b.
`multiply_packing`  b is packed in pieces by the item that uses them, so that a large b is read once, and
                    never copied as a whole. An item is a range of columns.

Each sum is taken in the order of the depth, so results do not depend on the number of threads. float32 only.
"""

from __future__ import annotations

import numpy as np

from minialex.integers import ceil_div
from minialex.kernels.gemm.processor import processor
from minialex.kernels.gemm.tile import (
    bytes_of,
    copy_vectors,
    lanes,
    multiply_panel,
    multiply_piece,
    pack_panels,
    panel_count,
    panel_start,
    tile_rows,
    tiled,
)
from minialex.kernels.runtime.compiled import address, compiled
from minialex.kernels.runtime.memory import empty
from minialex.kernels.runtime.threads import num_threads

# Rows of a that one item multiplies with all panels: the more, the less often panels come from the L3 cache.
_BLOCK = 192
# Numbers of a panel that are multiplied with such a block at a time: they stay in the L1 cache from tile to
# tile; the block, a copy, stays in the L2 cache from panel to panel. (The rows of a copy are read as streams,
# so a panel may take more of the L1 cache than `multiply_panel` allows it.)
_PIECE = 6 * 1024
# A block of a is copied, and its rows (or its steps) are padded by this many numbers: a power of two apart,
# they would share a few sets of the cache.
_APART = 16
# Columns that one item copies and multiplies: enough for long runs in the rows of b.
_COLUMNS = 192
# The depth of a copied piece.
_PIECE_DEPTH = 128
# Rows of a result that are stored at a time: cache lines that two panels share are still in L1.
_ROWS_AT_ONCE = 4


@compiled.parallel
def _multiply_block(
    item, worker, a, rows, steps, block_rows, block_steps, b, columns, tiles, bias, c, turned, pieces, scratch
):
    # a: flat, rows: the offsets of all, b: panels (depth * columns). An item is a block of rows, taken in
    # pieces of the depth as long as block_steps.
    most = block_steps.size
    vectors = (columns + lanes() - 1) // lanes()
    first_row = item * tiles * tile_rows()
    valid_rows = min(tiles * tile_rows(), rows.size - first_row)
    tiles = (valid_rows + tile_rows() - 1) // tile_rows()
    height = tiles * tile_rows()
    piece, sums = pieces[worker], scratch[worker]
    here = rows[first_row : first_row + valid_rows]
    for k in range(0, steps.size, most):
        depth = min(most, steps.size - k)
        _copy_block(a, here, steps[k : k + depth], block_rows, block_steps, piece)
        for panel in range(panel_count(vectors)):
            start = panel_start(vectors, panel) * lanes()
            wide = panel_start(vectors, panel + 1) - panel_start(vectors, panel)
            # Sums that are complete after one piece need not be kept until the last.
            block = sums[height * start :] if steps.size > most else sums
            multiply_piece(
                address(piece),
                address(block_rows),
                tiles,
                address(block_steps),
                depth,
                address(b, steps.size * start + k * wide * lanes()),
                bytes_of(wide * lanes()),
                wide,
                address(block),
                k,
            )
            if k + depth < steps.size:
                continue
            width = wide * lanes()
            valid = min(width, columns - start)
            if turned:
                _store_columns(block, width, c, start, valid, bias, first_row, valid_rows)
            elif steps.size <= most:
                _store_rows(block, width, c, start, valid, first_row, valid_rows)
    if steps.size > most and not turned:
        _store_panels(sums, height, columns, c, 0, first_row, valid_rows)


@compiled
def _copy_block(a, rows, steps, block_rows, block_steps, piece):
    """Copy a[rows[r] + steps[k]] to piece[block_rows[r] + block_steps[k]], in runs along r or k."""
    along_rows = block_rows[1] == 1
    inner, outer = (rows.size, steps) if along_rows else (steps.size, rows)
    whole = inner // lanes()
    first = rows[0] if along_rows else steps[0]
    for i in range(outer.size):
        source = first + outer[i]
        target = np.int64(block_steps[i]) if along_rows else block_rows[i]
        copy_vectors(address(a, source), address(piece, target), whole)
        for j in range(whole * lanes(), inner):
            piece[target + j] = a[source + j]


@compiled
def _store_rows(block, width, c, start, columns, first_row, rows):
    """Store a block (rows, width) at c[first_row:, start:]."""
    full = columns // lanes()
    for r in range(rows):
        line = c[first_row + r]
        copy_vectors(address(block, r * width), address(line, start), full)
        for v in range(full * lanes(), columns):
            line[start + v] = block[r * width + v]


@compiled
def _store_panels(sums, height, columns, c, first_column, first_row, rows):
    """Store sums, for each panel (height, width), at c[first_row:, first_column:], line after line."""
    vectors = (columns + lanes() - 1) // lanes()
    for row in range(0, rows, _ROWS_AT_ONCE):
        count = min(_ROWS_AT_ONCE, rows - row)
        for panel in range(panel_count(vectors)):
            start = panel_start(vectors, panel) * lanes()
            width = panel_start(vectors, panel + 1) * lanes() - start
            block = sums[height * start + row * width :]
            valid = min(width, columns - start)
            _store_rows(block, width, c, first_column + start, valid, first_row + row, count)


@compiled
def _store_columns(block, width, c, start, columns, bias, first_row, rows):
    """Store a block (rows, width) transposed at c[start:, first_row:], and add the bias of each row."""
    for v in range(columns):
        line = c[start + v]
        for r in range(rows):
            line[first_row + r] = block[r * width + v] + bias[first_row + r]


def multiply(a, b, c, bias=None) -> None:
    """Compute c = a @ b, or with a bias c = (a @ b).T + bias.

    Parameters
    ----------
    a, b : float32 arrays (M, K), (K, V)
        C-contiguous, or the transpose of a C-contiguous array; any other is copied.
    c : float32 array (M, V); with a bias (V, M)
        What is written.
    bias : float32 array (M,), optional
        Added to the rows of the product, which is then stored transposed.
    """
    (rows, depth), columns = a.shape, b.shape[1]
    numbers, row_stride, step_stride = _flat(a)
    b_numbers, depth_stride, column_stride = _flat(b)
    panels = pack_panels(b_numbers[None], columns, column_stride, np.arange(depth) * depth_stride)[0]
    # The same number of blocks for each thread.
    tiles = ceil_div(rows, processor().rows)
    blocks = ceil_div(tiles * processor().rows, _BLOCK * num_threads()) * num_threads()
    tiles_a_block = ceil_div(tiles, blocks)
    height = tiles_a_block * processor().rows
    piece = _PIECE // (processor().widest * processor().lanes)
    if step_stride == 1:
        block_rows, block_steps = np.arange(height) * (piece + _APART), np.arange(piece)
    else:
        block_rows, block_steps = np.arange(height), np.arange(piece) * (height + _APART)
    vectors = ceil_div(columns, processor().lanes)
    kept = vectors if depth > piece else min(vectors, processor().widest)
    pieces = empty((num_threads(), (piece + _APART) * (height + _APART)), np.float32)
    scratch = empty((num_threads(), height * kept * processor().lanes), np.float32)
    _multiply_block.run(
        ceil_div(tiles, tiles_a_block),
        numbers,
        np.arange(rows) * row_stride,
        np.arange(depth) * step_stride,
        block_rows,
        block_steps.astype(np.int32),
        panels,
        columns,
        tiles_a_block,
        np.zeros(0, np.float32) if bias is None else bias,
        c,
        bias is not None,
        pieces,
        scratch,
    )


def _flat(matrix) -> tuple[np.ndarray, int, int]:
    """A matrix as a flat array, with the strides of its rows and columns in elements."""
    if matrix.flags.c_contiguous:
        return matrix.reshape(-1), matrix.shape[1], 1
    # Not reshape: of one column with gaps between its numbers that is a view, gaps included.
    return np.ravel(matrix.T), 1, matrix.shape[0]


@compiled.parallel
def _multiply_columns(item, worker, a, rows, steps, b, c, pieces, scratch):
    # a: flat, rows: the offsets of all, b (K, V), c (M, V). An item is a range of columns.
    first = item * _COLUMNS
    columns = min(_COLUMNS, b.shape[1] - first)
    vectors = (columns + lanes() - 1) // lanes()
    piece, sums = pieces[worker], scratch[worker]
    stride = vectors * lanes()
    full = columns // lanes()
    for k in range(0, steps.size, _PIECE_DEPTH):
        depth = min(_PIECE_DEPTH, steps.size - k)
        for j in range(depth):
            line = b[k + j]
            copy_vectors(address(line, first), address(piece, j * stride), full)
            for v in range(full * lanes(), stride):
                piece[j * stride + v] = line[first + v] if v < columns else 0
        for panel in range(panel_count(vectors)):
            start = panel_start(vectors, panel) * lanes()
            multiply_panel(
                address(a),
                address(rows),
                rows.size // tile_rows(),
                address(steps, k),
                depth,
                address(piece, start),
                bytes_of(stride),
                panel_start(vectors, panel + 1) - panel_start(vectors, panel),
                address(sums, rows.size * start),
                k,
            )
    _store_panels(sums, rows.size, columns, c, first, 0, c.shape[0])


def multiply_packing(a, b, c) -> None:
    """Compute c = a @ b, packing b on the way.

    Parameters
    ----------
    a, b : float32 arrays (M, K), (K, V), C-contiguous
    c : float32 array (M, V)
        What is written.
    """
    (rows, depth), columns = a.shape, b.shape[1]
    row_offsets = tiled(np.arange(rows) * depth)
    wide = _COLUMNS + processor().lanes
    pieces = empty((num_threads(), _PIECE_DEPTH * wide), np.float32)
    scratch = empty((num_threads(), len(row_offsets) * wide), np.float32)
    steps = np.arange(depth, dtype=np.int32)
    items = ceil_div(columns, _COLUMNS)
    _multiply_columns.run(items, a.reshape(-1), row_offsets, steps, b, c, pieces, scratch)
