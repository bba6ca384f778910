"""Convolution in CUDA on packed operands: packed_gemm.cu.

What remains for Python is the geometry of one product: along each axis of the image, which positions there
are and which cells their taps read. `_Axis` has it, for forward and for a phase of the input gradient alike.

On ``cuda-host`` im2col is ranked above it: a processor gains nothing from the order in which a warp reads
memory, which is what the packing is for, and pays for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minialex.kernels.contract.shapes import output_shape
from minialex.kernels.conv2d.cuda import convolution_sizes, tiles, without_terms
from minialex.kernels.cuda import Source, blocks_for, cuda_kernel, launcher

SOURCE = Source(__file__, "packed_gemm.cu")
_THREADS = 256
_DEPTH = 8  # steps of a tile: what is read ahead of a table

# The weight gradient's sum is cut in parts until there are so many blocks, two for each multiprocessor of a
# large GPU; no part is shorter than this many positions, over which its addition in the second pass pays.
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
        """The first and the last cell that are read."""
        ends = (self.first_cell, self.first_cell + (self.taps - 1) * self.dilation)
        return min(ends), max(ends) + (self.positions - 1) * self.stride


def _step(count: int, step: int) -> int:
    """The step between `count` things: any number will do for one, and a large one would overflow an int."""
    return step if count > 1 else 1


def _forward_axis(positions: int, kernel: int, stride: int, before: int, dilation: int) -> _Axis:
    return _Axis(positions, _step(positions, stride), kernel, -before, _step(kernel, dilation))


def _phases(size: int, kernel: int, stride: int, before: int, dilation: int) -> list[_Axis]:
    """The cells h of an image's axis, by their remainder by the stride.

    Tap i reads cell h at position p = (h + before - i * dilation) / stride, if that is whole: for the cells
    of one remainder, that is every stride / gcd(stride, dilation)-th tap. A remainder that no tap reads is
    left out.
    """
    phases = []
    step = stride // math.gcd(stride, dilation)
    for first in sorted({(i * dilation - before) % stride for i in range(kernel)}):
        if first >= size:
            break
        taps = [i for i in range(kernel) if (first + before - i * dilation) % stride == 0]
        positions = tiles(size - first, stride)
        phases.append(
            _Axis(
                positions=positions, stride=1, taps=len(taps),
                first_cell=(first + before - taps[0] * dilation) // stride,
                dilation=-_step(len(taps), step * dilation // stride),
                first_tap=taps[0], tap_step=step,
                first_result=first, result_step=_step(positions, stride),
            )
        )  # fmt: skip
    return phases


def _lanes(dtype) -> int:
    return 16 // np.dtype(dtype).itemsize


def _padded(size: int, dtype) -> int:
    return tiles(size, _lanes(dtype)) * _lanes(dtype)


@dataclass(frozen=True)
class _Frame:
    """Which cells of an image its packed copy has: from (top, left) on, rows x columns of them."""

    top: int
    left: int
    rows: int
    columns: int

    @classmethod
    def around(cls, vertical: list[_Axis], horizontal: list[_Axis]) -> _Frame:
        """The cells that some of the axes read."""
        (top, bottom), (left, right) = (
            (min(axis.cells[0] for axis in axes), max(axis.cells[1] for axis in axes))
            for axes in (vertical, horizontal)
        )
        return cls(top, left, bottom - top + 1, right - left + 1)

    def size(self, channels: int, dtype) -> int:
        """Numbers in the packed copy of one image of one group."""
        return self.rows * self.columns * _padded(channels, dtype)


def _pack(device, x, groups: int, frame: _Frame):
    """Copy x (N, C, H, W) to (groups, N, rows, columns, padded C/groups)."""
    n, channels, height, width = x.shape
    per_group = channels // groups
    padded = _padded(per_group, x.dtype)
    packed = device.empty((groups, n, frame.rows, frame.columns, padded), x.dtype)
    grid = tiles(frame.rows * frame.columns, 32), tiles(padded, 32), min(groups * n, launcher.MAX_BLOCKS)
    device.launch(
        SOURCE["pack_images"], grid, _THREADS, device.contiguous(x), packed, groups, n, per_group, height,
        width, frame.rows, frame.columns, padded, -frame.top, -frame.left,
    )  # fmt: skip
    return packed


def _table(device, outer: int, rows: int, columns: int, ahead: int, first: int, *steps: int):
    """Tabulate first + a * steps[0] + b * steps[1] + c * steps[2] for all (a, b, c); `ahead` entries more."""
    used = outer * rows * columns
    table = device.empty((used + ahead,), np.int32)
    device.launch(
        SOURCE["tabulate_offsets"], blocks_for(table.size, _THREADS), _THREADS,
        table, table.size, used, rows, columns, first, *steps,
    )  # fmt: skip
    return table


def _tile(rows: int, columns: int, groups: int) -> tuple[str, int, int]:
    """The tile for a product: its name, its side, and the threads of a block."""
    if rows > 64 and columns > 64 and tiles(rows, 128) * tiles(columns, 128) * groups >= _BLOCKS // 2:
        return "large", 128, 256
    return "small", 64, 128


def _pack_weights(device, weight, groups: int, is_forward: bool, vertical: _Axis, horizontal: _Axis):
    """The weights (O, C/groups, KH, KW) at the axes' taps as (groups, depth, padded rows)."""
    outputs, channels, *kernel = len(weight) // groups, *weight.shape[1:]
    rows, summed = (outputs, channels) if is_forward else (channels, outputs)
    outer, length = (1, math.prod(weight.shape[1:])) if is_forward else (outputs, math.prod(kernel))
    padded_rows, padded_summed = _padded(rows, weight.dtype), _padded(summed, weight.dtype)
    depth = vertical.taps * horizontal.taps * padded_summed
    weights = device.zeros((groups, depth, padded_rows), weight.dtype)
    grid = (
        tiles(rows, 32),
        min(tiles(length, 32), launcher.MAX_BLOCKS),
        min(groups * outer, launcher.MAX_BLOCKS),
    )
    device.launch(
        SOURCE["pack_weights"], grid, _THREADS, weight, weights, groups, outer, rows, length,
        padded_rows, padded_summed, vertical.taps, horizontal.taps, vertical.first_tap, horizontal.first_tap,
        vertical.tap_step, horizontal.tap_step, *kernel,
    )  # fmt: skip
    return weights


