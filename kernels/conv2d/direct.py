"""Direct convolution: windows are read in place, and no im2col matrix is built.

The three directions are products that `minialex.kernels.gemm.tile` computes from two tables of
offsets into the padded image: one of the output positions and one of the window's taps.

    forward      rows: positions (p, q)   steps: taps (c, i, j)     b: weights (taps, O)      c: y
    input_grad   the same on g, with the taps reversed
    weight_grad  rows: taps (c, i, j)     steps: positions (p, q)   b: g (positions, O)       c: gw

Images are copied in chunks, padded and laid out as `minialex.kernels.conv2d.padded_image` says, which also
cuts the input gradient into convolutions of g.

A panel of weights is as many output channels as fit a tile. Sums run over (c, i, j) in forward, over
(o, i, j) in input_grad and over (n, p, q) in weight_grad, in this order for any number of threads.
float32 only: float64 is left to the plain kernels, the yardstick of the fast ones.
"""

from __future__ import annotations

import math

import numpy as np

from minialex.integers import ceil_div, round_up
from minialex.kernels.contract.cost import Cost
from minialex.kernels.contract.registry import kernel
from minialex.kernels.conv2d import FORWARD, FORWARD_RELU, INPUT_GRAD, WEIGHT_GRAD
from minialex.kernels.conv2d.call import ConvCall
from minialex.kernels.conv2d.epilogue import rectify
from minialex.kernels.conv2d.padded_image import PaddedImage, gradients_of, image_of
from minialex.kernels.gemm.processor import processor
from minialex.kernels.gemm.tile import (
    bytes_of,
    lanes,
    multiply_panel,
    not_empty,
    pack_panels,
    panel_count,
    panel_start,
    tile_rows,
    tiled,
    transpose_block_add,
)
from minialex.kernels.runtime.compiled import address, compiled
from minialex.kernels.runtime.memory import empty, zeros
from minialex.kernels.runtime.prepacked import prepacked
from minialex.kernels.runtime.threads import num_threads

# What one item multiplies by a panel: enough to use a panel's chunk many times while it is in the L1 cache.
# (AlexNet's layers: 256 positions are as fast as 64 or up to 9 % faster, 256 taps up to 6 % slower.)
_POSITIONS, _TAPS = 256, 64
# With fewer blocks than this, panels are shared out as well: a single image should keep all threads busy.
_LEAST_ITEMS = 16


@compiled.parallel
def _correlate(
    item, worker, images, rows, steps, panels, bias, targets, tiles, blocks, shares, y, scratch, rectified
):
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
            address(rows, first_row),
            tiles,
            address(steps),
            steps.size,
            address(panels[group], steps.size * start * lanes()),
            bytes_of(wide * lanes()),
            wide,
            address(sums),
            0,
        )
        o = group * outputs + start * lanes()
        columns = min(wide * lanes(), outputs - start * lanes())
        _store(sums, wide * lanes(), y[n, o : o + columns], bias[o : o + columns], cells)
        if rectified:
            # Of forward, whose cells are adjacent.
            for v in range(o, o + columns):
                rectify(y[n, v, cells[0] : cells[0] + valid])


@compiled
def _store(sums, width, planes, bias, cells):
    """Store sums (positions, width) at some cells of planes (channels, cells), and add the bias."""
    channels, positions = planes.shape[0], cells.size
    whole_channels, whole_positions = 0, 0
    # Cells are in order, so these are adjacent.
    if cells[positions - 1] - cells[0] == positions - 1:
        whole_channels = channels // lanes() * lanes()
        whole_positions = positions // lanes() * lanes()
    for v in range(0, whole_channels, lanes()):
        for r in range(0, whole_positions, lanes()):
            transpose_block_add(
                address(sums, r * width + v),
                bytes_of(width),
                address(planes[v], cells[0] + r),
                bytes_of(planes.shape[1]),
                address(bias, v),
            )
    for v in range(channels):
        plane, shift = planes[v], bias[v]
        for r in range(whole_positions if v < whole_channels else 0, positions):
            plane[cells[r]] = sums[r * width + v] + shift


