"""Winograd's convolution F(m x m, r x r) for 3 x 3 and 5 x 5 windows at stride 1 (Lavin and Gray 2016).

Output is computed in tiles of m x m positions, each from n x n numbers of the input, n = m + r - 1. Both are
transformed to where the convolution is n * n multiplications instead of m * m * r * r (see
`minialex.kernels.conv2d.winograd_matrices`), and there the sum over channels is n * n matrix products:

    forward      Y[e]  (tiles, O)  =  X[e] (tiles, C)   @  W[e] (C, O)        e = 0 .. n * n - 1
    input_grad   the same on g, with each window rotated by 180 degrees and the channels swapped
    weight_grad  GW[e] (C, O)      =  X[e].T (C, tiles) @  G[e] (tiles, O)

    window   tile     n   fewer multiplications than direct convolution
    3 x 3    4 x 4    6   4.0 times
    3 x 3    5 x 5    7   4.6 times
    5 x 5    4 x 4    8   6.25 times

less what the last tiles compute beyond the image's edge: `tile_size` takes the tile with the fewest
multiplications, 5 x 5 for 13 x 13 positions. The transforms cost memory traffic, which pays off where there
are enough channels for the products to dominate.

The price is accuracy: relative to float64 the error is near 4e-6, against 5e-7 of direct convolution. Tests
hold it below 1e-5 on AlexNet's layers, and the worst element of any shape below 2e-5.
``kernels.use(conv2d="direct")`` gives the accurate mode. An infinity or a NaN in an image reaches every
output of the tiles that read it, not only those whose windows hold it: transforms subtract it from itself.

Images are taken in chunks whose transformed tiles fit the workspace. In a transform, each lane of a
vector is another channel: a group of channels is copied with the channels last, transformed tile by tile,
and stored by e; the results take the same way in reverse. Sums run over channels
in forward and input_grad, over tiles in weight_grad, in this order for any number of threads. float32
only.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace

import numpy as np

from minialex.integers import ceil_div
from minialex.kernels.contract.cost import Cost
from minialex.kernels.contract.registry import kernel
from minialex.kernels.contract.windows import Pair
from minialex.kernels.contract.workspace import workspace_limit
from minialex.kernels.conv2d import FORWARD, FORWARD_RELU, INPUT_GRAD, WEIGHT_GRAD
from minialex.kernels.conv2d.call import ConvCall
from minialex.kernels.conv2d.epilogue import rectify
from minialex.kernels.gemm.processor import processor
from minialex.kernels.gemm.tile import (
    bytes_of,
    lanes,
    multiply_panel,
    not_empty,
    panel_count,
    panel_start,
    tile_rows,
    tiled,
    transpose_block,
    transpose_block_add,
)
from minialex.kernels.runtime.compiled import Intrinsic, address, compiled
from minialex.kernels.runtime.memory import empty
from minialex.kernels.runtime.prepacked import frozen, prepacked
from minialex.kernels.runtime.threads import num_threads

# Rows (tiles of the image, or channels) that one item multiplies by the panels.
_BLOCK = 64

_TILES = {3: (4, 5), 5: (4,)}


def tile_size(window: int, positions: tuple[int, int]) -> int:
    """The m for windows of r x r: the one with the fewest multiplications, (P / m) * (Q / m) * n * n.

    Parameters
    ----------
    window : int
        r, 3 or 5.
    positions : (int, int)
        Of the output, P and Q.
    """

    def multiplications(m):
        return math.prod(ceil_div(size, m) for size in positions) * (m + window - 1) ** 2

    return min(_TILES[window], key=multiplications)


@compiled
def _panel_of(vectors, vector):
    """The panel that holds a vector of columns."""
    return ((vector + 1) * panel_count(vectors) - 1) // vectors


@compiled
def _in_panels(depth, vectors, vector):
    """Where a vector of columns begins in panels of `depth` rows, and the stride of its rows."""
    panel = _panel_of(vectors, vector)
    start = panel_start(vectors, panel)
    width = (panel_start(vectors, panel + 1) - start) * lanes()
    return depth * start * lanes() + (vector - start) * lanes(), width


@compiled
def _channels_last(planes, first, count, top, left, height, width, patch):
    """Copy channels (C, H, W) into a patch (height, width, lanes), padded with zeros, from row -top on."""
    patch[: height * width * lanes()] = 0
    channel = bytes_of(planes.shape[1] * planes.shape[2])
    first_column = max(0, -left)
    columns = min(planes.shape[2] - first_column, width - left - first_column)
    for h in range(max(0, -top), min(planes.shape[1], height - top)):
        at = ((h + top) * width + left + first_column) * lanes()
        if count == lanes() and columns >= lanes():
            row = address(planes[first, h], first_column)
            for w in range(0, columns, lanes()):
                # The last block overlaps the one before.
                start = min(w, columns - lanes())
                target = address(patch, at + start * lanes())
                transpose_block(row + bytes_of(start), channel, target, bytes_of(lanes()))
        else:
            for v in range(count):
                row = planes[first + v, h][first_column:]
                for w in range(columns):
                    patch[at + w * lanes() + v] = row[w]


@compiled
def _channels_first(patch, width, bias, planes, first, count):
    """Copy from a patch (height, width, lanes) what lies in the planes (C, P, Q), and add the bias."""
    columns = planes.shape[2]
    channel = bytes_of(planes.shape[1] * columns)
    for p in range(planes.shape[1]):
        at = p * width * lanes()
        if count == lanes() and columns >= lanes():
            row = address(planes[first, p])
            for q in range(0, columns, lanes()):
                start = min(q, columns - lanes())
                source = address(patch, at + start * lanes())
                target, shift = row + bytes_of(start), address(bias, first)
                transpose_block_add(source, bytes_of(lanes()), target, channel, shift)
        else:
            for v in range(count):
                row, shift = planes[first + v, p], bias[first + v]
                for q in range(columns):
                    row[q] = patch[at + q * lanes() + v] + shift


@compiled.parallel
def _multiply(item, worker, a, rows, steps, b, vectors, tiles, blocks, c, accumulate):
    # a (G, n * n, ...), b (G, n * n, depth * columns) and c (G, n * n, rows * columns) in panels.
    item, block = divmod(item, blocks)
    group, element = divmod(item, a.shape[1])
    first_row = block * tiles * tile_rows()
    tiles = min(tiles, rows.size // tile_rows() - block * tiles)
    for panel in range(panel_count(vectors)):
        start = panel_start(vectors, panel)
        wide = panel_start(vectors, panel + 1) - start
        multiply_panel(
            address(a[group, element]),
            address(rows, first_row),
            tiles,
            address(steps),
            steps.size,
            address(b[group, element], steps.size * start * lanes()),
            bytes_of(wide * lanes()),
            wide,
            address(c[group, element], (rows.size * start + first_row * wide) * lanes()),
            accumulate,
        )


@functools.cache
def _transforms(m: int, r: int) -> SimpleNamespace:
    """The compiled transforms of F(m x m, r x r)."""
    n = m + r - 1
    input_, weight_, output_, gradient_, taps_ = (
        Intrinsic(f"{kind}_{m}_{r}", "minialex.kernels.conv2d._winograd_transforms")
        for kind in ("input", "weight", "output", "gradient", "taps")
    )

    @compiled.parallel
    def input_tiles(item, worker, x, top, left, down, right, groups, a, stride, scratch):
        # x (images, C, H, W) -> a (G, n * n, tiles, stride). An item is a vector of channels of an image.
        channels = x.shape[1] // groups
        vectors = (channels + lanes() - 1) // lanes()
        item, vector = divmod(item, vectors)
        image, group = divmod(item, groups)
        first = vector * lanes()
        height, width = (down - 1) * m + n, (right - 1) * m + n
        patch = scratch[worker]
        count = min(channels - first, lanes())
        _channels_last(x[image], group * channels + first, count, top, left, height, width, patch)
        elements = bytes_of(a.shape[2])
        for i in range(down):
            for j in range(right):
                tile = (image * down + i) * right + j
                input_(
                    address(patch, (i * width + j) * m * lanes()),
                    bytes_of(width * lanes()),
                    bytes_of(lanes()),
                    address(a[group], tile * stride + first),
                    elements * n,
                    elements,
                )

    @compiled.parallel
    def gradient_tiles(item, worker, g, down, right, groups, b, scratch):
        # g (images, O, P, Q) -> b (G, n * n, tiles * O/G) in panels. An item is a vector of channels.
        channels = g.shape[1] // groups
        vectors = (channels + lanes() - 1) // lanes()
        item, vector = divmod(item, vectors)
        image, group = divmod(item, groups)
        first = vector * lanes()
        height, width = down * m, right * m
        patch = scratch[worker]
        count = min(channels - first, lanes())
        _channels_last(g[image], group * channels + first, count, 0, 0, height, width, patch)
        origin, stride = _in_panels(g.shape[0] * down * right, vectors, vector)
        elements = bytes_of(b.shape[2])
        for i in range(down):
            for j in range(right):
                tile = (image * down + i) * right + j
                gradient_(
                    address(patch, (i * width + j) * m * lanes()),
                    bytes_of(width * lanes()),
                    bytes_of(lanes()),
                    address(b[group], origin + tile * stride),
                    elements * n,
                    elements,
                )

    @compiled.parallel
    def weight_panels(item, worker, weight, column_stride, depth_stride, columns, depth, reverse, b, scratch):
        # weight (G, columns and depth in either order, r * r) flat from the second axis on
        # -> b (G, n * n, depth * columns) in panels. An item is a vector of columns.
        vectors = (columns + lanes() - 1) // lanes()
        group, vector = divmod(item, vectors)
        first = vector * lanes()
        origin, stride = _in_panels(depth, vectors, vector)
        window = scratch[worker]
        window[: r * r * lanes()] = 0
        numbers = weight[group]
        elements = bytes_of(b.shape[2])
        # Read backwards from its last tap, a window is rotated by 180 degrees.
        first_tap, step = (r * r - 1, -bytes_of(lanes())) if reverse else (0, bytes_of(lanes()))
        for k in range(depth):
            start = first * column_stride + k * depth_stride
            if columns - first >= lanes() and r * r >= lanes():
                for tap in range(0, r * r, lanes()):
                    tap = min(tap, r * r - lanes())
                    transpose_block(
                        address(numbers, start + tap),
                        bytes_of(column_stride),
                        address(window, tap * lanes()),
                        bytes_of(lanes()),
                    )
            else:
                for v in range(min(columns - first, lanes())):
                    taps = numbers[start + v * column_stride :]
                    for tap in range(r * r):
                        window[tap * lanes() + v] = taps[tap]
            weight_(
                address(window, first_tap * lanes()),
                r * step,
                step,
                address(b[group], origin + k * stride),
                elements * n,
                elements,
            )

    @compiled.parallel
    def output_tiles(item, worker, c, rows, bias, down, right, groups, y, scratch, rectified):
        # c (G, n * n, rows * O/G) in panels -> y (images, O, P, Q). An item is a vector of channels.
        channels = y.shape[1] // groups
        vectors = (channels + lanes() - 1) // lanes()
        item, vector = divmod(item, vectors)
        image, group = divmod(item, groups)
        first = vector * lanes()
        width = right * m
        patch = scratch[worker]
        origin, stride = _in_panels(rows, vectors, vector)
        elements = bytes_of(c.shape[2])
        for i in range(down):
            for j in range(right):
                tile = (image * down + i) * right + j
                output_(
                    address(c[group], origin + tile * stride),
                    elements * n,
                    elements,
                    address(patch, (i * width + j) * m * lanes()),
                    bytes_of(width * lanes()),
                    bytes_of(lanes()),
                )
        count = min(channels - first, lanes())
        first += group * channels
        _channels_first(patch, width, bias, y[image], first, count)
        if rectified:
            for channel in range(first, first + count):
                for p in range(y.shape[2]):
                    rectify(y[image, channel, p])

    @compiled.parallel
    def weight_taps(item, worker, c, rows, gw, scratch):
        # c (G, n * n, rows * O/G) in panels -> gw (G, O/G, C/G, r * r). An item is a vector of O.
        outputs = gw.shape[1]
        vectors = (outputs + lanes() - 1) // lanes()
        group, vector = divmod(item, vectors)
        first = vector * lanes()
        origin, stride = _in_panels(rows, vectors, vector)
        window = scratch[worker]
        elements = bytes_of(c.shape[2])
        for k in range(gw.shape[2]):
            taps_(
                address(c[group], origin + k * stride),
                elements * n,
                elements,
                address(window),
                bytes_of(r * lanes()),
                bytes_of(lanes()),
            )
            if outputs - first >= lanes() and r * r >= lanes():
                for tap in range(0, r * r, lanes()):
                    tap = min(tap, r * r - lanes())
                    transpose_block(
                        address(window, tap * lanes()),
                        bytes_of(lanes()),
                        address(gw[group, first, k], tap),
                        bytes_of(gw.shape[2] * r * r),
                    )
            else:
                for v in range(min(outputs - first, lanes())):
                    taps = gw[group, first + v, k]
                    for tap in range(r * r):
                        taps[tap] = window[tap * lanes() + v]

    return SimpleNamespace(
        input_tiles=input_tiles,
        gradient_tiles=gradient_tiles,
        weight_panels=weight_panels,
        output_tiles=output_tiles,
        weight_taps=weight_taps,
    )


class _Plan:
    """A convolution at stride 1 in tiles, from `channels` to `outputs` channels per group.

    The input gradient is a convolution of g, whose channels are the call's outputs.
    """

    def __init__(self, call: ConvCall, *, of_gradient: bool = False):
        self.groups, self.images = call.groups, call.images
        self.channels, self.outputs = call.group_channels, call.group_outputs
        positions = call.positions
        if of_gradient:
            self.channels, self.outputs, positions = self.outputs, self.channels, call.size
        self.window = call.kernel_size[0]
        self.m = m = tile_size(self.window, positions)
        self.n = n = m + self.window - 1
        self.down, self.right = (ceil_div(size, m) for size in positions)
        lanes = processor().lanes
        self.input_vectors = ceil_div(self.channels, lanes)
        self.output_vectors = ceil_div(self.outputs, lanes)
        # Rows of the transformed input at a multiple of 1 KiB would share a few sets of the L1 cache.
        self.stride = self.input_vectors * lanes
        if self.stride % 256 == 0:
            self.stride += lanes
        patch = ((self.down - 1) * m + n) * ((self.right - 1) * m + n)
        self.scratch_shape = num_threads(), max(patch, n * n) * lanes
        tiles_an_image = self.groups * n * n * self.down * self.right
        image_bytes = 4 * tiles_an_image * (self.stride + self.output_vectors * lanes)
        at_once = min(self.images, max(1, workspace_limit() // image_bytes))
        self.at_once = ceil_div(self.images, ceil_div(self.images, at_once)) if self.images else 1

    @property
    def transforms(self) -> SimpleNamespace:
        return _transforms(self.m, self.window)

    @functools.cached_property
    def scratch(self) -> np.ndarray:
        """For each thread, a copy of an image's channels, or of a window."""
        return empty(self.scratch_shape, np.float32)

    @property
    def scratch_bytes(self) -> int:
        return 4 * math.prod(self.scratch_shape)

    @property
    def columns(self) -> int:
        """The columns of the panels: the outputs of a group, rounded up to whole vectors."""
        return self.output_vectors * processor().lanes

    def chunks(self) -> list[slice]:
        """Slices of images whose transformed tiles fit the workspace limit."""
        return [
            slice(first, min(first + self.at_once, self.images))
            for first in range(0, self.images, self.at_once)
        ]

    def tiles_of(self, images: int) -> int:
        return images * self.down * self.right

    def input_tiles(self, x, before: Pair, a) -> None:
        """Transform images x (images, C, H, W), padded by `before`, into a (G, n * n, tiles * stride)."""
        items = len(x) * self.groups * self.input_vectors
        shape = self.down, self.right, self.groups
        self.transforms.input_tiles.run(items, x, *before, *shape, a, self.stride, self.scratch)

    def convolve(self, x, weights, before: Pair, bias, y, rectified: bool = False) -> None:
        """Convolve x with transformed weights."""
        steps = np.arange(self.channels, dtype=np.int32)
        for chunk in self.chunks():
            images = chunk.stop - chunk.start
            rows = tiled(np.arange(self.tiles_of(images)) * self.stride)
            a = empty((self.groups, self.n**2, self.tiles_of(images) * self.stride), np.float32)
            c = empty((self.groups, self.n**2, len(rows) * self.columns), np.float32)
            self.input_tiles(x[chunk], before, a)
            self.multiply((a, rows, steps), weights, c, accumulate=0)
            items = images * self.groups * self.output_vectors
            shape = self.down, self.right, self.groups
            self.transforms.output_tiles.run(
                items, c, len(rows), bias, *shape, y[chunk], self.scratch, rectified
            )
            del a, c  # else they would still be held while the next chunk's are made

    def multiply(self, rows_of_a, b, c, *, accumulate: int) -> None:
        """Multiply the matrices of each group and element: rows of a, at their offsets, by panels b."""
        a, rows, steps = rows_of_a
        tiles = ceil_div(len(rows), processor().rows)
        blocks = ceil_div(len(rows), _BLOCK)
        items, tiles = self.groups * self.n**2 * blocks, ceil_div(tiles, blocks)
        _multiply.run(items, a, rows, steps, b, self.output_vectors, tiles, blocks, c, accumulate)

    def weights(self, weight, column_stride: int, depth_stride: int, *, reverse: bool) -> np.ndarray:
        """Transform weights (G, ...) to panels (G, n * n, C/G * O/G)."""
        panels = empty((self.groups, self.n**2, self.channels * self.columns), np.float32)
        numbers = np.ascontiguousarray(weight).reshape(self.groups, weight.size // self.groups)
        strides, shape = (column_stride, depth_stride), (self.outputs, self.channels)
        self.transforms.weight_panels.run(
            self.groups * self.output_vectors, numbers, *strides, *shape, reverse, panels, self.scratch
        )
        return panels


def _supports(*arrays, call: ConvCall) -> bool | str:
    if call.kernel_size not in ((3, 3), (5, 5)):
        height, width = call.kernel_size
        return f"windows of 3 x 3 and 5 x 5 only, not {height} x {width}"
    if call.stride != (1, 1) or call.dilation != (1, 1):
        return f"stride 1 and dilation 1 only, not {call.stride} and {call.dilation}"
    return not_empty(*arrays, call=call)


def _domain():
    return {"empty": False, "windows": ((3, 3), (5, 5)), "strides": (1,), "dilations": (1,)}


def _workspace(plan: _Plan) -> int:
    """The bytes of one chunk's transformed tiles, before and after the products, and of the weights."""
    tiles = plan.tiles_of(plan.at_once)
    rows = ceil_div(tiles, processor().rows) * processor().rows
    numbers = tiles * plan.stride + (rows + plan.channels) * plan.columns
    return 4 * plan.groups * plan.n**2 * numbers + plan.scratch_bytes


def _forward_workspace(*arrays, call: ConvCall) -> int:
    return _workspace(_Plan(call))


def _input_grad_workspace(*arrays, call: ConvCall) -> int:
    return _workspace(_Plan(call, of_gradient=True))


def _weight_grad_workspace(*arrays, call: ConvCall) -> int:
    plan = _Plan(call)
    sums = ceil_div(plan.channels, processor().rows) * processor().rows * plan.columns
    numbers = plan.tiles_of(plan.at_once) * (plan.stride + plan.columns) + sums
    return 4 * plan.groups * plan.n**2 * numbers + plan.scratch_bytes


def _cost(plan: _Plan, weight_transforms: int) -> Cost:
    """The cost, with this many transforms of all weights."""
    elements, groups = plan.n**2, plan.groups
    tiles = plan.tiles_of(plan.images)
    weight_numbers = elements * plan.channels * plan.outputs * groups
    # Each transform multiplies by a matrix of n columns on both sides.
    transformed = elements * tiles * groups * (plan.channels + plan.outputs)
    operations = 2 * tiles * weight_numbers + 4 * plan.n * transformed
    return Cost(operations, 4 * (3 * transformed + (1 + weight_transforms) * weight_numbers))


def _forward_cost(x, weight, bias, *, call: ConvCall) -> Cost:
    return _cost(_Plan(call), 0 if frozen(weight) else 1)


def _input_grad_cost(*arrays, call: ConvCall) -> Cost:
    return _cost(_Plan(call, of_gradient=True), 1)


def _weight_grad_cost(*arrays, call: ConvCall) -> Cost:
    return _cost(_Plan(call), 2)


_SAYS = {
    "algo": "winograd",
    "rank": 20,
    "supports": _supports,
    "domain": _domain,
    "dtypes": ("float32",),
    "error": 2e-5,
}


@kernel(FORWARD, **_SAYS, workspace=_forward_workspace, cost=_forward_cost, records=1)
def conv2d_forward(x, weight, bias, *, call):
    return _forward(x, weight, bias, call)


@kernel(FORWARD_RELU, **_SAYS, workspace=_forward_workspace, cost=_forward_cost, records=1)
def conv2d_forward_relu(x, weight, bias, *, call):
    return _forward(x, weight, bias, call, rectified=True)


def _forward(x, weight, bias, call: ConvCall, rectified: bool = False):
    y = empty(call.y_shape, np.float32)  # (N, O, P, Q)
    plan = _Plan(call)
    taps = math.prod(call.kernel_size)
    weights = prepacked(
        weight,
        ("winograd", plan.m, call.groups),
        lambda: plan.weights(weight, call.taps, taps, reverse=False),
    )
    bias = np.zeros(call.outputs, np.float32) if bias is None else np.ascontiguousarray(bias)
    plan.convolve(np.ascontiguousarray(x), weights, call.window.before, bias, y, rectified)
    return y


@kernel(INPUT_GRAD, **_SAYS, workspace=_input_grad_workspace, cost=_input_grad_cost)
def conv2d_input_grad(g, weight, *, call):
    gx = empty(call.x_shape, np.float32)  # (N, C, H, W)
    plan = _Plan(call, of_gradient=True)
    weights = plan.weights(weight, math.prod(call.kernel_size), call.taps, reverse=True)
    mirrored = tuple(plan.window - 1 - before for before in call.window.before)
    plan.convolve(np.ascontiguousarray(g), weights, mirrored, np.zeros(call.channels, np.float32), gx)
    return gx


@kernel(WEIGHT_GRAD, **_SAYS, workspace=_weight_grad_workspace, cost=_weight_grad_cost)
def conv2d_weight_grad(g, x, *, call):
    plan = _Plan(call)
    gw = empty((plan.groups, plan.outputs, plan.channels, math.prod(call.kernel_size)), np.float32)
    g, x = np.ascontiguousarray(g), np.ascontiguousarray(x)
    rows = tiled(np.arange(plan.channels))
    c = empty((plan.groups, plan.n**2, len(rows) * plan.columns), np.float32)
    for chunk in plan.chunks():
        images = chunk.stop - chunk.start
        tiles = plan.tiles_of(images)
        a = empty((plan.groups, plan.n**2, tiles * plan.stride), np.float32)
        b = empty((plan.groups, plan.n**2, tiles * plan.columns), np.float32)
        plan.input_tiles(x[chunk], call.window.before, a)
        items, shape = images * plan.groups * plan.output_vectors, (plan.down, plan.right, plan.groups)
        plan.transforms.gradient_tiles.run(items, g[chunk], *shape, b, plan.scratch)
        steps = (np.arange(tiles) * plan.stride).astype(np.int32)
        plan.multiply((a, rows, steps), b, c, accumulate=int(chunk.start > 0))
        del a, b
    plan.transforms.weight_taps.run(plan.groups * plan.output_vectors, c, len(rows), gw, plan.scratch)
    return gw.reshape(call.weight_shape)
