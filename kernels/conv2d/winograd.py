"""Winograd's convolution F(m x m, r x r) for 3 x 3 and 5 x 5 windows at stride 1 (Lavin and Gray 2016).

Output is made in tiles of m x m positions, each from n x n numbers of the input, n = m + r - 1. Both are
taken to where the convolution is n * n multiplications instead of m * m * r * r (see
`minialex.kernels.conv2d.winograd_matrices`), and there the sum over channels is n * n matrix products:

    forward      Y[e]  (tiles, O)  =  X[e] (tiles, C)   @  W[e] (C, O)        e = 0 .. n * n - 1
    input_grad   the same on g, with each window turned by 180 degrees and the channels exchanged
    weight_grad  GW[e] (C, O)      =  X[e].T (C, tiles) @  G[e] (tiles, O)

    window   tile     n   multiplications saved, of direct convolution's
    3 x 3    4 x 4    6   4.0 times
    3 x 3    5 x 5    7   4.6 times
    5 x 5    4 x 4    8   6.25 times

less what the last tiles compute beyond the image's edge: `tile_size` takes the tile with the fewest
multiplications, for 13 x 13 positions 5 x 5. The transforms cost memory traffic, which pays where there
are enough channels for the products to weigh more.

The price is exactness: relative to float64 the error is near 4e-6, of direct convolution 5e-7. Tests hold
it below 1e-5 on AlexNet's layers, and the worst element of any shape below 2e-5.
``kernels.use(conv2d="direct")`` gives the exact mode. An infinity or a NaN in an image reaches every
output of the tiles that read it, not only those whose window holds it: transforms subtract it from itself.

Images are taken in chunks, whose transformed tiles fit the workspace. In a transform, each lane of a
vector is another channel: a group of channels is copied out with the channels last, tile for tile
transformed, and stored by e, and the results' way back is the mirror image of that. Sums run over channels
in forward and input_grad, over tiles in weight_grad, in this order for any number of threads. float32
only.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace

import numpy as np

from minialex.kernels.contract.cost import Cost
from minialex.kernels.contract.registry import kernel
from minialex.kernels.contract.shapes import output_shape
from minialex.kernels.contract.workspace import workspace_limit
from minialex.kernels.gemm.tile import (
    lanes,
    multiply_panel,
    not_empty,
    panel_count,
    panel_start,
    processor,
    tile_rows,
    tiled,
    transpose_block,
    transpose_block_add,
)
from minialex.kernels.runtime.compiled import Intrinsic, address, compiled
from minialex.kernels.runtime.memory import empty
from minialex.kernels.runtime.prepacked import frozen, packed
from minialex.kernels.runtime.threads import num_threads

# Rows (tiles of the image, or channels) that one item multiplies with the panels.
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
        return math.prod(-(-size // m) for size in positions) * (m + window - 1) ** 2

    return min(_TILES[window], key=multiplications)


@compiled
def _panel_of(vectors, vector):
    """The panel that holds a vector of columns."""
    return ((vector + 1) * panel_count(vectors) - 1) // vectors


@compiled
def _in_panels(depth, vectors, vector):
    """Where a vector of columns begins in panels of `depth` rows, and how far apart its rows are."""
    panel = _panel_of(vectors, vector)
    start = panel_start(vectors, panel)
    width = (panel_start(vectors, panel + 1) - start) * lanes()
    return depth * start * lanes() + (vector - start) * lanes(), width


@compiled
def _channels_last(planes, first, count, top, left, height, width, patch):
    """Copy channels (C, H, W) into a patch (height, width, lanes), padded with zeros, from row -top on."""
    patch[: height * width * lanes()] = 0
    channel = planes.shape[1] * planes.shape[2] * 4
    first_column = max(0, -left)
    columns = min(planes.shape[2] - first_column, width - left - first_column)
    for h in range(max(0, -top), min(planes.shape[1], height - top)):
        at = ((h + top) * width + left + first_column) * lanes()
        if count == lanes() and columns >= lanes():
            row = address(planes[first, h]) + first_column * 4
            for w in range(0, columns, lanes()):
                # The last block overlaps with the one before.
                start = min(w, columns - lanes())
                target = address(patch) + (at + start * lanes()) * 4
                transpose_block(row + start * 4, channel, target, lanes() * 4)
        else:
            for v in range(count):
                row = planes[first + v, h][first_column:]
                for w in range(columns):
                    patch[at + w * lanes() + v] = row[w]


@compiled
def _channels_first(patch, width, bias, planes, first, count):
    """Copy from a patch (height, width, lanes) what lies in the planes (C, P, Q), and add the bias."""
    columns = planes.shape[2]
    channel = planes.shape[1] * columns * 4
    for p in range(planes.shape[1]):
        at = p * width * lanes()
        if count == lanes() and columns >= lanes():
            row = address(planes[first, p])
            for q in range(0, columns, lanes()):
                start = min(q, columns - lanes())
                source = address(patch) + (at + start * lanes()) * 4
                transpose_block_add(source, lanes() * 4, row + start * 4, channel, address(bias) + first * 4)
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
            address(rows) + first_row * 8,
            tiles,
            address(steps),
            steps.size,
            address(b[group, element]) + steps.size * start * lanes() * 4,
            wide * lanes() * 4,
            wide,
            address(c[group, element]) + (rows.size * start + first_row * wide) * lanes() * 4,
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
        elements = a.shape[2] * 4
        for i in range(down):
            for j in range(right):
                tile = (image * down + i) * right + j
                input_(
                    address(patch) + (i * width + j) * m * lanes() * 4,
                    width * lanes() * 4,
                    lanes() * 4,
                    address(a[group]) + (tile * stride + first) * 4,
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
        elements = b.shape[2] * 4
        for i in range(down):
            for j in range(right):
                tile = (image * down + i) * right + j
                gradient_(
                    address(patch) + (i * width + j) * m * lanes() * 4,
                    width * lanes() * 4,
                    lanes() * 4,
                    address(b[group]) + (origin + tile * stride) * 4,
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
        elements = b.shape[2] * 4
        # Backwards from its last tap, a window is turned by 180 degrees.
        first_tap, step = (r * r - 1, -lanes() * 4) if reverse else (0, lanes() * 4)
        for k in range(depth):
            start = first * column_stride + k * depth_stride
            if columns - first >= lanes() and r * r >= lanes():
                for tap in range(0, r * r, lanes()):
                    tap = min(tap, r * r - lanes())
                    transpose_block(
                        address(numbers) + (start + tap) * 4,
                        column_stride * 4,
                        address(window) + tap * lanes() * 4,
                        lanes() * 4,
                    )
            else:
                for v in range(min(columns - first, lanes())):
                    taps = numbers[start + v * column_stride :]
                    for tap in range(r * r):
                        window[tap * lanes() + v] = taps[tap]
            weight_(
                address(window) + first_tap * lanes() * 4,
                r * step,
                step,
                address(b[group]) + (origin + k * stride) * 4,
                elements * n,
                elements,
            )

    @compiled.parallel
    def output_tiles(item, worker, c, rows, bias, down, right, groups, y, scratch):
        # c (G, n * n, rows * O/G) in panels -> y (images, O, P, Q). An item is a vector of channels.
        channels = y.shape[1] // groups
        vectors = (channels + lanes() - 1) // lanes()
        item, vector = divmod(item, vectors)
        image, group = divmod(item, groups)
        first = vector * lanes()
        width = right * m
        patch = scratch[worker]
        origin, stride = _in_panels(rows, vectors, vector)
        elements = c.shape[2] * 4
        for i in range(down):
            for j in range(right):
                tile = (image * down + i) * right + j
                output_(
                    address(c[group]) + (origin + tile * stride) * 4,
                    elements * n,
                    elements,
                    address(patch) + (i * width + j) * m * lanes() * 4,
                    width * lanes() * 4,
                    lanes() * 4,
                )
        count = min(channels - first, lanes())
        _channels_first(patch, width, bias, y[image], group * channels + first, count)

    @compiled.parallel
    def weight_taps(item, worker, c, rows, gw, scratch):
        # c (G, n * n, rows * O/G) in panels -> gw (G, O/G, C/G, r * r). An item is a vector of O.
        outputs = gw.shape[1]
        vectors = (outputs + lanes() - 1) // lanes()
        group, vector = divmod(item, vectors)
        first = vector * lanes()
        origin, stride = _in_panels(rows, vectors, vector)
        window = scratch[worker]
        elements = c.shape[2] * 4
        for k in range(gw.shape[2]):
            taps_(
                address(c[group]) + (origin + k * stride) * 4,
                elements * n,
                elements,
                address(window),
                r * lanes() * 4,
                lanes() * 4,
            )
            if outputs - first >= lanes() and r * r >= lanes():
                for tap in range(0, r * r, lanes()):
                    tap = min(tap, r * r - lanes())
                    transpose_block(
                        address(window) + tap * lanes() * 4,
                        lanes() * 4,
                        address(gw[group, first, k]) + tap * 4,
                        gw.shape[2] * r * r * 4,
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
    """The sizes of a convolution of `channels` to `outputs` channels in groups, made of tiles."""

    def __init__(self, channels: int, outputs: int, groups: int, window: int, positions, images: int):
        self.groups, self.window, self.images = groups, window, images
        self.channels, self.outputs = channels // groups, outputs // groups
        self.m = m = tile_size(window, positions)
        self.n = n = m + window - 1
        self.down, self.right = (-(-size // m) for size in positions)
        lanes = processor().lanes
        self.input_vectors = -(-self.channels // lanes)
        self.output_vectors = -(-self.outputs // lanes)
        # Rows of the transformed input a multiple of 1 KiB apart would share a few sets of the L1 cache.
        self.stride = self.input_vectors * lanes
        if self.stride % 256 == 0:
            self.stride += lanes
        patch = ((self.down - 1) * m + n) * ((self.right - 1) * m + n)
        self.scratch_shape = num_threads(), max(patch, n * n) * lanes
        image_bytes = (
            4 * groups * n * n * self.down * self.right * (self.stride + self.output_vectors * lanes)
        )
        at_once = min(images, max(1, workspace_limit() // image_bytes))
        self.at_once = -(-images // -(-images // at_once)) if images else 1

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

    def chunks(self):
        """Slices of images whose transformed tiles fit the workspace limit."""
        return [
            slice(first, min(first + self.at_once, self.images))
            for first in range(0, self.images, self.at_once)
        ]

    def tiles_of(self, images: int) -> int:
        return images * self.down * self.right

    def input_tiles(self, x, padding, a):
        """Transform images x (images, C, H, W) into a (G, n * n, tiles * stride)."""
        (top, _), (left, _) = padding
        self.transforms.input_tiles.run(
            len(x) * self.groups * self.input_vectors, x, top, left, self.down, self.right, self.groups,
            a, self.stride, self.scratch,
        )  # fmt: skip

    def convolve(self, x, weights, padding, bias, y):
        """Convolve x with transformed weights."""
        steps = np.arange(self.channels, dtype=np.int32)
        columns = self.output_vectors * processor().lanes
        for chunk in self.chunks():
            images = chunk.stop - chunk.start
            rows = tiled(np.arange(self.tiles_of(images)) * self.stride)
            a = empty((self.groups, self.n**2, self.tiles_of(images) * self.stride), np.float32)
            c = empty((self.groups, self.n**2, len(rows) * columns), np.float32)
            self.input_tiles(x[chunk], padding, a)
            self.multiply(a, rows, steps, weights, c, accumulate=0)
            self.transforms.output_tiles.run(
                images * self.groups * self.output_vectors, c, len(rows), bias, self.down, self.right,
                self.groups, y[chunk], self.scratch,
            )  # fmt: skip
            del a, c  # else they would stay while the next chunk's are made

    def multiply(self, a, rows, steps, b, c, accumulate):
        tiles = -(-len(rows) // processor().rows)
        blocks = -(-len(rows) // _BLOCK)
        _multiply.run(
            self.groups * self.n**2 * blocks, a, rows, steps, b, self.output_vectors,
            -(-tiles // blocks), blocks, c, accumulate,
        )  # fmt: skip

    def weights(self, weight, column_stride: int, depth_stride: int, reverse: bool):
        """Transform weights (G, ...) to panels (G, n * n, C/G * O/G)."""
        panels = empty(
            (self.groups, self.n**2, self.channels * self.output_vectors * processor().lanes), np.float32
        )
        self.transforms.weight_panels.run(
            self.groups * self.output_vectors, weight.reshape(self.groups, weight.size // self.groups),
            column_stride, depth_stride, self.outputs, self.channels, reverse, panels, self.scratch,
        )  # fmt: skip
        return panels


def _supports(first, second, *_, stride, dilation, kernel_size=None, **parameters) -> bool | str:
    window = tuple(second.shape[2:]) if kernel_size is None else tuple(kernel_size)
    if window not in ((3, 3), (5, 5)):
        return f"windows of 3 x 3 and 5 x 5 only, not {window[0]} x {window[1]}"
    if tuple(stride) != (1, 1) or tuple(dilation) != (1, 1):
        return f"stride 1 and dilation 1 only, not {stride} and {dilation}"
    return not_empty(first, second, **parameters)


def _domain():
    return {"empty": False, "windows": ((3, 3), (5, 5)), "strides": (1,), "dilations": (1,)}


def _workspace(plan: _Plan) -> int:
    """The bytes of a chunk's transformed tiles, before and after the products, and of the weights."""
    lanes, elements = processor().lanes, plan.groups * plan.n**2
    tiles = plan.tiles_of(plan.at_once)
    columns = plan.output_vectors * lanes
    rows = -(-tiles // processor().rows) * processor().rows
    weights = plan.channels * columns
    return 4 * elements * (tiles * plan.stride + rows * columns + weights) + plan.scratch_bytes


def forward_workspace(x, weight, bias, *, groups, **window) -> int:
    positions = output_shape("conv2d", x.shape, weight.shape, groups=groups, **window)[2:]
    return _workspace(_Plan(x.shape[1], len(weight), groups, weight.shape[2], positions, len(x)))


def input_grad_workspace(g, weight, *, input_size, groups, **_) -> int:
    channels = groups * weight.shape[1]
    return _workspace(_Plan(g.shape[1], channels, groups, weight.shape[2], input_size, len(g)))


def weight_grad_workspace(g, x, *, kernel_size, groups, **_) -> int:
    plan = _Plan(x.shape[1], g.shape[1], groups, kernel_size[0], g.shape[2:], len(x))
    columns, tiles = plan.output_vectors * processor().lanes, plan.tiles_of(plan.at_once)
    sums = -(-plan.channels // processor().rows) * processor().rows * columns
    return 4 * groups * plan.n**2 * (tiles * (plan.stride + columns) + sums) + plan.scratch_bytes


def _cost(images: int, channels: int, outputs: int, groups: int, window: int, positions, weights: int):
    """The cost, with `weights` transforms of all weights."""
    m = tile_size(window, positions)
    elements = (m + window - 1) ** 2
    tiles = images * math.prod(-(-size // m) for size in positions)
    products = elements * tiles * channels * outputs // groups
    # Each transform multiplies by a matrix of n columns from both sides.
    transformed = elements * tiles * (channels + outputs)
    transforms = 4 * (m + window - 1) * transformed
    weight_numbers = elements * channels * outputs // groups
    return Cost(2 * products + transforms, 4 * (3 * transformed + (1 + weights) * weight_numbers))


def forward_cost(x, weight, bias, *, groups, **window) -> Cost:
    positions = output_shape("conv2d", x.shape, weight.shape, groups=groups, **window)[2:]
    transforms = 0 if frozen(weight) else 1
    return _cost(len(x), x.shape[1], len(weight), groups, weight.shape[2], positions, transforms)


def input_grad_cost(g, weight, *, input_size, groups, **_) -> Cost:
    channels = groups * weight.shape[1]
    return _cost(len(g), g.shape[1], channels, groups, weight.shape[2], input_size, 1)


def weight_grad_cost(g, x, *, kernel_size, groups, **_) -> Cost:
    return _cost(len(x), x.shape[1], g.shape[1], groups, kernel_size[0], g.shape[2:], 2)


@kernel(
    "conv2d.forward", algo="winograd", rank=20, supports=_supports, dtypes=("float32",),
    workspace=forward_workspace, cost=forward_cost, error=2e-5, domain=_domain,
)  # fmt: skip
def conv2d_forward(x, weight, bias, *, stride, padding, dilation, groups):
    outputs, per_group, window, _ = weight.shape
    y_shape = output_shape(
        "conv2d", x.shape, weight.shape,
        stride=stride, padding=padding, dilation=dilation, groups=groups,
    )  # fmt: skip
    y = empty(y_shape, np.float32)  # (N, O, P, Q)
    plan = _Plan(x.shape[1], outputs, groups, window, y_shape[2:], len(x))
    taps = window * window
    weights = packed(
        weight,
        ("winograd", plan.m, groups),
        lambda: plan.weights(np.ascontiguousarray(weight), per_group * taps, taps, False),
    )
    bias = np.zeros(outputs, np.float32) if bias is None else np.ascontiguousarray(bias)
    plan.convolve(np.ascontiguousarray(x), weights, padding, bias, y)
    return y


@kernel(
    "conv2d.input_grad", algo="winograd", rank=20, supports=_supports, dtypes=("float32",),
    workspace=input_grad_workspace, cost=input_grad_cost, error=2e-5, domain=_domain,
)  # fmt: skip
def conv2d_input_grad(g, weight, *, input_size, stride, padding, dilation, groups):
    outputs, per_group, window, _ = weight.shape
    channels = groups * per_group
    gx = empty((len(g), channels, *input_size), np.float32)  # (N, C, H, W)
    plan = _Plan(outputs, channels, groups, window, input_size, len(g))
    taps = window * window
    weights = plan.weights(np.ascontiguousarray(weight), taps, per_group * taps, True)
    mirrored = tuple((window - 1 - before, window - 1 - after) for before, after in padding)
    no_bias = np.zeros(channels, np.float32)
    plan.convolve(np.ascontiguousarray(g), weights, mirrored, no_bias, gx)
    return gx


@kernel(
    "conv2d.weight_grad", algo="winograd", rank=20, supports=_supports, dtypes=("float32",),
    workspace=weight_grad_workspace, cost=weight_grad_cost, error=2e-5, domain=_domain,
)  # fmt: skip
def conv2d_weight_grad(g, x, *, kernel_size, stride, padding, dilation, groups):
    outputs, window = g.shape[1], kernel_size[0]
    plan = _Plan(x.shape[1], outputs, groups, window, g.shape[2:], len(x))
    gw = empty((groups, plan.outputs, plan.channels, window * window), np.float32)
    g, x = np.ascontiguousarray(g), np.ascontiguousarray(x)
    columns = plan.output_vectors * processor().lanes
    rows = tiled(np.arange(plan.channels))
    c = empty((groups, plan.n**2, len(rows) * columns), np.float32)
    for chunk in plan.chunks():
        tiles = plan.tiles_of(chunk.stop - chunk.start)
        a = empty((groups, plan.n**2, tiles * plan.stride), np.float32)
        b = empty((groups, plan.n**2, tiles * columns), np.float32)
        plan.input_tiles(x[chunk], padding, a)
        plan.transforms.gradient_tiles.run(
            (chunk.stop - chunk.start) * groups * plan.output_vectors,
            g[chunk], plan.down, plan.right, groups, b, plan.scratch,
        )  # fmt: skip
        steps = (np.arange(tiles) * plan.stride).astype(np.int32)
        plan.multiply(a, rows, steps, b, c, accumulate=int(chunk.start > 0))
        del a, b
    plan.transforms.weight_taps.run(groups * plan.output_vectors, c, len(rows), gw, plan.scratch)
    return gw.reshape(outputs, plan.channels, window, window)