def _blocks(rows: int, most: int) -> tuple[int, int]:
    """Cut rows into equal blocks of about `most`: (tiles per block, blocks)."""
    tiles = ceil_div(rows, processor().rows)
    tiles_a_block = ceil_div(tiles, ceil_div(tiles * processor().rows, most))
    return tiles_a_block, ceil_div(tiles, tiles_a_block)


def _scratch(tiles: int) -> np.ndarray:
    """For each thread, the sums of a block of positions and the widest panel."""
    return empty(
        (num_threads(), tiles * processor().rows * processor().widest * processor().lanes), np.float32
    )


def _correlate_all(image: PaddedImage, images, panels, epilogue: tuple, targets, y) -> None:
    """Convolve padded images (n, G, size) with panels of weights; results go to the cells `targets` of y.

    The epilogue is a bias (O,) and whether ReLU follows.
    """
    bias, rectified = epilogue
    tiles, blocks = _blocks(len(targets), _POSITIONS)
    items = len(images) * len(panels) * blocks
    vectors = ceil_div(y.shape[1] // len(panels), processor().lanes)
    shares = max(min(ceil_div(_LEAST_ITEMS, items), vectors), 1) if items else 1
    rows, steps = image.position_rows, image.tap_steps
    scratch = _scratch(tiles)
    _correlate.run(
        items * shares,
        images,
        rows,
        steps,
        panels,
        bias,
        targets,
        tiles,
        blocks,
        shares,
        y,
        scratch,
        rectified,
    )


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
            address(rows, first_row),
            tiles,
            address(steps),
            steps.size,
            address(panels[n, group], steps.size * start * lanes()),
            bytes_of(wide * lanes()),
            wide,
            address(sums[group], (rows.size * start + first_row * wide) * lanes()),
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


def _workspace(
    image: PaddedImage,
    size: tuple[int, int],
    call: ConvCall,
    outputs: int,
    *,
    positions_packed: bool = False,
) -> int:
    """The bytes of a chunk of padded images of this size, of packed panels, and of the sums of a block."""
    lanes, groups = processor().lanes, call.groups
    columns = ceil_div(outputs, lanes) * lanes
    at_once = max((chunk.stop - chunk.start for chunk in image.chunks(call.images, groups)), default=0)
    if positions_packed:  # g is packed with each chunk, and the sums are of all taps
        panels = at_once * groups * len(image.positions) * columns
        sums = groups * len(tiled(image.taps)) * columns
    else:
        panels = groups * len(image.taps) * columns
        tiles, _ = _blocks(len(image.positions), _POSITIONS)
        sums = num_threads() * tiles * processor().rows * processor().widest * lanes
    copied = 0 if image.is_plain(size) else at_once * groups * image.size
    return 4 * (copied + panels + sums)


def _forward_workspace(*arrays, call: ConvCall) -> int:
    return _workspace(image_of(call), call.size, call, call.group_outputs)


def _input_grad_workspace(*arrays, call: ConvCall) -> int:
    claims = (
        _workspace(each.image, call.positions, call, call.group_channels) for each in gradients_of(call)
    )
    return max(claims, default=0)


def _weight_grad_workspace(*arrays, call: ConvCall) -> int:
    return _workspace(image_of(call), call.size, call, call.group_outputs, positions_packed=True)


def _cost(reads: int, writes: int, outputs: int, call: ConvCall) -> Cost:
    """The products, and the traffic of the images: copied and read, and what is written.

    A vector has lanes for more output channels than a small group has, `outputs`.
    """
    filled = outputs / round_up(outputs, processor().lanes)
    return Cost(2 * call.products / filled, 4 * (3 * reads + writes + 2 * math.prod(call.weight_shape)))


def _forward_cost(x, *others, call: ConvCall) -> Cost:
    return _cost(x.size, math.prod(call.y_shape), call.group_outputs, call)


def _input_grad_cost(g, weight, *, call: ConvCall) -> Cost:
    return _cost(g.size, math.prod(call.x_shape), call.group_channels, call)


def _weight_grad_cost(g, x, *, call: ConvCall) -> Cost:
    return _cost(x.size, g.size, call.group_outputs, call)


_SAYS = {
    "algo": "direct",
    "rank": 20,
    "supports": not_empty,
    "domain": lambda: {"empty": False},
    "dtypes": ("float32",),
}


@kernel(FORWARD, **_SAYS, cost=_forward_cost, workspace=_forward_workspace, records=1)
def conv2d_forward(x, weight, bias, *, call):
    return _forward(x, weight, bias, call)


@kernel(FORWARD_RELU, **_SAYS, cost=_forward_cost, workspace=_forward_workspace, records=1)
def conv2d_forward_relu(x, weight, bias, *, call):
    return _forward(x, weight, bias, call, rectified=True)


def _forward(x, weight, bias, call: ConvCall, rectified: bool = False):
    y = empty(call.y_shape, np.float32)  # (N, O, P, Q)
    x = np.ascontiguousarray(x)
    image = image_of(call)
    bias = np.zeros(call.outputs, np.float32) if bias is None else np.ascontiguousarray(bias)
    panels = prepacked(weight, ("direct", call.groups), lambda: _panels(weight, call))
    targets = np.arange(len(image.positions), dtype=np.int64)
    planes = y.reshape(call.images, call.outputs, len(targets))
    for chunk in image.chunks(call.images, call.groups):
        images = image.cut(x[chunk], call.groups)
        _correlate_all(image, images, panels, (bias, rectified), targets, planes[chunk])
        del images  # else they would still be held while the next chunk's are made
    return y


def _grouped(weight, groups: int):
    """The weights as one contiguous row per group."""
    return np.ascontiguousarray(weight).reshape(groups, weight.size // groups)


def _panels(weight, call: ConvCall):
    depth = np.arange(call.taps, dtype=np.int64)
    return pack_panels(_grouped(weight, call.groups), call.group_outputs, call.taps, depth)


@kernel(INPUT_GRAD, **_SAYS, cost=_input_grad_cost, workspace=_input_grad_workspace)
def conv2d_input_grad(g, weight, *, call):
    gradients = gradients_of(call)
    reached = sum(len(each.cells) for each in gradients)
    gx = (empty if reached == math.prod(call.size) else zeros)(call.x_shape, np.float32)
    planes = gx.reshape(call.images, call.channels, math.prod(call.size))
    g = np.ascontiguousarray(g)
    weights = _grouped(weight, call.groups)
    no_bias = np.zeros(call.channels, np.float32)
    for each in gradients:
        panels = pack_panels(weights, call.group_channels, math.prod(call.kernel_size), each.depth)
        for chunk in each.image.chunks(call.images, call.groups):
            images = each.image.cut(g[chunk], call.groups)
            _correlate_all(each.image, images, panels, (no_bias, False), each.cells, planes[chunk])
            del images
        del panels
    return gx


@kernel(WEIGHT_GRAD, **_SAYS, cost=_weight_grad_cost, workspace=_weight_grad_workspace)
def conv2d_weight_grad(g, x, *, call):
    groups, columns = call.groups, call.group_outputs
    gw = empty(call.weight_shape, np.float32)
    g, x = np.ascontiguousarray(g), np.ascontiguousarray(x)
    image = image_of(call)
    rows, steps = tiled(image.taps), image.positions.astype(np.int32)
    depth = np.arange(len(steps), dtype=np.int64)
    vectors = ceil_div(columns, processor().lanes)
    sums = zeros((groups, len(rows) * vectors * processor().lanes), np.float32)
    tiles, blocks = _blocks(len(image.taps), _TAPS)
    count = ceil_div(vectors, processor().widest)
    for chunk in image.chunks(call.images, groups):
        numbers = g[chunk].reshape((chunk.stop - chunk.start) * groups, columns * len(depth))
        panels = pack_panels(numbers, columns, len(depth), depth)
        panels = panels.reshape(chunk.stop - chunk.start, groups, panels.shape[-1])
        images = image.cut(x[chunk], groups)
        _sum_over_positions.run(
            groups * blocks * count, images, rows, steps, panels, vectors, tiles, blocks, sums
        )
        del images, panels, numbers  # else they would still be held while the next chunk's are made
    _unpack.run(groups * count, sums, len(rows), vectors, gw.reshape(groups, columns, call.taps))
    return gw
