"""Convolution in CUDA on packed operands: packed_gemm.cu.

What remains for Python is the geometry of one product: along each axis of the image, which positions there
are and which cells their taps read. `_Axis` holds it, both for forward and for a phase of the input gradient.

On ``cuda-host`` im2col is ranked above it: packing serves coalesced reads by a warp, from which a CPU gains
nothing.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from minialex.integers import ceil_div
from minialex.kernels.contract import windows
from minialex.kernels.conv2d import FORWARD, FORWARD_RELU, INPUT_GRAD, WEIGHT_GRAD
from minialex.kernels.conv2d.call import ConvCall
from minialex.kernels.conv2d.cuda import convolution_struct, nothing_to_add, rectified, without_terms
from minialex.kernels.cuda import Source, blocks_for, cuda_kernel, gemm, launcher

SOURCE = Source(__file__, "packed_gemm.cu")
_THREADS = 256

# The weight gradient's sum is cut into parts until there are this many blocks, two for each multiprocessor of
# a large GPU; no part is shorter than this many positions, which make up for adding it in the second pass.
_BLOCKS = 256
_SHORTEST_PART = 512


@dataclass(frozen=True)
class _Axis:
    """One axis of a product: tap t of position p reads cell first_cell + p * stride + t * dilation.

    Attributes
    ----------
    positions, stride, taps, first_cell, dilation : int
        As above; a cell below 0 or beyond the image is 0.
    first_tap, tap_step : int
        Tap t is row first_tap + t * tap_step of the weights.
    first_result, result_step : int
        Position p is row first_result + p * result_step of the result.
    """

    positions: int
    stride: int
    taps: int
    first_cell: int
    dilation: int
    first_tap: int = 0
    tap_step: int = 1
    first_result: int = 0
    result_step: int = 1

    @property
    def cells(self) -> tuple[int, int]:
        """The first and the last cell that is read."""
        ends = (self.first_cell, self.first_cell + (self.taps - 1) * self.dilation)
        return min(ends), max(ends) + (self.positions - 1) * self.stride


def _step(count: int, step: int) -> int:
    """The step between `count` things: for a single one, 1, because a large step would overflow an int."""
    return step if count > 1 else 1


def _forward_axis(axis: windows.Axis) -> _Axis:
    stride, dilation = _step(axis.positions, axis.stride), _step(axis.kernel, axis.dilation)
    return _Axis(axis.positions, stride, axis.kernel, -axis.before, dilation)


def _phases(axis: windows.Axis) -> list[_Axis]:
    """The cells h of an image's axis, by their remainder modulo the stride.

    Tap i reads cell h at position p = (h + before - i * dilation) / stride, if that is an integer: for the
    cells of one remainder, that is every stride / gcd(stride, dilation)-th tap. A remainder that no tap reads
    is left out.
    """
    phases = []
    size, stride, before, dilation = axis.size, axis.stride, axis.before, axis.dilation
    step = stride // math.gcd(stride, dilation)
    for first in sorted({(i * dilation - before) % stride for i in range(axis.kernel)}):
        if first >= size:
            break
        taps = [i for i in range(axis.kernel) if (first + before - i * dilation) % stride == 0]
        positions = ceil_div(size - first, stride)
        phase = _Axis(
            positions=positions,
            stride=1,
            taps=len(taps),
            first_cell=(first + before - taps[0] * dilation) // stride,
            dilation=-_step(len(taps), step * dilation // stride),
            first_tap=taps[0],
            tap_step=step,
            first_result=first,
            result_step=_step(positions, stride),
        )
        phases.append(phase)
    return phases


def _lanes(dtype) -> int:
    return 16 // np.dtype(dtype).itemsize


def _padded(size: int, dtype) -> int:
    return ceil_div(size, _lanes(dtype)) * _lanes(dtype)


@dataclass(frozen=True)
class _Frame:
    """Which cells of an image its packed copy holds: rows x columns of them, from (top, left) on."""

    top: int
    left: int
    rows: int
    columns: int

    @classmethod
    def around(cls, vertical: list[_Axis], horizontal: list[_Axis]) -> _Frame:
        """The cells that any of the axes reads."""
        (top, bottom), (left, right) = (
            (min(axis.cells[0] for axis in axes), max(axis.cells[1] for axis in axes))
            for axes in (vertical, horizontal)
        )
        return cls(top, left, bottom - top + 1, right - left + 1)

    def size(self, channels: int, dtype) -> int:
        """Elements in the packed copy of one group of one image."""
        return self.rows * self.columns * _padded(channels, dtype)


@dataclass(frozen=True)
class _Product:
    """One product: of the weights at the taps of two axes with the cells that these read in packed images.

    Attributes
    ----------
    vertical, horizontal : _Axis
    frame : _Frame
        Of the packed images.
    is_forward : bool
        Whether products are summed over the weights' channels, and not over their outputs.
    """

    vertical: _Axis
    horizontal: _Axis
    frame: _Frame
    is_forward: bool = True


def _pack(device, x, groups: int, frame: _Frame):
    """Copy x (N, C, H, W) to (groups, N, rows, columns, padded C/groups)."""
    n, channels, height, width = x.shape
    per_group = channels // groups
    padded = _padded(per_group, x.dtype)
    packed = device.empty((groups, n, frame.rows, frame.columns, padded), x.dtype)
    cells, images = ceil_div(frame.rows * frame.columns, 32), min(groups * n, launcher.MAX_BLOCKS)
    sizes = groups, n, per_group, height, width, frame.rows, frame.columns, padded, -frame.top, -frame.left
    arrays = device.contiguous(x), packed
    device.launch(SOURCE["pack_images"], (cells, ceil_div(padded, 32), images), _THREADS, *arrays, *sizes)
    return packed


def _table(device, shape: tuple[int, int, int], ahead: int, first: int, steps: tuple[int, int, int]):
    """Tabulate first + a * steps[0] + b * steps[1] + c * steps[2] for all (a, b, c), and `ahead` more."""
    used = math.prod(shape)
    table = device.empty((used + ahead,), np.int32)
    grid = blocks_for(table.size, _THREADS)
    sizes = table.size, used, *shape[1:], first
    device.launch(SOURCE["tabulate_offsets"], grid, _THREADS, table, *sizes, *steps)
    return table


def _pack_weights(device, weight, groups: int, product: _Product):
    """The weights (O, C/groups, KH, KW) at the axes' taps as (groups, depth, padded rows)."""
    outputs, channels, *kernel = len(weight) // groups, *weight.shape[1:]
    rows, summed = (outputs, channels) if product.is_forward else (channels, outputs)
    outer, length = (1, math.prod(weight.shape[1:])) if product.is_forward else (outputs, math.prod(kernel))
    vertical, horizontal = product.vertical, product.horizontal
    padded_rows, padded_summed = _padded(rows, weight.dtype), _padded(summed, weight.dtype)
    depth = vertical.taps * horizontal.taps * padded_summed
    weights = device.zeros((groups, depth, padded_rows), weight.dtype)
    strided = (min(count, launcher.MAX_BLOCKS) for count in (ceil_div(length, 32), groups * outer))
    sizes = groups, outer, rows, length, padded_rows, padded_summed, vertical.taps, horizontal.taps
    steps = vertical.first_tap, horizontal.first_tap, vertical.tap_step, horizontal.tap_step
    grid = ceil_div(rows, 32), *strided
    device.launch(SOURCE["pack_weights"], grid, _THREADS, weight, weights, *sizes, *steps, *kernel)
    return weights