def _convolve(device, packed, frame, weight, is_forward, bias, result, vertical, horizontal) -> None:
    """Fill the cells of result (N, C, H, W) that the axes name, from packed images and weights (O, ...).

    `is_forward`: whether products are added up along the weights' channels, and not along their outputs.
    """
    groups, n, _, _, channels = packed.shape
    lanes = _lanes(packed.dtype)
    rows = result.shape[1] // groups
    weights = _pack_weights(device, weight, groups, is_forward, vertical, horizontal)
    _, depth, packed_rows = weights.shape
    row_step, column_step = frame.columns * channels, channels
    first = (vertical.first_cell - frame.top) * row_step + (horizontal.first_cell - frame.left) * column_step
    offsets = _table(
        device, vertical.taps, horizontal.taps, channels // lanes, _DEPTH // lanes,
        first, vertical.dilation * row_step, horizontal.dilation * column_step, lanes,
    )  # fmt: skip
    positions = n * vertical.positions * horizontal.positions
    name, side, threads = _tile(rows, positions, groups)
    height, width = result.shape[2:]
    device.launch(
        SOURCE[f"convolve_{name}"], (tiles(positions, side), tiles(rows, side), groups), threads,
        weights, packed, offsets, weights if bias is None else bias, result, int(bias is not None),
        rows, packed_rows, depth, n, vertical.positions, horizontal.positions,
        frame.size(channels, packed.dtype), vertical.stride * row_step,
        horizontal.stride * column_step, height * width,
        vertical.first_result * width + horizontal.first_result, vertical.result_step * width,
        horizontal.result_step,
    )  # fmt: skip


