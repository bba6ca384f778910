"""The gemm tile, the innermost loop of every large product: a tile of sums that stays in registers.

A tile is a few rows of a result, each a few vectors wide:

    c[m, v]  =  sum over k of  a[row[m] + step[k]] * b[k, v]

One step of the loop over k loads a row of b (V vectors), and for each m one number of a, which it broadcasts
to a vector and multiplies by all of that row. With R rows and V vectors that is
R * V fused multiply-adds for R + V loads, all into different registers, so that none waits for the one
before. A processor starts one or two multiply-adds a cycle, and each takes four cycles: at least eight
independent sums must be in flight. What limits the tile is the number of registers: R * V sums,
V vectors of b and one or two broadcasts.

    processor     lanes   registers   tile (rows x vectors)
    AVX-512       16      32          8 x 3, 8 x 2
    AVX2 and FMA  8       16          4 x 3, 4 x 2
    ARM's NEON    4       32          8 x 3, 8 x 2
    any other     4       16          4 x 2, 4 x 1   (LLVM splits or scalarises the vectors if it must)

(Tried on AVX2: 6 x 2, which has as many sums, reaches three quarters of 4 x 3; 5 x 3 spills.)

The loop is unrolled over four steps of k. LLVM likes to hoist the loads of all four, and then has
more broadcasts in flight than registers, so each row of a step ends with a fence (`_vectors.fence`). Whether
the sums stay in registers shows in the code of a loop as it is launched:
`minialex.kernels.runtime.machine_code`.

Why two tables of offsets: the numbers of `a` may then be anywhere, and one loop serves all of these

    matrix product          row[m] = m * stride           step[k] = k * stride
    convolution             row[m] = output position m    step[k] = (channel, tap) k of the window
    its weight gradient     row[m] = (channel, tap) m     step[k] = output position k
    Winograd's products     row[m] = tile of the image    step[k] = channel

so that convolution needs no im2col matrix: the windows are read in place. The price is
one more load for each step of k, and that is hidden: the loop has room for it.

b is packed into panels of V vectors, row after row of a panel, so that the loop reads it as one
stream. `panel_count` and `panel_start` say how columns are cut into panels.

The vector length is the processor's, as Numba sees it (``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` are
honoured). Sums are taken in the order of k, in pieces of a fixed length that are then added in order:
the same bits for any number of threads, and less rounding than one long sum.
"""

from __future__ import annotations

import numpy as np

from minialex.integers import ceil_div, round_up
from minialex.kernels.gemm.processor import processor
from minialex.kernels.runtime.compiled import Intrinsic, address, compiled
from minialex.kernels.runtime.memory import empty

_MODULE = "minialex.kernels.gemm._tile_code"

# The arguments below are addresses and int64 numbers; strides are in bytes (`bytes_of`).

# (a, row offsets, steps, depth, b, stride of b, c, stride of c, accumulate). Row offsets are int64 and steps
# int32, in float32 elements. With accumulate != 0 the sums are added to what c holds.
tile_narrow = Intrinsic("tile_narrow", _MODULE)  # one vector
tile_medium = Intrinsic("tile_medium", _MODULE)  # two
tile_wide = Intrinsic("tile_wide", _MODULE)  # three

# For four rows of a matrix w that is read once, and one, two or three vectors x or sums that are reused.
# (w, stride of w, x, stride of x, vectors of the depth, sums, accumulate): the products of each row with each
# x, still to be added over the lanes: sums (x's, four rows, lanes).
dot_tile_1, dot_tile_2, dot_tile_3 = (Intrinsic(f"dot_tile_{columns}", _MODULE) for columns in (1, 2, 3))
# (w, stride of w, factors, vectors, sums, stride of sums, accumulate): the rows, each times a factor, added:
# factors (sums, four rows).
add_tile_1, add_tile_2, add_tile_3 = (Intrinsic(f"add_tile_{columns}", _MODULE) for columns in (1, 2, 3))

