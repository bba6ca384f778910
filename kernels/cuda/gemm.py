"""Planning a tiled matrix product on a CUDA device: the tile, the grid, and the parts into which K is split.

Matmul, linear and convolution launch kernels that ``include/matrix_product.cuh`` makes, one with each of two
tiles. No rule depends on the GPU, so that the same sums are added in the same order on each.
"""

from __future__ import annotations

from typing import NamedTuple

from minialex.integers import ceil_div
from minialex.kernels.cuda.launcher import blocks_for
from minialex.kernels.cuda.source import Source

_SUM_PARTS = Source(__file__, "sum_parts.cu")


class Gemm(NamedTuple):
    """The size of a product (rows, depth) @ (depth, columns): M, N and K."""

    rows: int
    columns: int
    depth: int


class Tile(NamedTuple):
    """A block's part of the result: the end of the kernel's name, results along M and N, and threads."""

    name: str
    side: int
    threads: int


LARGE = Tile("large", 128, 256)
SMALL = Tile("small", 64, 128)

# As many as large GPUs have multiprocessors (A100 108, H100 132, RTX 4090 128): fewer would leave some idle.
ENOUGH_BLOCKS = 128
# The least depth of a part: its sums are stored and read again, which that many multiply-adds outweigh.
_LEAST_DEPTH = 256
# Steps of K in a tile. A part is a multiple of it, so that each starts at a multiple of 16 bytes.
TILE_DEPTH = 8
_MOST_ROWS = 65535 * SMALL.side


def tile_grid(tile: tuple[int, int], rows: int, columns: int, count: int = 1) -> tuple[int, int, int]:
    """The blocks along columns and rows that tiles (rows, columns) of `count` results take."""
    return ceil_div(columns, tile[1]), ceil_div(rows, tile[0]), count


def choose_tile(rows: int, columns: int, count: int = 1) -> Tile:
    """The large tile if both sides exceed the small one and there are `ENOUGH_BLOCKS`; else the small one.

    `count`: how many such results one launch computes, the groups of a convolution or the parts of a sum.
    """
    across, down, _ = tile_grid((LARGE.side, LARGE.side), rows, columns)
    is_large = min(rows, columns) > SMALL.side and across * down * count >= ENOUGH_BLOCKS
    return LARGE if is_large else SMALL


class Split(NamedTuple):
    """A sum in parts that blocks take in parallel: how many there are, and the terms of each but the last."""

    parts: int
    length: int


def split_sum(terms: int, most: int, least: int, multiple: int = 1) -> Split:
    """Cut a sum into at most `most` parts, of at least `least` terms and a multiple of `multiple` each."""
    wanted = max(1, min(most, terms // least))
    length = max(1, ceil_div(terms, wanted * multiple)) * multiple
    return Split(max(1, ceil_div(terms, length)), length)


class Plan(NamedTuple):
    """How a product is launched.

    Attributes
    ----------
    tile : Tile
    grid : (int, int, int)
        Blocks along the columns and along the rows, and parts of K. No blocks for a product without
        elements.
    depth_a_part : int
        Steps of K in each part but the last.
    """

    tile: Tile
    grid: tuple[int, int, int]
    depth_a_part: int

    @property
    def parts(self) -> int:
        return self.grid[2]


def plan(gemm: Gemm) -> Plan:
    """The tile by `choose_tile`; where that gives too few blocks, K is split to make up for it."""
    tile = choose_tile(gemm.rows, gemm.columns)
    across, down, _ = tile_grid((tile.side, tile.side), gemm.rows, gemm.columns)
    most = ENOUGH_BLOCKS // max(1, across * down)
    parts, depth_a_part = split_sum(gemm.depth, most, _LEAST_DEPTH, TILE_DEPTH)
    return Plan(tile, (across, down, parts), depth_a_part)


def product(device, source: Source, kernel: str, operands: tuple, gemm: Gemm):
    """Run the kernel ``<kernel>_large`` or ``<kernel>_small`` of a source, and add up the parts.

    Parameters
    ----------
    device : minialex.kernels.cuda.device.CudaDevice
    source : Source
        Its kernels take the operands, the result, rows, columns, depth and depth_a_part.
    kernel : str
    operands : tuple of array
        C-contiguous, of one dtype.
    gemm : Gemm

    Returns
    -------
    array (rows, columns)
    """
    tile, grid, depth_a_part = plan(gemm)
    y = device.empty((gemm.rows, gemm.columns), operands[0].dtype)
    sums = empty_parts(device, y, grid[2])
    device.launch(source[f"{kernel}_{tile.name}"], grid, tile.threads, *operands, sums, *gemm, depth_a_part)
    add_parts(device, sums, y)
    return y


def empty_parts(device, y, parts: int):
    """Where a kernel writes y in parts (parts, ...): y itself if there is only one."""
    return y if parts == 1 else device.empty((parts, *y.shape), y.dtype)


def add_parts(device, parts, y) -> None:
    """Set y to parts[0] + parts[1] + ..., in this order; `parts` comes from `empty_parts`."""
    if parts is not y:
        blocks = blocks_for(y.size, 256)
        device.launch(_SUM_PARTS["sum_parts"], blocks, 256, parts, y, y.size, len(parts))


def parts_bytes(gemm: Gemm, itemsize: int) -> int:
    """The bytes that `product` allocates beyond its result."""
    parts = plan(gemm).parts
    return parts * gemm.rows * gemm.columns * itemsize if parts > 1 else 0


def fits_grid(rows: int) -> bool | str:
    """Whether the tiles of a result with this many rows can be numbered; if not, why."""
    return rows <= _MOST_ROWS or f"for up to {_MOST_ROWS} rows, not {rows}"