def _forward_axes(x_shape, weight_shape, y_shape, *, stride, padding, dilation, groups) -> list[_Axis]:
    return [
        _forward_axis(y_shape[2 + i], weight_shape[2 + i], stride[i], padding[i][0], dilation[i])
        for i in range(2)
    ]


def _phase_axes(input_size, kernel_size, *, stride, padding, dilation, groups) -> list[list[_Axis]]:
    return [_phases(input_size[i], kernel_size[i], stride[i], padding[i][0], dilation[i]) for i in range(2)]


def _convolution_workspace(images, channels, rows, groups, frame, taps, dtype) -> int:
    """Bytes of the packed images, the packed weights and their table, for one product."""
    depth = taps * _padded(channels, dtype)
    numbers = groups * (images * frame.size(channels, dtype) + depth * _padded(rows, dtype))
    return numbers * np.dtype(dtype).itemsize + (depth + _DEPTH) // _lanes(dtype) * 4


def forward_workspace(x, weight, bias, **window) -> int:
    y_shape = output_shape("conv2d", x.shape, weight.shape, **window)
    if 0 in (*x.shape, *y_shape):
        return 0
    groups = window["groups"]
    vertical, horizontal = _forward_axes(x.shape, weight.shape, y_shape, **window)
    return _convolution_workspace(
        len(x), weight.shape[1], len(weight) // groups, groups, _Frame.around([vertical], [horizontal]),
        vertical.taps * horizontal.taps, x.dtype,
    )  # fmt: skip


def input_grad_workspace(g, weight, *, input_size, **window) -> int:
    groups = window["groups"]
    vertical, horizontal = _phase_axes(input_size, weight.shape[2:], **window)
    if 0 in (*input_size, *g.shape, weight.shape[1]) or not (vertical and horizontal):
        return 0
    taps = max(axis.taps for axis in vertical) * max(axis.taps for axis in horizontal)
    return _convolution_workspace(
        len(g), len(weight) // groups, weight.shape[1], groups, _Frame.around(vertical, horizontal),
        taps, g.dtype,
    )  # fmt: skip


def weight_grad_workspace(g, x, *, kernel_size, **window) -> int:
    if 0 in (*x.shape, *g.shape):
        return 0
    groups = window["groups"]
    rows, channels = g.shape[1] // groups, x.shape[1] // groups
    depth = len(g) * g.shape[2] * g.shape[3]
    axes = _forward_axes(x.shape, (*g.shape[:2], *kernel_size), g.shape, **window)
    frame = _Frame.around(axes[:1], axes[1:])
    columns = math.prod(kernel_size) * _padded(channels, x.dtype)
    splits, _ = _parts(depth, rows, columns, groups)
    numbers = groups * (
        depth * _padded(rows, g.dtype) + len(x) * frame.size(channels, x.dtype) + splits * rows * columns
    )
    return numbers * g.dtype.itemsize + (depth + _DEPTH) * 4