# (source, target, vectors): copies whole vectors.
copy_vectors = Intrinsic("copy_vectors", _MODULE)
# Runs of numbers, (source, target, numbers, vectors): first as many whole vectors as given, even beyond the
# run, then the rest of it one by one. `zero_run` has no source, `gather_pairs` copies every other number.
copy_run, gather_pairs = Intrinsic("copy_run", _MODULE), Intrinsic("gather_pairs", _MODULE)
zero_run = Intrinsic("zero_run", _MODULE)
# (number, target, vectors): fills vectors with the number at an address.
fill_run = Intrinsic("fill_run", _MODULE)
# (source, its step, target, its step, numbers): one by one; steps are in bytes.
copy_apart = Intrinsic("copy_apart", _MODULE)

# (source, its stride, target, its stride): target[i, j] = source[j, i] for lanes x lanes numbers. The second
# also takes the address of `lanes` numbers, and adds shift[i] to row i of the target.
transpose_block = Intrinsic("transpose_block", _MODULE)
transpose_block_add = Intrinsic("transpose_block_add", _MODULE)

# (numbers): the bytes of this many float32 numbers.
bytes_of = Intrinsic("bytes_of", _MODULE)

# Constants of the processor, in compiled code.
lanes = Intrinsic("lanes", _MODULE)
tile_rows = Intrinsic("tile_rows", _MODULE)
widest = Intrinsic("widest", _MODULE)

# The bytes of a step and of a row's offset.
_STEP, _ROW = 4, 8

# The part of a panel that one pass over the rows uses: it fits the L1 cache, with what it meets of `a`.
_PANEL_BYTES = 16 * 1024
# Panels, and rows of them, that are packed together where rows are runs of numbers: cache lines that
# two panels share are still in L1.
_PANELS_AT_ONCE, _ROWS_AT_ONCE = 4, 4
# Rows of a panel that are packed together, so that the lines they are written to stay in the L1 cache.
_PACKED_DEPTH = 64


@compiled
def panel_count(vectors):
    """How many panels this many vectors are cut into."""
    return (vectors + widest() - 1) // widest()


@compiled
def panel_start(vectors, panel):
    """The first vector of a panel, which ends where the next begins. Widths differ by at most one."""
    return panel * vectors // panel_count(vectors)


@compiled
def multiply_panel(a, row_offsets, tiles, steps, depth, b, b_stride, vectors, c, accumulate):
    """Some rows of a product with one panel: `tiles` tiles, one below another.

    Parameters
    ----------
    a, row_offsets, steps, b, c : int
        Addresses. There are ``tiles * tile_rows()`` row offsets and `depth` steps; b is a panel (depth,
        vectors * lanes()) whose rows are `b_stride` bytes apart, and c is dense, (tiles * tile_rows(),
        vectors * lanes()).
    accumulate : int
        Whether to add to what c holds.
    """
    most = _PANEL_BYTES // bytes_of(vectors * lanes())
    pieces = (depth + most - 1) // most
    chunk = (depth + pieces - 1) // pieces
    for k in range(0, depth, chunk):
        length = min(chunk, depth - k)
        part, here = b + k * b_stride, steps + k * _STEP
        multiply_piece(a, row_offsets, tiles, here, length, part, b_stride, vectors, c, accumulate)
        accumulate = 1


@compiled
def multiply_piece(a, row_offsets, tiles, steps, depth, b, b_stride, vectors, c, accumulate):
    """The same in one pass over the rows, for a panel that stays in the L1 cache throughout."""
    width = bytes_of(vectors * lanes())
    for tile in range(tiles):
        rows = row_offsets + tile * tile_rows() * _ROW
        out = c + tile * tile_rows() * width
        multiply_tile(a, rows, steps, depth, b, b_stride, vectors, out, width, accumulate)


@compiled
def multiply_tile(a, row_offsets, steps, depth, b, b_stride, vectors, c, c_stride, accumulate):
    """One tile, stored in rows that are `c_stride` bytes apart."""
    if vectors == 3 and widest() == 3:
        tile_wide(a, row_offsets, steps, depth, b, b_stride, c, c_stride, accumulate)
    elif vectors == 2:
        tile_medium(a, row_offsets, steps, depth, b, b_stride, c, c_stride, accumulate)
    else:
        tile_narrow(a, row_offsets, steps, depth, b, b_stride, c, c_stride, accumulate)


