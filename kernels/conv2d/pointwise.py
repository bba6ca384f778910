"""Pointwise convolution, 1 x 1 at stride 1 without padding: a matrix product for each image.

    forward      y[n]  (O, H * W)  =  weight (O, C)  @  x[n] (C, H * W)  + bias
    input_grad   gx[n] (C, H * W)  =  weight.T       @  g[n] (O, H * W)

The columns of the product are adjacent positions, in memory as they are here: images need not be laid out for
windows, tiles read their columns where they stand, and are stored where they belong. An item multiplies a
share of the weights' rows by a range of columns of an image, which stays in the L2 cache. A wide image has
many columns to share out; a small one has rows. Packed are only the columns of a last vector that is not
full, and images whose rows lie whole pages apart.

Sums run over c, or o, in this order for any number of threads. float32 only.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from minialex.integers import ceil_div, round_up
from minialex.kernels.contract.cost import Cost
from minialex.kernels.contract.registry import kernel
from minialex.kernels.conv2d import FORWARD, FORWARD_RELU, INPUT_GRAD
from minialex.kernels.conv2d.call import ConvCall
from minialex.kernels.conv2d.epilogue import rectify
from minialex.kernels.gemm.processor import processor
from minialex.kernels.gemm.tile import (
    bytes_of,
    copy_run,
    fill_run,
    lanes,
    multiply_tile,
    not_empty,
    panel_count,
    panel_start,
    tile_rows,
    zero_run,
)
from minialex.kernels.runtime.compiled import address, compiled
from minialex.kernels.runtime.memory import empty
from minialex.kernels.runtime.prepacked import prepacked
from minialex.kernels.runtime.threads import num_threads

# Columns of an item, at most, and numbers in them: they stay in the L2 cache.
_COLUMNS, _PIECE = 192, 32 * 1024
_PAGE = 4096  # bytes
# Rows that are packed together: cache lines that two panels share are still in L1.
_ROWS_AT_ONCE = 8
# The depth of what is multiplied at a time: it stays in the L1 cache, with what it meets of the weights.
_DEPTH = 128
# With fewer items than this for each thread, rows are shared out, too, no fewer than _LEAST_ROWS at a time.
_ITEMS, _LEAST_ROWS = 8, 16


@compiled
def _pack(source, stride, depth, columns, target):
    """Copy `columns` of rows, `stride` bytes apart, into panels, a few rows of all of them at a time."""
    vectors = (columns + lanes() - 1) // lanes()
    for k in range(0, depth, _ROWS_AT_ONCE):
        for panel in range(panel_count(vectors)):
            start = panel_start(vectors, panel) * lanes()
            size = panel_start(vectors, panel + 1) * lanes() - start
            valid = min(size, columns - start)
            line, out = source + k * stride + bytes_of(start), target + bytes_of(start * depth + k * size)
            for _ in range(min(_ROWS_AT_ONCE, depth - k)):
                copy_run(line, out, valid, valid // lanes())
                if valid < size:
                    zero_run(out + bytes_of(valid), size - valid, 0)
                line += stride
                out += bytes_of(size)


@compiled
def _multiply_rows(weights, bias, offsets, tiles, steps, depth, b, b_stride, vectors, c, c_stride):
    """Tiles, one below another: the products of rows with a panel b, and the bias; arrays are addresses."""
    for r in range(tiles * tile_rows()):
        fill_run(bias + bytes_of(r), c + r * c_stride, vectors)
    for k in range(0, depth, _DEPTH):
        length = min(_DEPTH, depth - k)
        here, part = steps + k * 4, b + k * b_stride
        for row in range(0, tiles * tile_rows(), tile_rows()):
            target = c + row * c_stride
            multiply_tile(
                weights, offsets + row * 8, here, length, part, b_stride, vectors, target, c_stride, 1
            )


@compiled.parallel
def _pack_weights(item, worker, weights, rows, strides, packed):
    # weights: flat, of G matrices (rows, depth); packed (G, tiles, depth, tile_rows). An item is a tile.
    group, tile = divmod(item, packed.shape[1])
    depth, target = packed.shape[2], packed[group, tile]
    matrix = weights[group * rows * depth :]
    for m in range(tile_rows()):
        row = tile * tile_rows() + m
        for k in range(depth):
            target[k, m] = matrix[row * strides[0] + k * strides[1]] if row < rows else 0


@compiled.parallel
def _multiply(item, worker, weights, offsets, steps, x, bias, y, plan, rectified, panels, scratch):
    # weights (G, tiles, depth, tile_rows), x (N, G, C/G, cells), bias (G, tiles * tile_rows), and
    # y (N, G, O/G, cells).
    # An item is a share of a group's rows, times a range of an image's columns.
    width, ranges, share_tiles, shares, packs = plan
    item, share = divmod(item, shares)
    item, part = divmod(item, ranges)
    n, group = divmod(item, weights.shape[0])
    depth, cells = x.shape[2:]
    first = part * width
    columns = min(width, cells - first)
    first_row = share * share_tiles * tile_rows()
    last_row = min(first_row + share_tiles * tile_rows(), y.shape[2])
    vectors = (columns + lanes() - 1) // lanes()
    packed, sums = address(panels[worker]), scratch[worker]
    matrix = address(weights[group])
    if packs:
        _pack(address(x[n, group], first), bytes_of(cells), depth, columns, packed)
    for panel in range(panel_count(vectors)):
        start = panel_start(vectors, panel) * lanes()
        size = panel_start(vectors, panel + 1) * lanes() - start
        valid = min(size, columns - start)
        b, b_stride = address(x[n, group], first + start), bytes_of(cells)
        if packs:
            b, b_stride = packed + bytes_of(start * depth), bytes_of(size)
        elif valid < size:
            # In the last row of the last image a whole vector would end beyond the array.
            _pack(b, b_stride, depth, valid, packed)
            b, b_stride = packed, bytes_of(size)
        # Whole tiles of whole vectors are stored in place.
        in_place = (last_row - first_row) // tile_rows() if valid == size else 0
        if in_place:
            _multiply_rows(
                matrix,
                address(bias[group], first_row),
                address(offsets, first_row),
                in_place,
                address(steps),
                depth,
                b,
                b_stride,
                size // lanes(),
                address(y[n, group, first_row], first + start),
                bytes_of(cells),
            )
        row = first_row + in_place * tile_rows()
        tiles = (last_row - row + tile_rows() - 1) // tile_rows()
        if tiles:
            _multiply_rows(
                matrix,
                address(bias[group], row),
                address(offsets, row),
                tiles,
                address(steps),
                depth,
                b,
                b_stride,
                size // lanes(),
                address(sums),
                bytes_of(size),
            )
            for r in range(last_row - row):
                target = address(y[n, group, row + r], first + start)
                copy_run(address(sums, r * size), target, valid, valid // lanes())
    if rectified:
        for row in range(first_row, last_row):
            rectify(y[n, group, row, first : first + columns])


class _Product:
    """How the product of images with weights (G, rows, depth) is shared out.

    Parameters
    ----------
    call : ConvCall
    rows, depth : int
    strides : (int, int)
        Of the weights' rows and of their depth, in elements.
    threads : int
    """

    def __init__(self, call: ConvCall, rows: int, depth: int, strides: tuple[int, int], threads: int):
        self.call, self.rows, self.depth, self.strides, self.threads = call, rows, depth, strides, threads
        lanes, tile = processor().lanes, processor().rows
        widest = processor().widest * lanes
        self.cells = math.prod(call.size)
        most = max(widest, min(_COLUMNS, _PIECE // depth // widest * widest))
        width = round_up(ceil_div(self.cells, ceil_div(self.cells, most)), lanes)
        ranges = ceil_div(self.cells, width)
        items = call.images * call.groups * ranges
        shares = max(1, min(ceil_div(_ITEMS * threads, items), rows // _LEAST_ROWS))
        self.tiles = ceil_div(rows, tile)
        of_share = ceil_div(self.tiles, shares)
        shares = ceil_div(self.tiles, of_share)
        self.items = items * shares
        # Rows that are whole pages apart would all fall into the same few sets of the L1 cache.
        packs = 4 * self.cells % _PAGE == 0
        # Columns of a range, ranges of an image, tiles of a share, shares, whether columns are packed.
        self.cut = (width, ranges, of_share, shares, packs)
        row = np.arange(self.tiles * tile)
        self.row_offsets = row // tile * tile * depth + row % tile
        self.steps = (np.arange(depth) * tile).astype(np.int32)
        # For each thread: packed columns; and the sums of a share of rows with one panel.
        self.scratch = (threads, depth * (width if packs else widest)), (threads, of_share * tile * widest)

    @property
    def bytes(self) -> int:
        """What packed weights and scratch memory take."""
        packed = self.call.groups * len(self.row_offsets) * self.depth
        return 4 * (packed + sum(map(math.prod, self.scratch)))

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """The weights as (G, tiles, depth, rows of a tile): a tile reads them as one stream."""
        packed = empty((self.call.groups, self.tiles, self.depth, processor().rows), np.float32)
        flat = np.ascontiguousarray(weights).reshape(-1)
        _pack_weights.run(self.call.groups * self.tiles, flat, self.rows, self.strides, packed)
        return packed

    def run(self, x, weights, bias, y, rectified: bool = False) -> None:
        """Compute y (N, G * rows, H, W) of x (N, G * depth, H, W)."""
        images, groups = self.call.images, self.call.groups
        shifts = np.zeros((groups, len(self.row_offsets)), np.float32)
        if bias is not None:
            shifts[:, : self.rows] = bias.reshape(groups, self.rows)
        _multiply.run(
            self.items,
            prepacked(weights, ("pointwise", self.rows, self.strides, groups), lambda: self.pack(weights)),
            self.row_offsets,
            self.steps,
            np.ascontiguousarray(x).reshape(images, groups, self.depth, self.cells),
            shifts,
            y.reshape(images, groups, self.rows, self.cells),
            self.cut,
            rectified,
            *(empty(shape, np.float32) for shape in self.scratch),
        )


@functools.lru_cache(maxsize=256)
def _forward_product(call: ConvCall, threads: int) -> _Product:
    return _Product(call, call.group_outputs, call.group_channels, (call.group_channels, 1), threads)


@functools.lru_cache(maxsize=256)
def _input_grad_product(call: ConvCall, threads: int) -> _Product:
    return _Product(call, call.group_channels, call.group_outputs, (1, call.group_channels), threads)


def _forward_workspace(*arrays, call: ConvCall) -> int:
    return _forward_product(call, num_threads()).bytes


def _input_grad_workspace(*arrays, call: ConvCall) -> int:
    return _input_grad_product(call, num_threads()).bytes


def _supports(*arrays, call: ConvCall) -> bool | str:
    if call.kernel_size != (1, 1) or call.stride != (1, 1) or call.size != call.positions:
        return "only for 1 x 1 windows at stride 1 without padding"
    return not_empty(*arrays, call=call)


def _cost(*arrays, call: ConvCall) -> Cost:
    """The products, as many as lanes have positions or not, and one pass over all arrays."""
    cells = math.prod(call.size)
    filled = cells / round_up(cells, processor().lanes)
    numbers = math.prod(call.x_shape) + math.prod(call.y_shape) + math.prod(call.weight_shape)
    return Cost(2 * call.products / filled, 4 * numbers)


_SAYS = {
    "algo": "pointwise",
    "rank": 20,
    "supports": _supports,
    "domain": lambda: {"windows": ((1, 1),), "strides": (1,), "padded": False, "empty": False},
    "dtypes": ("float32",),
}


@kernel(FORWARD, **_SAYS, cost=_cost, workspace=_forward_workspace, records=1)
def conv2d_forward(x, weight, bias, *, call):
    y = empty(call.y_shape, np.float32)
    _forward_product(call, num_threads()).run(x, weight, bias, y)
    return y


@kernel(FORWARD_RELU, **_SAYS, cost=_cost, workspace=_forward_workspace, records=1)
def conv2d_forward_relu(x, weight, bias, *, call):
    y = empty(call.y_shape, np.float32)
    _forward_product(call, num_threads()).run(x, weight, bias, y, rectified=True)
    return y


@kernel(INPUT_GRAD, **_SAYS, cost=_cost, workspace=_input_grad_workspace)
def conv2d_input_grad(g, weight, *, call):
    gx = empty(call.x_shape, np.float32)
    _input_grad_product(call, num_threads()).run(g, weight, None, gx)
    return gx
