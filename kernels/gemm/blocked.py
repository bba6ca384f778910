"""Matrix products c = a @ b out of the micro-kernel's tiles.

Two ways, by which operand is large and how often its numbers are used:

`multiply`          b is packed into panels first; an item is a block of rows of a. For an a that is large,
                    or for a b that is small.
`multiply_packing`  b is copied in pieces by the item that uses them, so that a large b is read once, and
                    no second copy of it is made. An item is a range of columns.

Each sum is taken in the order of the depth, so results do not depend on the number of threads. float32 only.
"""

from __future__ import annotations

import numpy as np

from minialex.kernels.gemm.tile import (
    copy_vectors,
    lanes,
    multiply_panel,
    multiply_piece,
    pack_panels,
    panel_count,
    panel_start,
    processor,
    tile_rows,
    tiled,
)
from minialex.kernels.runtime.compiled import address, compiled
from minialex.kernels.runtime.memory import empty
from minialex.kernels.runtime.threads import num_threads

# Rows of a that one item multiplies with all panels: the more, the more rarely these come from the L3 cache.
_BLOCK = 192
# Of a panel, what is multiplied with such a block at a time: it stays in the L1 cache from tile to tile, the
# block, a copy, in the L2 cache from panel to panel. (The rows of a copy are read as streams, so a panel may
# take more of the L1 cache than `multiply_panel` allows it.)
_PIECE_BYTES = 24 * 1024
# A block of a is copied, with its rows (or its steps) this many numbers further apart than they are long:
# at a power of two they would share a few sets of the cache.
_APART = 16
# Columns that one item copies and multiplies: enough for long runs in the rows of b.
_COLUMNS = 192
# The depth of a piece that is copied.
_PIECE_DEPTH = 128
# Rows of a result that are stored at a time: lines of the cache that two panels share are still in L1.
_ROWS_AT_ONCE = 4


@compiled.parallel
def _multiply_block(
    item, worker, a, rows, steps, block_rows, block_steps, panels, columns, tiles, bias, c, transposed,
    pieces, scratch,
):  # fmt: skip
    # a: flat, rows: the offsets of all, panels (depth * columns). An item is a block of rows, which is taken
    # in pieces of the depth as long as block_steps.
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
            # Sums that are complete at once need not be kept until the last piece of the depth.
            block = sums[height * start :] if steps.size > most else sums
            multiply_piece(
                address(piece),
                address(block_rows),
                tiles,
                address(block_steps),
                depth,
                address(panels) + (steps.size * start + k * wide * lanes()) * 4,
                wide * lanes() * 4,
                wide,
                address(block),
                k,
            )
            if k + depth < steps.size:
                continue
            width = wide * lanes()
            valid = min(width, columns - start)
            if transposed:
                _store_columns(block, width, c, start, valid, bias, first_row, valid_rows)
            elif steps.size <= most:
                _store_rows(block, width, c, start, valid, first_row, valid_rows)
    if steps.size > most and not transposed:
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
        copy_vectors(address(a) + source * 4, address(piece) + target * 4, whole)
        for j in range(whole * lanes(), inner):
            piece[target + j] = a[source + j]


@compiled
def _store_rows(block, width, c, start, columns, first_row, rows):
    """Store a block (rows, width) at c[first_row:, start:]."""
    full = columns // lanes()
    for r in range(rows):
        line = c[first_row + r]
        copy_vectors(address(block) + r * width * 4, address(line) + start * 4, full)
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


def multiply(a, rows, steps, b, column_stride: int, depth_offsets, c, bias=None) -> None:
    """Compute c[m, v] = sum over k of a[rows[m] + steps[k]] * b[v * column_stride + depth_offsets[k]].

    Parameters
    ----------
    a, b : float32 arrays, flat
    rows, steps, depth_offsets : int64 arrays (M,), (K,), (K,)
        Rows or steps are a run of numbers, one after another.
    column_stride : int
    c : float32 array (M, V); with a bias (V, M), its transpose
        What is written.
    bias : float32 array (M,), optional
        Added to each row of the product, which is stored transposed then.
    """
    columns = c.shape[1] if bias is None else c.shape[0]
    panels = pack_panels(b.reshape(1, b.size), columns, column_stride, depth_offsets.astype(np.int64))[0]
    tiles = -(-len(rows) // processor().rows)
    # As many for each thread.
    blocks = -(-tiles * processor().rows // (_BLOCK * num_threads())) * num_threads()
    tiles_a_block = -(-tiles // blocks)
    height = tiles_a_block * processor().rows
    depth = _PIECE_BYTES // (4 * processor().widest * processor().lanes)
    if (np.diff(steps) == 1).all():
        block_rows, block_steps = np.arange(height) * (depth + _APART), np.arange(depth)
    else:
        block_rows, block_steps = np.arange(height), np.arange(depth) * (height + _APART)
    vectors = -(-columns // processor().lanes)
    kept = vectors if len(steps) > depth else min(vectors, processor().widest)
    pieces = empty((num_threads(), (depth + _APART) * (height + _APART)), np.float32)
    scratch = empty((num_threads(), height * kept * processor().lanes), np.float32)
    _multiply_block.run(
        -(-tiles // tiles_a_block), a, rows, steps, block_rows,
        block_steps.astype(np.int32), panels, columns, tiles_a_block,
        np.zeros(0, np.float32) if bias is None else bias, c, bias is not None, pieces, scratch,
    )  # fmt: skip


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
            copy_vectors(address(line) + first * 4, address(piece) + j * stride * 4, full)
            for v in range(full * lanes(), stride):
                piece[j * stride + v] = line[first + v] if v < columns else 0
        for panel in range(panel_count(vectors)):
            start = panel_start(vectors, panel) * lanes()
            multiply_panel(
                address(a),
                address(rows),
                rows.size // tile_rows(),
                address(steps) + k * 4,
                depth,
                address(piece) + start * 4,
                stride * 4,
                panel_start(vectors, panel + 1) - panel_start(vectors, panel),
                address(sums) + rows.size * start * 4,
                k,
            )
    _store_panels(sums, rows.size, columns, c, first, 0, c.shape[0])


def multiply_packing(a, rows, steps, b, c) -> None:
    """Compute c[m, v] = sum over k of a[rows[m] + steps[k]] * b[k, v], packing b on the way.

    Parameters
    ----------
    a : float32 array, flat
    rows, steps : int arrays (M,), (K,)
    b : float32 array (K, V)
    c : float32 array (M, V)
        What is written.
    """
    rows = tiled(rows)
    wide = _COLUMNS + processor().lanes
    pieces = empty((num_threads(), _PIECE_DEPTH * wide), np.float32)
    scratch = empty((num_threads(), len(rows) * wide), np.float32)
    _multiply_columns.run(-(-b.shape[1] // _COLUMNS), a, rows, steps.astype(np.int32), b, c, pieces, scratch)
