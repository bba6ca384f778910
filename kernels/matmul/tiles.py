"""Launching a tiled product on a CUDA device: which tile, and into how many parts K is split.

The kernels are those that ``kernels/cuda/include/matrix_product.cuh`` makes, one with each of two tiles.
"""

from __future__ import annotations

from typing import NamedTuple

from minialex.kernels.cuda import Source, blocks_for

_SUM_PARTS = Source(__file__, "sum_parts.cu")


class Tile(NamedTuple):
    """A block's part of the result: the ends of the kernels' names, results along M and N, and threads."""

    name: str
    side: int
    threads: int


LARGE = Tile("large", 128, 256)
SMALL = Tile("small", 64, 128)

# As many as large GPUs have multiprocessors (A100 108, H100 132, RTX 4090 128): fewer would leave some idle.
ENOUGH_BLOCKS = 128
# Steps of K in a part, at least: its sums are stored and read again, which that many multiply-adds outweigh.
_LEAST_DEPTH = 256
# Steps of K in a tile. A part is a multiple of it, so that each starts at a multiple of 16 bytes.
_TILE_DEPTH = 8
_MOST_ROWS = 65535 * SMALL.side


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


def plan(rows: int, columns: int, depth: int) -> Plan:
    """How a product (rows, depth) @ (depth, columns) is launched.

    The rule: the large tile if it gives `ENOUGH_BLOCKS`, otherwise the small one; and if that gives too few,
    too, K is split into as many parts as make up for it, of 256 steps or more. It does not depend on the
    GPU, so that the same sums are added in the same order on each.
    """
    tile = LARGE if _blocks(LARGE, rows) * _blocks(LARGE, columns) >= ENOUGH_BLOCKS else SMALL
    across, down = _blocks(tile, columns), _blocks(tile, rows)
    parts = max(1, min(ENOUGH_BLOCKS // max(1, across * down), depth // _LEAST_DEPTH))
    depth_a_part = max(1, -(-depth // (parts * _TILE_DEPTH))) * _TILE_DEPTH
    return Plan(tile, (across, down, max(1, -(-depth // depth_a_part))), depth_a_part)


def product(device, source: Source, kernel: str, operands: tuple, rows: int, columns: int, depth: int):
    """Run the kernel ``<kernel>_large`` or ``<kernel>_small`` of a source, and add up the parts.

    Parameters
    ----------
    device : minialex.kernels.cuda.device.CudaDevice
    source : Source
        Its kernels take the operands, the result, rows, columns, depth and depth_a_part.
    kernel : str
    operands : tuple of array
        C-contiguous, of one dtype.
    rows, columns, depth : int
        M, N and K.

    Returns
    -------
    array (rows, columns)
    """
    tile, grid, depth_a_part = plan(rows, columns, depth)
    parts, dtype = grid[2], operands[0].dtype
    y = device.empty((rows, columns), dtype)
    sums = y if parts == 1 else device.empty((parts, rows, columns), dtype)
    device.launch(
        source[f"{kernel}_{tile.name}"], grid, tile.threads,
        *operands, sums, rows, columns, depth, depth_a_part,
    )  # fmt: skip
    if parts > 1:
        add_parts(device, sums, y)
    return y


def add_parts(device, parts, y) -> None:
    """Set y to parts[0] + parts[1] + ..., in this order; parts (count, ...) and y are C-contiguous."""
    device.launch(_SUM_PARTS["sum_parts"], blocks_for(y.size, 256), 256, parts, y, y.size, len(parts))


def parts_bytes(rows: int, columns: int, depth: int, itemsize: int) -> int:
    """The bytes that `product` allocates beyond its result."""
    parts = plan(rows, columns, depth).parts
    return parts * rows * columns * itemsize if parts > 1 else 0


def fits_grid(rows: int) -> bool | str:
    """Whether the tiles of a result with this many rows can be numbered; if not, why."""
    return rows <= _MOST_ROWS or f"for up to {_MOST_ROWS} rows, not {rows}"


def _blocks(tile: Tile, length: int) -> int:
    return -(-length // tile.side)