def _convolve(device, product: _Product, packed, weight, bias, result) -> None:
    """Fill the cells of result (N, C, H, W) given by the axes, from packed images and weights (O, ...)."""
    groups, n, _, _, channels = packed.shape
    vertical, horizontal, frame = product.vertical, product.horizontal, product.frame
    lanes = _lanes(packed.dtype)
    rows = result.shape[1] // groups
    weights = _pack_weights(device, weight, groups, product)
    _, depth, packed_rows = weights.shape
    row_step, column_step = frame.columns * channels, channels
    first = (vertical.first_cell - frame.top) * row_step + (horizontal.first_cell - frame.left) * column_step
    taps = vertical.taps, horizontal.taps, channels // lanes
    steps = vertical.dilation * row_step, horizontal.dilation * column_step, lanes
    offsets = _table(device, taps, gemm.TILE_DEPTH // lanes, first, steps)
    positions = n * vertical.positions * horizontal.positions
    tile = gemm.choose_tile(rows, positions, groups)
    grid = gemm.tile_grid((tile.side, tile.side), rows, positions, groups)
    height, width = result.shape[2:]
    arrays = weights, packed, offsets, weights if bias is None else bias, result, int(bias is not None)
    sizes = rows, packed_rows, depth, n, vertical.positions, horizontal.positions
    reads = frame.size(channels, packed.dtype), vertical.stride * row_step, horizontal.stride * column_step
    first_result = vertical.first_result * width + horizontal.first_result
    writes = height * width, first_result, vertical.result_step * width, horizontal.result_step
    device.launch(SOURCE[f"convolve_{tile.name}"], grid, tile.threads, *arrays, *sizes, *reads, *writes)


def _forward_axes(call: ConvCall) -> tuple[_Axis, _Axis]:
    vertical, horizontal = map(_forward_axis, call.window)
    return vertical, horizontal


def _bytes_of_product(call: ConvCall, frame: _Frame, taps: int, sides: tuple[int, int]) -> int:
    """Bytes of the packed images, the packed weights and their table; sides: channels summed, and rows."""
    channels, rows = sides
    depth = taps * _padded(channels, call.dtype)
    images = call.images * frame.size(channels, call.dtype)
    numbers = call.groups * (images + depth * _padded(rows, call.dtype))
    return numbers * call.dtype.itemsize + (depth + gemm.TILE_DEPTH) // _lanes(call.dtype) * 4


def _forward_workspace(*arrays, call: ConvCall) -> int:
    if nothing_to_add(call):
        return 0
    vertical, horizontal = _forward_axes(call)
    frame = _Frame.around([vertical], [horizontal])
    sides = call.group_channels, call.group_outputs
    return _bytes_of_product(call, frame, vertical.taps * horizontal.taps, sides)


def _input_grad_workspace(*arrays, call: ConvCall) -> int:
    vertical, horizontal = map(_phases, call.window)
    if nothing_to_add(call) or not (vertical and horizontal):
        return 0
    taps = max(axis.taps for axis in vertical) * max(axis.taps for axis in horizontal)
    sides = call.group_outputs, call.group_channels
    return _bytes_of_product(call, _Frame.around(vertical, horizontal), taps, sides)


def _weight_grad_workspace(*arrays, call: ConvCall) -> int:
    if nothing_to_add(call):
        return 0
    rows, channels = call.group_outputs, call.group_channels
    depth = call.images * math.prod(call.positions)
    vertical, horizontal = _forward_axes(call)
    frame = _Frame.around([vertical], [horizontal])
    columns = math.prod(call.kernel_size) * _padded(channels, call.dtype)
    splits, _ = _parts(depth, rows, columns, call.groups)
    images = call.images * frame.size(channels, call.dtype)
    numbers = call.groups * (depth * _padded(rows, call.dtype) + images + splits * rows * columns)
    return numbers * call.dtype.itemsize + (depth + gemm.TILE_DEPTH) * 4


def _parts(depth: int, rows: int, columns: int, groups: int) -> gemm.Split:
    """How the weight gradient's sum is cut.

    It depends only on the sizes, so that the result is the same on every device.
    """
    blocks = math.prod(gemm.tile_grid((128, 128), rows, columns, groups))
    return gemm.split_sum(depth, ceil_div(_BLOCKS, blocks), _SHORTEST_PART, gemm.TILE_DEPTH)


def _registered(operation: str, workspace):
    """Register a kernel for both devices; the engine chooses it only on a GPU."""

    def register(function):
        for device, rank in (("cuda", 10), ("cuda-host", None)):
            options = {"algo": "implicit_packed", "rank": rank, "devices": (device,)}
            cuda_kernel(operation, **options, workspace=workspace)(function)
        return function

    return register


@_registered(FORWARD, _forward_workspace)
def conv2d_forward(device, x, weight, bias, *, call):
    if nothing_to_add(call):
        return without_terms(device, call.y_shape, x.dtype, bias)
    convolution_struct(call)  # refuses what an int cannot index
    vertical, horizontal = _forward_axes(call)
    frame = _Frame.around([vertical], [horizontal])
    y = device.empty(call.y_shape, x.dtype)
    weight = device.contiguous(weight)
    bias = None if bias is None else device.contiguous(bias)
    packed = _pack(device, x, call.groups, frame)
    _convolve(device, _Product(vertical, horizontal, frame), packed, weight, bias, y)
    return y


@_registered(FORWARD_RELU, _forward_workspace)
def conv2d_forward_relu(device, x, weight, bias, *, call):
    return rectified(device, conv2d_forward(device, x, weight, bias, call=call))


@_registered(INPUT_GRAD, _input_grad_workspace)
def conv2d_input_grad(device, g, weight, *, call):
    if nothing_to_add(call):
        return without_terms(device, call.x_shape, g.dtype)
    convolution_struct(call)
    vertical, horizontal = map(_phases, call.window)
    cells = sum(axis.positions for axis in vertical) * sum(axis.positions for axis in horizontal)
    # Cells that no window reads are in no phase, and stay 0.
    gx = (device.empty if cells == math.prod(call.size) else device.zeros)(call.x_shape, g.dtype)
    if cells == 0:
        return gx
    frame = _Frame.around(vertical, horizontal)
    packed = _pack(device, g, call.groups, frame)
    weight = device.contiguous(weight)
    for rows, columns in itertools.product(vertical, horizontal):
        _convolve(device, _Product(rows, columns, frame, is_forward=False), packed, weight, None, gx)
    return gx


@_registered(WEIGHT_GRAD, _weight_grad_workspace)
def conv2d_weight_grad(device, g, x, *, call):
    if nothing_to_add(call):
        return without_terms(device, call.weight_shape, g.dtype)
    convolution_struct(call)
    groups, n, (high, wide) = call.groups, call.images, call.positions
    vertical, horizontal = _forward_axes(call)
    frame = _Frame.around([vertical], [horizontal])
    packed = _pack(device, x, groups, frame)
    channels = packed.shape[-1]
    gradient = _pack(device, g, groups, _Frame(0, 0, high, wide))

    taps = math.prod(call.kernel_size)
    rows, depth, columns = call.group_outputs, n * high * wide, taps * channels
    row_step, column_step = frame.columns * channels, channels
    image_size = frame.size(channels, x.dtype)
    steps = image_size, vertical.stride * row_step, horizontal.stride * column_step
    offsets = _table(device, (n, high, wide), gemm.TILE_DEPTH, 0, steps)
    splits, length = _parts(depth, rows, columns, groups)
    parts = device.empty((splits, groups, rows, columns), g.dtype)
    tile = gemm.choose_tile(rows, columns, groups * splits)
    grid = gemm.tile_grid((tile.side, tile.side), rows, columns, splits * groups)
    sizes = groups, rows, gradient.shape[-1], depth, length, columns, channels, call.kernel_size[1]
    reads = n * image_size, vertical.dilation * row_step, horizontal.dilation * column_step
    kernel = SOURCE[f"gradient_parts_{tile.name}"]
    device.launch(kernel, grid, tile.threads, gradient, packed, offsets, parts, *sizes, *reads)
    gw = device.empty(call.weight_shape, g.dtype)
    strided = (min(count, launcher.MAX_BLOCKS) for count in (ceil_div(taps, 32), call.outputs))
    grid = ceil_div(call.group_channels, 32), *strided
    sizes = splits, call.outputs, call.group_channels, channels, taps
    device.launch(SOURCE["add_parts"], grid, _THREADS, parts, gw, *sizes)
    return gw