@compiled.parallel
def _pack(item, worker, source, columns, column_stride, depth_offsets, depth_is_run, together, packed):
    # source (B, size), packed (B, depth * vectors * lanes). An item is some panels of one of the B.
    depth = depth_offsets.size
    vectors = (columns + lanes() - 1) // lanes()
    count = panel_count(vectors)
    batch, panel = divmod(item, (count + together - 1) // together)
    panel *= together
    if column_stride == 1:
        _pack_rows(source[batch], columns, depth_offsets, panel, min(panel + together, count), packed[batch])
        return
    first = panel_start(vectors, panel) * lanes()
    width = panel_start(vectors, panel + 1) * lanes() - first
    numbers = source[batch][first * column_stride :]
    target = packed[batch][depth * first : depth * (first + width)]
    full = width // lanes() if first + width <= columns else width // lanes() - 1
    runs = depth // lanes() * lanes() if depth_is_run else 0
    for v in range(0, full * lanes(), lanes()):
        for k in range(0, runs, lanes()):
            transpose_block(
                address(numbers, v * column_stride + depth_offsets[0] + k),
                bytes_of(column_stride),
                address(target, k * width + v),
                bytes_of(width),
            )
    if runs < depth:
        _pack_columns(numbers, 0, columns - first, column_stride, depth_offsets, runs, width, target)
    if full * lanes() < width and runs:
        _pack_columns(
            numbers, full * lanes(), columns - first, column_stride, depth_offsets[:runs], 0, width, target
        )


@compiled
def _pack_rows(numbers, columns, depth_offsets, first_panel, last_panel, packed):
    """Pack panels whose rows are runs of numbers: a few rows of all of them at a time, line after line."""
    vectors, depth = (columns + lanes() - 1) // lanes(), depth_offsets.size
    for start in range(0, depth, _ROWS_AT_ONCE):
        for panel in range(first_panel, last_panel):
            first = panel_start(vectors, panel) * lanes()
            width = panel_start(vectors, panel + 1) * lanes() - first
            full = min(width, columns - first) // lanes()
            for k in range(start, min(start + _ROWS_AT_ONCE, depth)):
                source = depth_offsets[k] + first
                target = depth * first + k * width
                copy_vectors(address(numbers, source), address(packed, target), full)
                for v in range(full * lanes(), width):
                    packed[target + v] = numbers[source + v] if first + v < columns else 0


@compiled
def _pack_columns(numbers, first, columns, stride, depth_offsets, first_depth, width, target):
    """Pack columns of a panel, from `first` on, one number at a time; those from `columns` on are zeros."""
    for start in range(first_depth, depth_offsets.size, _PACKED_DEPTH):
        stop = min(start + _PACKED_DEPTH, depth_offsets.size)
        for v in range(first, width):
            for k in range(start, stop):
                target[k * width + v] = numbers[v * stride + depth_offsets[k]] if v < columns else 0


def pack_panels(source, columns: int, column_stride: int, depth_offsets) -> np.ndarray:
    """Pack matrices b into panels: b[k, v] = source[v * column_stride + depth_offsets[k]].

    Parameters
    ----------
    source : array (B, size), float32
        What each of the B matrices is taken from.
    columns, column_stride : int
    depth_offsets : int64 array

    Returns
    -------
    array (B, depth * columns rounded up to vectors)
        Panel after panel, with zeros beyond the last column.
    """
    vectors = ceil_div(columns, processor().lanes)
    packed = empty((len(source), len(depth_offsets) * vectors * processor().lanes), np.float32)
    panels = ceil_div(vectors, processor().widest)
    is_run = bool((np.diff(depth_offsets) == 1).all())
    together = _PANELS_AT_ONCE if column_stride == 1 else 1
    items = len(source) * ceil_div(panels, together)
    _pack.run(items, source, columns, column_stride, depth_offsets, is_run, together, packed)
    return packed


def tiled(offsets: np.ndarray) -> np.ndarray:
    """Row offsets (int64) padded to whole tiles: the last is repeated, for rows that nobody reads."""
    whole = round_up(len(offsets), processor().rows)
    return offsets.astype(np.int64)[np.minimum(np.arange(whole), len(offsets) - 1)]


def not_empty(*arrays, call=None) -> bool | str:
    """`supports` of kernels made of tiles: empty arrays are left to the plain kernels."""
    if any(array is not None and array.size == 0 for array in arrays) or (call and 0 in call.x_shape):
        return "not for an empty array"
    return True
