"""The innermost loop of every product of many numbers: a tile of sums that stays in registers.

A tile is a few rows of a result, each a few vectors wide:

    c[m, v]  =  sum over k of  a[row[m] + step[k]] * b[k, v]

One step of the loop over k loads a row of b (vectors), and for each m one number of a, which it repeats
through a vector (broadcasts) and multiplies onto all of that row. With R rows and V vectors that is
R * V fused multiply-adds for R + V loads, all into different registers, so that none waits for the one
before. A processor starts one or two multiply-adds each cycle, and each takes four: at least eight
tiles' worth of registers must be under way. What limits the tile is the number of registers: R * V sums,
V vectors of b and one or two broadcasts.

    processor     lanes   registers   tile (rows x vectors)
    AVX-512       16      32          8 x 3, 8 x 2
    AVX2 and FMA  8       16          4 x 3, 4 x 2
    ARM's NEON    4       32          8 x 3, 8 x 2
    any other     4       16          4 x 2, 4 x 1   (LLVM splits or scalarises the vectors if it must)

(Tried on AVX2: 6 x 2, which has as many sums, reaches three quarters of 4 x 3; five rows of three spill.)

The loop takes four steps of k a turn. LLVM likes to begin a turn with the loads of all four, and then has
more broadcasts under way than registers, so each row of a step ends with a fence (`_vectors.fence`). Whether
the sums stay in registers shows in the code of a loop as it is launched:
`minialex.kernels.runtime.machine_code`.

Why two tables of offsets: where the numbers of `a` stand is then free, and one loop serves all of these

    matrix product          row[m] = m * stride           step[k] = k * stride
    convolution             row[m] = output position m    step[k] = (channel, tap) k of the window
    its weight gradient     row[m] = (channel, tap) m     step[k] = output position k
    Winograd's products     row[m] = tile of the image    step[k] = channel

so that convolution needs no im2col matrix: the window's numbers are read where they are. The price is
one load more for each step of k, and that is hidden: the loop has room for it.

b is packed into panels of V vectors, one row of a panel after another, so that the loop reads it as one
stream. `panel_count` and `panel_at` say how columns are cut into panels.

The vector length is the processor's, as Numba sees it (``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` are
honoured). Sums are taken in the order of k, in pieces of a fixed length that are then added in their order:
the same bits for any number of threads, and less rounding than one long sum.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import numpy as np

from minialex.kernels.runtime.compiled import Intrinsic, address, compiled
from minialex.kernels.runtime.memory import empty

_MODULE = "minialex.kernels.gemm._tile_code"

# (a, row offsets, steps, depth, b, bytes per row of b, c, bytes per row of c, accumulate): addresses and
# int64 numbers. Row offsets are int64 and steps int32, in float32 elements. With accumulate != 0 the
# sums are added to what c holds.
tile_narrow = Intrinsic("tile_narrow", _MODULE)  # one vector
tile_medium = Intrinsic("tile_medium", _MODULE)  # two
tile_wide = Intrinsic("tile_wide", _MODULE)  # three

# For four rows of a matrix w that is read once, and one, two or three vectors x or sums, used again.
# (w, bytes per row of w, x, bytes per row of x, vectors of the depth, sums, accumulate): the products of each
# row with each x, still to be added over the lanes: sums (x's, four rows, lanes).
dot_tile_1, dot_tile_2, dot_tile_3 = (Intrinsic(f"dot_tile_{columns}", _MODULE) for columns in (1, 2, 3))
# (w, bytes per row of w, factors, vectors, sums, bytes per row of sums, accumulate): the rows, each times a
# factor, added: factors (sums, four rows).
add_tile_1, add_tile_2, add_tile_3 = (Intrinsic(f"add_tile_{columns}", _MODULE) for columns in (1, 2, 3))

# (source, target, vectors): copies whole vectors.
copy_vectors = Intrinsic("copy_vectors", _MODULE)

# (source, bytes per row, target, bytes per row): target[i, j] = source[j, i] for lanes x lanes numbers;
# the second takes the address of `lanes` numbers, too, and adds shift[i] to row i of the target.
transpose_block = Intrinsic("transpose_block", _MODULE)
transpose_block_add = Intrinsic("transpose_block_add", _MODULE)

# Constants of the processor, in compiled code.
lanes = Intrinsic("lanes", _MODULE)
tile_rows = Intrinsic("tile_rows", _MODULE)
widest = Intrinsic("widest", _MODULE)

STREAMED_ROWS = 4
"""Rows of a matrix that is read once which are read beside each other."""

# Of a panel, what one pass over the rows uses: with the numbers of `a` that it meets it fits the L1 cache.
_PANEL_BYTES = 16 * 1024
# Panels, and rows of them, that are packed together where rows are runs of numbers: lines of the cache that
# two panels share are still in L1.
_PANELS_AT_ONCE, _ROWS_AT_ONCE = 4, 4
# Rows of a panel that are packed together, so that the lines they are written to stay in the L1 cache.
_PACKED_DEPTH = 64


@dataclass(frozen=True)
class Processor:
    """What the tiles are cut for.

    Attributes
    ----------
    name : str
        The instruction set.
    lanes : int
        float32 numbers in a vector.
    rows : int
        Rows of a tile.
    widest : int
        Vectors in the widest tile's row.
    fused : bool
        Whether there is a fused multiply-add.
    register : str
        A vector register, as LLVM's inline assembly names its kind; empty if that depends on the processor.
    """

    name: str
    lanes: int
    rows: int
    widest: int
    fused: bool
    register: str


_AVX512 = Processor("AVX-512", 16, 8, 3, True, "v")
_AVX2 = Processor("AVX2", 8, 4, 3, True, "x")
_NEON = Processor("NEON", 4, 8, 3, True, "w")
_PLAIN = Processor("plain", 4, 4, 2, False, "")

# Sixteen multiply-adds. What LLVM makes of them tells the processor: the features that a name stands for
# (``NUMBA_CPU_NAME``) are known to LLVM alone.
_PROBE = """
define <16 x float> @probe(<16 x float> %a, <16 x float> %b, <16 x float> %c) {
  %sum = call <16 x float> @llvm.fma.v16f32(<16 x float> %a, <16 x float> %b, <16 x float> %c)
  ret <16 x float> %sum
}
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
"""
_FUSED = ((r"\tvfmadd.*%zmm", _AVX512), (r"\tvfmadd.*%ymm", _AVX2), (r"\tfmla", _NEON))


@functools.cache
def processor() -> Processor:
    """The processor that Numba compiles for."""
    from minialex.kernels.runtime import _numba_internals

    code = _numba_internals.assembly_from(_PROBE)
    return next((each for pattern, each in _FUSED if re.search(pattern, code)), _PLAIN)


@compiled
def panel_count(vectors):
    """Into how many panels `vectors` vectors are cut."""
    return (vectors + widest() - 1) // widest()


@compiled
def panel_start(vectors, panel):
    """The first vector of a panel; that of the next panel is its end. Widths differ by one at most."""
    return panel * vectors // panel_count(vectors)


@compiled
def multiply_panel(a, row_offsets, tiles, steps, depth, b, b_stride, vectors, c, accumulate):
    """Some rows of a product with one panel: `tiles` tiles below each other.

    Parameters
    ----------
    a, row_offsets, steps, b, c : int
        Addresses. There are ``tiles * tile_rows()`` row offsets and `depth` steps; b is a panel (depth,
        vectors * lanes()) whose rows are `b_stride` bytes apart, and c is dense, (tiles * tile_rows(),
        vectors * lanes()).
    accumulate : int
        Whether to add to what c holds.
    """
    most = _PANEL_BYTES // (vectors * lanes() * 4)
    pieces = (depth + most - 1) // most
    chunk = (depth + pieces - 1) // pieces
    for k in range(0, depth, chunk):
        length = min(chunk, depth - k)
        part = b + k * b_stride
        multiply_piece(a, row_offsets, tiles, steps + k * 4, length, part, b_stride, vectors, c, accumulate)
        accumulate = 1


@compiled
def multiply_piece(a, row_offsets, tiles, steps, depth, b, b_stride, vectors, c, accumulate):
    """The same in one pass over the rows: for a panel that stays in the L1 cache meanwhile."""
    width = vectors * lanes() * 4
    for tile in range(tiles):
        rows = row_offsets + tile * tile_rows() * 8
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
    # source (B, size), packed (B, depth * vectors * lanes); an item is some panels of one of the B.
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
                address(numbers) + (v * column_stride + depth_offsets[0] + k) * 4,
                column_stride * 4,
                address(target) + (k * width + v) * 4,
                width * 4,
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
                copy_vectors(address(numbers) + source * 4, address(packed) + target * 4, full)
                for v in range(full * lanes(), width):
                    packed[target + v] = numbers[source + v] if first + v < columns else 0


@compiled
def _pack_columns(numbers, first, columns, stride, depth_offsets, first_depth, width, target):
    """Pack columns of a panel from `first` on one number at a time; those from `columns` on are zeros."""
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
        Panel after panel; what is beyond the last column is zero.
    """
    vectors = -(-columns // processor().lanes)
    packed = empty((len(source), len(depth_offsets) * vectors * processor().lanes), np.float32)
    panels = -(-vectors // processor().widest)
    is_run = bool((np.diff(depth_offsets) == 1).all())
    together = _PANELS_AT_ONCE if column_stride == 1 else 1
    _pack.run(
        len(source) * -(-panels // together), source, columns, column_stride, depth_offsets, is_run, together,
        packed,
    )  # fmt: skip
    return packed


def tiled(offsets: np.ndarray) -> np.ndarray:
    """Row offsets (int64) of whole tiles: the last is repeated, for rows that nobody reads."""
    whole = -(-len(offsets) // processor().rows) * processor().rows
    return offsets.astype(np.int64)[np.minimum(np.arange(whole), len(offsets) - 1)]


def not_empty(*arrays, call=None) -> bool | str:
    """`supports` of kernels made of tiles: an array without elements is left to the plain kernels."""
    if any(array is not None and array.size == 0 for array in arrays) or (call and 0 in call.x_shape):
        return "not for an array without elements"
    return True