def _parts(depth: int, rows: int, columns: int, groups: int) -> tuple[int, int]:
    """How many parts the weight gradient's sum has, and how long they are.

    It depends on the sizes alone, so that the result is the same on every device.
    """
    blocks = tiles(rows, 128) * tiles(columns, 128) * groups
    wanted = max(1, min(tiles(_BLOCKS, blocks), depth // _SHORTEST_PART))
    length = tiles(tiles(depth, wanted), _DEPTH) * _DEPTH
    return tiles(depth, length), length


@cuda_kernel(
    "conv2d.forward", algo="implicit_packed", rank=10, devices=("cuda",), workspace=forward_workspace
)
@cuda_kernel("conv2d.forward", algo="implicit_packed", devices=("cuda-host",), workspace=forward_workspace)
def conv2d_forward(device, x, weight, bias, **window):
    y_shape = output_shape("conv2d", x.shape, weight.shape, **window)
    if 0 in (*x.shape, *y_shape):
        return without_terms(device, y_shape, x.dtype, bias)
    convolution_sizes(x.shape, weight.shape, y_shape, **window)
    groups = window["groups"]
    vertical, horizontal = _forward_axes(x.shape, weight.shape, y_shape, **window)
    frame = _Frame.around([vertical], [horizontal])
    y = device.empty(y_shape, x.dtype)
    weight = device.contiguous(weight)
    bias = None if bias is None else device.contiguous(bias)
    _convolve(device, _pack(device, x, groups, frame), frame, weight, True, bias, y, vertical, horizontal)
    return y


@cuda_kernel(
    "conv2d.input_grad", algo="implicit_packed", rank=10, devices=("cuda",), workspace=input_grad_workspace
)
@cuda_kernel(
    "conv2d.input_grad", algo="implicit_packed", devices=("cuda-host",), workspace=input_grad_workspace
)
def conv2d_input_grad(device, g, weight, *, input_size, **window):
    groups = window["groups"]
    x_shape = (len(g), weight.shape[1] * groups, *input_size)
    if 0 in (*x_shape, *g.shape):
        return without_terms(device, x_shape, g.dtype)
    convolution_sizes(x_shape, weight.shape, g.shape, **window)
    vertical, horizontal = _phase_axes(input_size, weight.shape[2:], **window)
    cells = sum(axis.positions for axis in vertical) * sum(axis.positions for axis in horizontal)
    # Cells that no window reads are in no phase, and stay 0.
    every_cell = cells == math.prod(input_size)
    gx = (device.empty if every_cell else device.zeros)(x_shape, g.dtype)
    if cells == 0:
        return gx
    frame = _Frame.around(vertical, horizontal)
    packed = _pack(device, g, groups, frame)
    weight = device.contiguous(weight)
    for row_phase in vertical:
        for column_phase in horizontal:
            _convolve(device, packed, frame, weight, False, None, gx, row_phase, column_phase)
    return gx


@cuda_kernel(
    "conv2d.weight_grad", algo="implicit_packed", rank=10, devices=("cuda",), workspace=weight_grad_workspace
)
@cuda_kernel(
    "conv2d.weight_grad", algo="implicit_packed", devices=("cuda-host",), workspace=weight_grad_workspace
)
def conv2d_weight_grad(device, g, x, *, kernel_size, **window):
    groups, per_group = window["groups"], x.shape[1] // window["groups"]
    n, outputs, high, wide = g.shape
    weight_shape = (outputs, per_group, *kernel_size)
    if 0 in (*x.shape, *g.shape):
        return without_terms(device, weight_shape, g.dtype)
    convolution_sizes(x.shape, weight_shape, g.shape, **window)
    vertical, horizontal = _forward_axes(x.shape, weight_shape, g.shape, **window)
    frame = _Frame.around([vertical], [horizontal])
    packed = _pack(device, x, groups, frame)
    channels = packed.shape[-1]
    gradient = _pack(device, g, groups, _Frame(0, 0, high, wide))

    rows, depth, columns = outputs // groups, n * high * wide, math.prod(kernel_size) * channels
    row_step, column_step = frame.columns * channels, channels
    image_size = frame.size(channels, x.dtype)
    offsets = _table(
        device, n, high, wide, _DEPTH, 0,
        image_size, vertical.stride * row_step, horizontal.stride * column_step,
    )  # fmt: skip
    splits, length = _parts(depth, rows, columns, groups)
    parts = device.empty((splits, groups, rows, columns), g.dtype)
    name, side, threads = _tile(rows, columns, groups * splits)
    device.launch(
        SOURCE[f"gradient_parts_{name}"], (tiles(columns, side), tiles(rows, side), splits * groups), threads,
        gradient, packed, offsets, parts, groups, rows, gradient.shape[-1], depth, length, columns, channels,
        kernel_size[1], n * image_size, vertical.dilation * row_step, horizontal.dilation * column_step,
    )  # fmt: skip
    gw = device.empty(weight_shape, g.dtype)
    strided = (min(count, launcher.MAX_BLOCKS) for count in (tiles(math.prod(kernel_size), 32), outputs))
    device.launch(
        SOURCE["add_parts"], (tiles(per_group, 32), *strided),
        _THREADS, parts, gw, splits, outputs, per_group, channels, math.prod(kernel_size),
    )  # fmt: skip
    return gw
