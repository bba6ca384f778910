"""Direct convolution: the window's numbers are read where they stand, and no im2col matrix is made.

The three directions are products that `minialex.kernels.gemm.tile` computes from two tables of
offsets into the padded image: one of the output positions and one of the window's taps.

    forward      rows: positions (p, q)   steps: taps (c, i, j)     b: weights (taps, O)      c: y
    input_grad   the same on g, with the taps turned around: see below
    weight_grad  rows: taps (c, i, j)     steps: positions (p, q)   b: g (positions, O)       c: gw

The padded image. Images are copied in chunks into (n, C, A, B, H', W'): rows and columns are sorted by
their remainder modulo the stride, and the A and B remainders that some tap reads are kept. Positions next
to each other then read numbers next to each other at any stride, and tap (i, j) stands at a constant
distance from the position.

The input gradient at stride s: the cells of gx with the same remainders modulo s are reached by the same
taps, so each of these classes is a convolution of g, at stride 1, with those taps in reverse. There are at
most s * s, and no more than the window has taps; a cell of no class is 0.

A panel of weights is as many output channels as fit a tile. Sums run over (c, i, j) in forward, over
(o, i, j) in input_grad and over (n, p, q) in weight_grad, in this order for any number of threads.
float32 only: in float64 the plain kernels are as exact, and are what the fast ones are judged by.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from minialex.kernels.contract.cost import Cost
from minialex.kernels.contract.registry import kernel
from minialex.kernels.contract.shapes import output_shape
from minialex.kernels.contract.workspace import workspace_limit
from minialex.kernels.gemm.tile import (
    lanes,
    multiply_panel,
    not_empty,
    pack_panels,
    panel_count,
    panel_start,
    processor,
    tile_rows,
    tiled,
    transpose_block_add,
)
from minialex.kernels.runtime.compiled import address, compiled
from minialex.kernels.runtime.memory import empty, zeros
from minialex.kernels.runtime.prepacked import packed
from minialex.kernels.runtime.threads import num_threads

# What one item multiplies with a panel: enough to use a panel's chunk many times while it is in the L1 cache.
# (AlexNet's layers: 256 positions are as fast as 64 or up to 9 % faster, 256 taps up to 6 % slower.)
_POSITIONS, _TAPS = 256, 64
# With fewer blocks than this, panels are shared out, too: a single image should keep all threads busy.
_LEAST_ITEMS = 16


class _Image:
    """The padded image of one group of channels, as (C, A, B, H', W'), and offsets into it."""

    def __init__(self, channels: int, window, stride, padding, dilation, positions):
        (rows, columns), (down, right) = positions, stride
        taps_down = np.arange(window[0]) * dilation[0]
        taps_right = np.arange(window[1]) * dilation[1]
        self.origin = padding[0][0], padding[1][0]
        self.stride = down, right
        # The remainders modulo the stride: (A,) and (B,).
        self.phases = np.unique(taps_down % down), np.unique(taps_right % right)
        self.shape = (
            channels,
            *(len(phases) for phases in self.phases),
            rows + int(taps_down[-1]) // down,
            columns + int(taps_right[-1]) // right,
        )
        _, _, across, height, width = self.shape
        self.size = math.prod(self.shape)
        # (P, Q) and (C, KH, KW), flat.
        self.positions = np.add.outer(np.arange(rows) * width, np.arange(columns)).ravel()
        in_plane = np.add.outer(
            self.phases[0].searchsorted(taps_down % down) * across * height * width
            + taps_down // down * width,
            self.phases[1].searchsorted(taps_right % right) * height * width + taps_right // right,
        )
        self.taps = np.add.outer(np.arange(channels) * math.prod(self.shape[1:]), in_plane).ravel()

    @classmethod
    def of_class(cls, channels: int, rows: _Class, columns: _Class) -> _Image:
        """The padded g, from which one class of the cells of gx is computed."""
        image = cls(
            channels, (rows.reach, columns.reach), (1, 1), ((rows.padding, 0), (columns.padding, 0)), (1, 1),
            (len(rows.cells), len(columns.cells)),
        )  # fmt: skip
        height, width = image.shape[3:]
        in_plane = np.add.outer(rows.shifts * width, columns.shifts).ravel()
        image.taps = np.add.outer(np.arange(channels) * height * width, in_plane).ravel()
        return image

    def cut(self, x: np.ndarray, groups: int) -> np.ndarray:
        """Copy images x (n, C, H, W) into (n, groups, size), padded and sorted."""
        padded = empty((len(x) * x.shape[1], *self.shape[1:]), np.float32)
        _sort_image.run(
            len(padded), x.reshape(len(padded), *x.shape[2:]), *self.origin, *self.stride,
            *self.phases, padded,
        )  # fmt: skip
        return padded.reshape(len(x), groups, self.size)

    def chunks(self, images: int, groups: int):
        """Slices of images whose padded copies fit the workspace limit."""
        size = max(1, workspace_limit() // (4 * groups * self.size))
        size = -(-images // -(-images // size)) if images else 1
        return [slice(first, min(first + size, images)) for first in range(0, images, size)]


class _Class:
    """Along one axis, the cells of gx that are reached by the same taps.

    Cell h is read at output position p through tap i where h + before = p * stride + i * dilation. For
    the cells with (h + before) % stride = r these are the taps with (i * dilation) % stride = r: for the
    cell with (h + before) // stride = t, position t - (i * dilation) // stride.
    """

    def __init__(self, index: int, size: int, taps: int, stride: int, before: int, dilation: int):
        self.cells = np.arange(index, size, stride)
        distance = np.arange(taps) * dilation
        self.taps = np.flatnonzero(distance % stride == (index + before) % stride)
        back = distance[self.taps] // stride
        farthest = int(back[-1]) if len(back) else 0
        self.reach = farthest + 1
        # The padding before g, so that the first cell's farthest tap is the first cell of the padded g.
        self.padding = farthest - (index + before) // stride
        self.shifts = farthest - back

    @classmethod
    def reached(cls, size: int, taps: int, stride: int, before: int, dilation: int) -> list[_Class]:
        """The classes that some tap reaches: at most as many as there are taps, however large the stride."""
        indices = np.unique((np.arange(taps) * dilation - before) % stride)
        return [
            cls(index, size, taps, stride, before, dilation) for index in indices[indices < size].tolist()
        ]


@compiled.parallel
def _sort_image(item, worker, x, top, left, down, right, rows, columns, padded):
    # x (n * C, H, W), rows (A,) and columns (B,): remainders modulo the stride, padded (n * C, A, B, H', W')
    height, width = x.shape[1:]
    for i in range(rows.size):
        for j in range(columns.size):
            a, b = rows[i], columns[j]
            first = min(max(-((b - left) // right), 0), padded.shape[4])
            last = min(max(-((b - left - width) // right), first), padded.shape[4])
            for r in range(padded.shape[3]):
                row = padded[item, i, j, r]
                h = r * down + a - top
                if h < 0 or h >= height:
                    row[:] = 0
                else:
                    source = x[item, h]
                    row[:first] = 0
                    if right == 1:
                        for q in range(first, last):
                            row[q] = source[q - left]
                    else:
                        for q in range(first, last):
                            row[q] = source[q * right + b - left]
                    row[last:] = 0


@compiled.parallel
def _correlate(item, worker, images, rows, steps, panels, bias, targets, tiles, blocks, shares, y, scratch):
    # images (n, G, size), rows: offsets of all positions, panels (G, depth * O/G), y (n, O, cells).
    # An item is a block of positions of a group of an image, times a share of the panels.
    item, share = divmod(item, shares)
    item, block = divmod(item, blocks)
    n, group = divmod(item, panels.shape[0])
    outputs = y.shape[1] // panels.shape[0]
    vectors = (outputs + lanes() - 1) // lanes()
    count = panel_count(vectors)
    first_row = block * tiles * tile_rows()
    tiles = min(tiles, rows.size // tile_rows() - block * tiles)
    valid = min(tiles * tile_rows(), targets.size - first_row)
    cells = targets[first_row : first_row + valid]
    sums = scratch[worker]
    for panel in range(share * count // shares, (share + 1) * count // shares):
        start = panel_start(vectors, panel)
        wide = panel_start(vectors, panel + 1) - start
        multiply_panel(
            address(images[n, group]),
            address(rows) + first_row * 8,
            tiles,
            address(steps),
            steps.size,
            address(panels[group]) + steps.size * start * lanes() * 4,
            wide * lanes() * 4,
            wide,
            address(sums),
            0,
        )
        o = group * outputs + start * lanes()
        columns = min(wide * lanes(), outputs - start * lanes())
        _store(sums, wide * lanes(), y[n, o : o + columns], bias[o : o + columns], cells)


@compiled
def _store(sums, width, planes, bias, cells):
    """Store sums (positions, width) at some cells of planes (channels, cells), and add the bias."""
    channels, positions = planes.shape[0], cells.size
    whole_channels, whole_positions = 0, 0
    # Cells are in order, and so these are next to each other.
    if cells[positions - 1] - cells[0] == positions - 1:
        whole_channels = channels // lanes() * lanes()
        whole_positions = positions // lanes() * lanes()
    for v in range(0, whole_channels, lanes()):
        for r in range(0, whole_positions, lanes()):
            transpose_block_add(
                address(sums) + (r * width + v) * 4,
                width * 4,
                address(planes[v]) + (cells[0] + r) * 4,
                planes.shape[1] * 4,
                address(bias) + v * 4,
            )
    for v in range(channels):
        plane, shift = planes[v], bias[v]
        for r in range(whole_positions if v < whole_channels else 0, positions):
            plane[cells[r]] = sums[r * width + v] + shift


def _blocks(rows: int, most: int) -> tuple[int, int]:
    """Cut rows into equal blocks of about `most`: (tiles a block, blocks)."""
    tiles = -(-rows // processor().rows)
    blocks = -(-tiles * processor().rows // most)
    tiles_a_block = -(-tiles // blocks)
    return tiles_a_block, -(-tiles // tiles_a_block)


def _scratch(tiles: int) -> np.ndarray:
    """For each thread, the sums of a block of positions and the widest panel."""
    return empty(
        (num_threads(), tiles * processor().rows * processor().widest * processor().lanes), np.float32
    )


def _correlate_all(images, positions, steps, panels, bias, targets, y):
    tiles, blocks = _blocks(len(targets), _POSITIONS)
    items = len(images) * len(panels) * blocks
    shares = (
        min(-(-_LEAST_ITEMS // items), -(-y.shape[1] // len(panels) // processor().lanes)) if items else 1
    )
    _correlate.run(
        items * shares, images, tiled(positions), steps.astype(np.int32), panels, bias, targets,
        tiles, blocks, max(shares, 1), y, _scratch(tiles),
    )  # fmt: skip


@compiled.parallel
def _sum_over_positions(item, worker, images, rows, steps, panels, vectors, tiles, blocks, sums):
    # images (n, G, size), rows: offsets of all taps, panels (n, G, P*Q * O/G) of g,
    # sums (G, taps * O/G): for each panel (taps, width). An item is a block of taps and a panel.
    item, block = divmod(item, blocks)
    group, panel = divmod(item, panel_count(vectors))
    start = panel_start(vectors, panel)
    wide = panel_start(vectors, panel + 1) - start
    first_row = block * tiles * tile_rows()
    tiles = min(tiles, rows.size // tile_rows() - block * tiles)
    for n in range(images.shape[0]):
        multiply_panel(
            address(images[n, group]),
            address(rows) + first_row * 8,
            tiles,
            address(steps),
            steps.size,
            address(panels[n, group]) + steps.size * start * lanes() * 4,
            wide * lanes() * 4,
            wide,
            address(sums[group]) + (rows.size * start + first_row * wide) * lanes() * 4,
            1,
        )


@compiled.parallel
def _unpack(item, worker, sums, rows, vectors, gw):
    # sums (G, rows * O/G): for each panel (rows, width); gw (G, O/G, taps). An item is a panel.
    group, panel = divmod(item, panel_count(vectors))
    first = panel_start(vectors, panel) * lanes()
    width = panel_start(vectors, panel + 1) * lanes() - first
    block = sums[group][rows * first :]
    for v in range(min(width, gw.shape[1] - first)):
        line = gw[group, first + v]
        for tap in range(gw.shape[2]):
            line[tap] = block[tap * width + v]


def _workspace(image: _Image, images: int, groups: int, *, outputs: int, positions_packed: bool) -> int:
    """The bytes of a chunk of padded images, of packed panels, and of the sums of a block."""
    lanes = processor().lanes
    columns = -(-outputs // lanes) * lanes
    at_once = max((chunk.stop - chunk.start for chunk in image.chunks(images, groups)), default=0)
    if positions_packed:  # g is packed with each chunk, and the sums are those of all taps
        panels = at_once * groups * len(image.positions) * columns
        sums = groups * len(tiled(image.taps)) * columns
    else:
        panels = groups * len(image.taps) * columns
        tiles, _ = _blocks(len(image.positions), _POSITIONS)
        sums = num_threads() * tiles * processor().rows * processor().widest * lanes
    return 4 * (at_once * groups * image.size + panels + sums)


def forward_workspace(x, weight, bias, *, stride, padding, dilation, groups) -> int:
    positions = output_shape(
        "conv2d", x.shape, weight.shape,
        stride=stride, padding=padding, dilation=dilation, groups=groups,
    )[2:]  # fmt: skip
    image = _Image(weight.shape[1], weight.shape[2:], stride, padding, dilation, positions)
    return _workspace(image, len(x), groups, outputs=len(weight) // groups, positions_packed=False)


def _classes(input_size, window, stride, padding, dilation) -> list[list[_Class]]:
    """The classes of cells along each axis."""
    return [_Class.reached(input_size[i], window[i], stride[i], padding[i][0], dilation[i]) for i in range(2)]


def input_grad_workspace(g, weight, *, input_size, stride, padding, dilation, groups) -> int:
    outputs, per_group, *window = weight.shape
    sizes = [0]
    for rows, columns in itertools.product(*_classes(input_size, window, stride, padding, dilation)):
        image = _Image.of_class(outputs // groups, rows, columns)
        sizes.append(_workspace(image, len(g), groups, outputs=per_group, positions_packed=False))
    return max(sizes)


def weight_grad_workspace(g, x, *, kernel_size, stride, padding, dilation, groups) -> int:
    image = _Image(x.shape[1] // groups, kernel_size, stride, padding, dilation, g.shape[2:])
    return _workspace(image, len(x), groups, outputs=g.shape[1] // groups, positions_packed=True)


def _cost(images: int, weight_shape, x_size, positions) -> Cost:
    products = images * math.prod(positions) * math.prod(weight_shape)
    y_size = images * weight_shape[0] * math.prod(positions)
    return Cost(2 * products, 4 * (3 * x_size + y_size + 2 * math.prod(weight_shape)))


def forward_cost(x, weight, bias, **window) -> Cost:
    positions = output_shape("conv2d", x.shape, weight.shape, **window)[2:]
    return _cost(len(x), weight.shape, x.size, positions)


def input_grad_cost(g, weight, **_) -> Cost:
    return _cost(len(g), weight.shape, g.size, g.shape[2:])


def weight_grad_cost(g, x, *, kernel_size, groups, **_) -> Cost:
    return _cost(len(x), (g.shape[1], x.shape[1] // groups, *kernel_size), x.size, g.shape[2:])


@kernel(
    "conv2d.forward", algo="direct", rank=20, supports=not_empty, dtypes=("float32",),
    domain=lambda: {"empty": False},
    cost=forward_cost,
    workspace=forward_workspace,
)  # fmt: skip
def conv2d_forward(x, weight, bias, *, stride, padding, dilation, groups):
    y_shape = output_shape(
        "conv2d", x.shape, weight.shape,
        stride=stride, padding=padding, dilation=dilation, groups=groups,
    )  # fmt: skip
    outputs, per_group, *window = weight.shape
    y = empty(y_shape, np.float32)  # (N, O, P, Q)
    x = np.ascontiguousarray(x)
    image = _Image(per_group, window, stride, padding, dilation, y_shape[2:])
    bias = np.zeros(outputs, np.float32) if bias is None else np.ascontiguousarray(bias)
    weights = np.ascontiguousarray(weight).reshape(groups, weight.size // groups)
    depth = np.arange(len(image.taps), dtype=np.int64)
    panels = packed(
        weight, ("direct", groups), lambda: pack_panels(weights, outputs // groups, len(depth), depth)
    )
    targets = np.arange(len(image.positions), dtype=np.int64)
    for chunk in image.chunks(len(x), groups):
        _correlate_all(
            image.cut(x[chunk], groups), image.positions, image.taps, panels, bias, targets,
            y[chunk].reshape(chunk.stop - chunk.start, outputs, len(targets)),
        )  # fmt: skip
    return y


@kernel(
    "conv2d.input_grad", algo="direct", rank=20, supports=not_empty, dtypes=("float32",),
    domain=lambda: {"empty": False},
    cost=input_grad_cost,
    workspace=input_grad_workspace,
)  # fmt: skip
def conv2d_input_grad(g, weight, *, input_size, stride, padding, dilation, groups):
    outputs, per_group, *window = weight.shape
    height, width = input_size
    classes = _classes(input_size, window, stride, padding, dilation)
    cells = math.prod(sum(len(each.cells) for each in axis) for axis in classes)
    gx = (empty if cells == height * width else zeros)(
        (len(g), groups * per_group, height, width), np.float32
    )
    flat = gx.reshape(len(g), groups * per_group, height * width)
    g = np.ascontiguousarray(g)
    weights = np.ascontiguousarray(weight).reshape(groups, weight.size // groups)
    no_bias = np.zeros(groups * per_group, np.float32)
    taps = math.prod(window)
    for rows, columns in itertools.product(*classes):
        targets = np.add.outer(rows.cells * width, columns.cells).ravel().astype(np.int64)
        # (O, I, J) in weight (O, C, KH, KW), from which a column takes its channel.
        in_window = np.add.outer(rows.taps * window[1], columns.taps).ravel()
        depth = np.add.outer(np.arange(outputs // groups) * per_group * taps, in_window).ravel()
        panels = pack_panels(weights, per_group, taps, depth.astype(np.int64))
        image = _Image.of_class(outputs // groups, rows, columns)
        for chunk in image.chunks(len(g), groups):
            _correlate_all(
                image.cut(g[chunk], groups),
                image.positions,
                image.taps,
                panels,
                no_bias,
                targets,
                flat[chunk],
            )
    return gx


@kernel(
    "conv2d.weight_grad",
    algo="direct",
    rank=20,
    supports=not_empty,
    domain=lambda: {"empty": False},
    dtypes=("float32",),
    cost=weight_grad_cost,
    workspace=weight_grad_workspace,
)
def conv2d_weight_grad(g, x, *, kernel_size, stride, padding, dilation, groups):
    outputs, per_group = g.shape[1], x.shape[1] // groups
    gw = empty((outputs, per_group, *kernel_size), np.float32)
    g, x = np.ascontiguousarray(g), np.ascontiguousarray(x)
    image = _Image(per_group, kernel_size, stride, padding, dilation, g.shape[2:])
    rows, steps = tiled(image.taps), image.positions.astype(np.int32)
    depth = np.arange(len(steps), dtype=np.int64)
    columns = outputs // groups
    vectors = -(-columns // processor().lanes)
    sums = zeros((groups, len(rows) * vectors * processor().lanes), np.float32)
    tiles, blocks = _blocks(len(image.taps), _TAPS)
    count = -(-vectors // processor().widest)
    for chunk in image.chunks(len(x), groups):
        panels = pack_panels(
            g[chunk].reshape((chunk.stop - chunk.start) * groups, columns * len(depth)),
            columns,
            len(depth),
            depth,
        )
        panels = panels.reshape(chunk.stop - chunk.start, groups, panels.shape[-1])
        _sum_over_positions.run(
            groups * blocks * count,
            image.cut(x[chunk], groups),
            rows,
            steps,
            panels,
            vectors,
            tiles,
            blocks,
            sums,
        )
        del panels  # else they would stay while the next chunk's are made
    _unpack.run(groups * count, sums, len(rows), vectors, gw.reshape(groups, columns, len(image.taps)))
    return gw
