"""Depthwise convolution, and convolution in groups of a few channels: vectors of adjacent positions.

A tile of `direct` multiplies a vector of output channels, of which a group may have only one. Here the vector
is a run of positions in a plane. A plane is copied, padded and laid out as
`minialex.kernels.conv2d.padded_image` says, into memory that stays in the cache; in its rows, one after
another, tap t of the window is at a constant offset from the position, also across the ends of rows:

    forward      y[o, u]  = sum over t of  weight[o, t] * image[offset[t] + u]
    input_grad   the same on g, for each class of cells
    weight_grad  gw[o, t] = sum over u of  g[o, u] * image[offset[t] + u]

u counts positions in rows as wide as the padded image's. Those beyond the Q of a row are computed and
dropped in the first two. In the third they are masked: g is zero there, and so is the image, because an
infinite number times zero would be NaN.

    rows x vectors of a tile    1 x 8    2 x 6    4 x 3     forward, input_grad; 4 x 2 without fused products
    rows x taps                 1 x 9    2 x 5    4 x 2     weight_grad

A tile has the planes of as many output channels as its rows, which share what is loaded of the image. A
plane that is too large for the cache is taken in strips of rows. Sums run over (c, i, j) in forward, over
(o, i, j) in input_grad and over (n, p, q), in as many parts as a vector has lanes, in weight_grad, in this
order for any number of threads. float32 only.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from minialex.integers import ceil_div
from minialex.kernels.contract.cost import CORES, Cost
from minialex.kernels.contract.registry import kernel
from minialex.kernels.conv2d import FORWARD, FORWARD_RELU, INPUT_GRAD, WEIGHT_GRAD
from minialex.kernels.conv2d.call import ConvCall
from minialex.kernels.conv2d.epilogue import rectify
from minialex.kernels.conv2d.padded_image import PaddedImage, gradients_of, sort_plane, whole_vectors
from minialex.kernels.gemm.processor import processor
from minialex.kernels.gemm.tile import bytes_of, copy_apart, copy_run, lanes, not_empty, zero_run
from minialex.kernels.runtime.compiled import Intrinsic, address, compiled
from minialex.kernels.runtime.memory import empty, zeros
from minialex.kernels.runtime.threads import num_threads

_MODULE = "minialex.kernels.conv2d._plane_code"

# Addresses and int64 numbers; strides are in bytes, offsets are int32, in float32 elements.

# (weights, their stride, bias, image, offsets, taps, sums, their stride): sums[m, u] for a tile's vectors.
plane_tile_1, plane_tile_2, plane_tile_4 = (Intrinsic(f"plane_tile_{rows}", _MODULE) for rows in (1, 2, 4))
# (g, its stride, mask, image, offsets, vectors, sums, their stride): adds to sums[m, tap, lane].
tap_tile_1, tap_tile_2, tap_tile_4 = (Intrinsic(f"tap_tile_{rows}", _MODULE) for rows in (1, 2, 4))

# Vectors, and taps, of the tiles with 1, 2 and 4 rows.
_VECTORS_1, _VECTORS_2, plane_vectors_4 = 8, 6, Intrinsic("plane_vectors_4", _MODULE)
_TAPS_1, _TAPS_2, _TAPS_4 = 9, 5, 2
_MOST_VECTORS, _MOST_TAPS = 8, 9

# Bytes of a strip of the padded planes of a group: with its sums, it stays in the L2 cache.
_STRIP_BYTES = 128 * 1024
# Numbers of an item, some ten microseconds of work; but there are at least so many items for each thread.
_ITEM, _LEAST_ITEMS = 2**14, 8
# Groups of more channels are left to `direct`, which then fills its vectors.
_MOST_CHANNELS = 16

# The columns of a table of parts: the padding that a part begins with, the rows and columns of its image, its
# positions, its taps, and its first cell in y.
_TOP, _LEFT, _HEIGHT, _WIDTH, _ROWS, _COLUMNS, _FIRST_TAP, _TAPS, _FIRST_ROW, _FIRST_COLUMN = range(10)


# Addresses are passed to functions, as in `padded_image`, and arrays to loops.


@compiled
def _plane_sums(weights, bias, outputs, taps, image, offsets, length, sums, stride):
    """The sums of some planes, `stride` apart, at `length` positions and more; arrays are addresses."""
    weight_stride, sum_stride, o = bytes_of(taps), bytes_of(stride), 0
    while o < outputs:
        line, shift, target = weights + o * weight_stride, bias + bytes_of(o), sums + o * sum_stride
        if outputs - o >= 4:
            for u in range(0, length, plane_vectors_4() * lanes()):
                at = bytes_of(u)
                plane_tile_4(line, weight_stride, shift, image + at, offsets, taps, target + at, sum_stride)
            o += 4
        elif outputs - o >= 2:
            for u in range(0, length, _VECTORS_2 * lanes()):
                at = bytes_of(u)
                plane_tile_2(line, weight_stride, shift, image + at, offsets, taps, target + at, sum_stride)
            o += 2
        else:
            for u in range(0, length, _VECTORS_1 * lanes()):
                at = bytes_of(u)
                plane_tile_1(line, weight_stride, shift, image + at, offsets, taps, target + at, sum_stride)
            o += 1


@compiled
def _store(line, width, rows, columns, target, target_width, steps):
    """Store positions, in rows `width` apart, at each `steps`-th row and column of a plane."""
    limit = target + bytes_of(rows * target_width)
    for _ in range(rows):
        if steps[1] > 1:
            copy_apart(line, bytes_of(1), target, bytes_of(steps[1]), columns)
        elif steps[0] > 1:
            copy_run(line, target, columns, columns // lanes())
        else:
            # Rows are adjacent, and in order: a vector may reach into the next one of the strip.
            copy_run(line, target, columns, whole_vectors(columns, target, limit))
        line += bytes_of(width)
        target += bytes_of(steps[0] * target_width)


@compiled.parallel
def _correlate(
    item,
    worker,
    x,
    x_shape,
    plan,
    phases,
    together,
    parts,
    offsets,
    weights,
    bias,
    y,
    y_shape,
    steps,
    images,
    sums,
    room,
    rectified,
):
    # x (N, G, C/G, H, W), weights: for each part (G, O/G, taps), one after another, bias (G, O/G),
    # y (N, G, O/G, P, Q), all flat. A part has each `steps`-th row and column of y.
    # An item is a few strips of groups.
    stride, kept, at_once, strips = plan
    groups, channels, size = x_shape[0], x_shape[1], x_shape[2:]
    outputs, y_height, y_width = y_shape
    image, line = address(images, worker * room[0]), address(sums, worker * room[1] * outputs)
    limit, end = image + bytes_of(room[0]), address(x, x.size)
    units = x.size // (channels * size[0] * size[1]) * strips
    for unit in range(item * together, min((item + 1) * together, units)):
        of_batch, strip = divmod(unit, strips)
        group, first = of_batch % groups, strip * at_once
        for k in range(len(parts)):
            rows = min(at_once, parts[k, _ROWS] - first)
            if rows <= 0:
                continue
            shape, taps = (parts[k, _HEIGHT], parts[k, _WIDTH]), parts[k, _TAPS]
            origin = (parts[k, _TOP] - first * stride[0], parts[k, _LEFT])
            plane = kept[0] * kept[1] * shape[0] * shape[1]
            for c in range(channels):
                source = address(x, (of_batch * channels + c) * size[0] * size[1])
                target = image + bytes_of(c * plane)
                sort_plane(source, end, size, origin, stride, address(phases), kept, shape, target, limit)
            columns, first_tap = parts[k, _COLUMNS], parts[k, _FIRST_TAP]
            _plane_sums(
                address(weights, (groups * first_tap + group * taps) * outputs),
                address(bias, group * outputs),
                outputs,
                taps,
                image,
                address(offsets, first_tap),
                (rows - 1) * shape[1] + columns,
                line,
                room[1],
            )
            first_cell = (parts[k, _FIRST_ROW] + first * steps[0]) * y_width + parts[k, _FIRST_COLUMN]
            for o in range(outputs):
                start = (of_batch * outputs + o) * y_height * y_width + first_cell
                numbers = line + bytes_of(o * room[1])
                _store(numbers, shape[1], rows, columns, address(y, start), y_width, steps)
                if rectified:
                    # Of forward, which has all columns.
                    rectify(y[start : start + rows * y_width])


@compiled
def _tap_sums(g, g_stride, outputs, mask, image, offsets, taps, vectors, sums, sum_stride):
    """Add to the sums (O/G, taps and more, lanes) the products of g and the image; all are addresses."""
    o = 0
    while o < outputs:
        line, target, tap = g + o * g_stride, sums + o * sum_stride, bytes_of(lanes())
        if outputs - o >= 4:
            for t in range(0, taps, _TAPS_4):
                table, place = offsets + bytes_of(t), target + t * tap
                tap_tile_4(line, g_stride, mask, image, table, vectors, place, sum_stride)
            o += 4
        elif outputs - o >= 2:
            for t in range(0, taps, _TAPS_2):
                table, place = offsets + bytes_of(t), target + t * tap
                tap_tile_2(line, g_stride, mask, image, table, vectors, place, sum_stride)
            o += 2
        else:
            for t in range(0, taps, _TAPS_1):
                table, place = offsets + bytes_of(t), target + t * tap
                tap_tile_1(line, g_stride, mask, image, table, vectors, place, sum_stride)
            o += 1


@compiled
def _spread(source, source_end, rows, columns, target, width):
    """Copy rows of g to rows `width` apart, with zeros between them, and beyond, as many as a vector has."""
    for _ in range(rows):
        vectors = whole_vectors(columns, source, source_end)
        copy_run(source, target, columns, vectors)
        beyond = target + bytes_of(columns)
        zero_run(beyond, width - columns, (width - columns + lanes() - 1) // lanes())
        source += bytes_of(columns)
        target += bytes_of(width)
    zero_run(target - bytes_of(width - columns), lanes(), 1)


@compiled.parallel
def _sum_over_positions(
    item,
    worker,
    g,
    g_shape,
    x,
    x_shape,
    plan,
    phases,
    part,
    offsets,
    taps,
    masks,
    gw,
    images,
    upstream,
    sums,
    room,
):
    # g (N, G, O/G, P, Q), x (N, G, C/G, H, W), gw (G, O/G, taps), all flat; masks (2, length and more): of a
    # whole strip and of the last; sums (threads, O/G, taps and more, lanes). An item is a group.
    stride, kept, at_once, strips = plan
    groups, channels, size = x_shape[0], x_shape[1], x_shape[2:]
    images_of_batch, outputs, positions, columns = g_shape
    shape, total = (part[_HEIGHT], part[_WIDTH]), sums[worker]
    plane = kept[0] * kept[1] * shape[0] * shape[1]
    image, line = address(images, worker * room[0]), address(upstream, worker * room[1] * outputs)
    limit, end, g_end = image + bytes_of(room[0]), address(x, x.size), address(g, g.size)
    total[:] = 0
    for n in range(images_of_batch):
        for strip in range(strips):
            first = strip * at_once
            rows = min(at_once, positions - first)
            origin = (part[_TOP] - first * stride[0], part[_LEFT])
            for c in range(channels):
                source = address(x, ((n * groups + item) * channels + c) * size[0] * size[1])
                target = image + bytes_of(c * plane)
                sort_plane(source, end, size, origin, stride, address(phases), kept, shape, target, limit)
            length = (rows - 1) * shape[1] + columns
            vectors = (length + lanes() - 1) // lanes()
            for o in range(outputs):
                source = address(g, (((n * groups + item) * outputs + o) * positions + first) * columns)
                target = line + bytes_of(o * room[1])
                _spread(source, g_end, rows, columns, target, shape[1])
            _tap_sums(
                line,
                bytes_of(room[1]),
                outputs,
                address(masks, 0 if rows == at_once else room[1]),
                image,
                address(offsets),
                taps,
                vectors,
                address(total),
                bytes_of(total.shape[1] * total.shape[2]),
            )
    for o in range(outputs):
        for t in range(taps):
            number = total[o, t, 0]
            for lane in range(1, lanes()):
                number += total[o, t, lane]
            gw[(item * outputs + o) * taps + t] = number


class _Plan:
    """The parts of a direction, in strips: what `_correlate` takes.

    Attributes
    ----------
    groups : int
    shape : (A, B)
        The remainders modulo the stride, of each part's image.
    parts : int64 array (parts, 10)
    steps : (int, int)
        Of the results, a part has each so many-th row and column.
    offsets : int32 array
        Of the taps of all parts.
    at_once, strips : int
        The rows of positions of a strip, and the number of strips.
    """

    def __init__(
        self,
        groups: int,
        images: list[PaddedImage],
        places: list[tuple[int, int, int, int]],
        at_once: int,
        steps: tuple[int, int],
    ):
        self.groups, self.image, self.steps = groups, images[0], steps
        self.at_once = at_once
        self.strips = ceil_div(max((rows for rows, *_ in places)), at_once)
        self.offsets = np.concatenate([image.taps for image in images]).astype(np.int32)
        table, first_tap = [], 0
        for image, (rows, columns, *first_cell) in zip(images, places, strict=True):
            height, width = image.shape[3:]
            taps = len(image.taps)
            table.append((*image.origin, height, width, rows, columns, first_tap, taps, *first_cell))
            first_tap += taps
        self.parts = np.array(table, np.int64)
        # A tile computes whole vectors, beyond the last position.
        beyond = _MOST_VECTORS * processor().lanes
        self.length = max(at_once * image.shape[4] for image in images) + beyond
        self.size = max(image.size for image in images) + beyond

    @property
    def geometry(self) -> tuple:
        """What compiled functions are told of the strips."""
        return (self.image.stride, self.image.shape[1:3], self.at_once, self.strips), self.image.remainders

    def scratch(self, outputs: int) -> tuple:
        """For each thread, the padded planes of a group and a line of positions for each output; their sizes.

        There are zeros where a tile reads beyond the planes.
        """
        images = zeros(num_threads() * self.size, np.float32)
        return images, empty(num_threads() * outputs * self.length, np.float32), (self.size, self.length)

    def bytes(self, outputs: int) -> int:
        """What these take."""
        return 4 * num_threads() * (self.size + outputs * self.length)


def _rows_at_once(channels: int, rows: int, width: int) -> int:
    """The rows of a strip, about as many in each, of `channels` images `width` cells wide."""
    most = max(1, _STRIP_BYTES // (4 * channels * width))
    return ceil_div(rows, ceil_div(rows, most))


@functools.lru_cache(maxsize=256)
def _forward_plan(call: ConvCall) -> _Plan:
    """One part: all positions."""
    vertical, horizontal = call.window
    rows, columns = call.positions
    at_once = _rows_at_once(call.group_channels, rows, vertical.stride * horizontal.size)
    window = call.window._replace(vertical=vertical._replace(positions=at_once))
    image = PaddedImage(call.group_channels, window)
    return _Plan(call.groups, [image], [(rows, columns, 0, 0)], at_once, (1, 1))


@functools.lru_cache(maxsize=256)
def _input_grad_plan(call: ConvCall) -> tuple[_Plan | None, list[np.ndarray]]:
    """A part for each class of cells, and where its weights are in a group's; None without a class."""
    classes = gradients_of(call)
    if not classes:
        return None, []
    at_once = _rows_at_once(call.group_outputs, ceil_div(call.size[0], call.stride[0]), call.positions[1])
    classes = gradients_of(call, at_once)
    places = [(len(each.rows), len(each.columns), each.rows[0], each.columns[0]) for each in classes]
    channels = np.arange(call.group_channels)[:, None] * math.prod(call.kernel_size)
    depths = [(channels + each.depth).ravel() for each in classes]  # (C/G, taps of the class)
    return _Plan(call.groups, [each.image for each in classes], places, at_once, call.stride), depths


def _run(plan: _Plan, x, weights, bias, y, rectified: bool = False) -> None:
    """Convolve x (N, C, H, W), in groups; results go to y (N, O, P, Q)."""
    groups = plan.groups
    outputs = y.shape[1] // groups
    units = len(x) * groups * plan.strips
    together = max(1, min(_ITEM * units // (x.size + y.size), units // (_LEAST_ITEMS * num_threads())))
    _correlate.run(
        ceil_div(units, together),
        x.reshape(-1),
        (groups, x.shape[1] // groups, *x.shape[2:]),
        *plan.geometry,
        together,
        plan.parts,
        plan.offsets,
        weights.reshape(-1),
        bias,
        y.reshape(-1),
        (outputs, *y.shape[2:]),
        plan.steps,
        *plan.scratch(outputs),
        rectified,
    )


def _forward_workspace(*arrays, call: ConvCall) -> int:
    return _forward_plan(call).bytes(call.group_outputs)


def _input_grad_workspace(*arrays, call: ConvCall) -> int:
    plan, _ = _input_grad_plan(call)
    return 0 if plan is None else plan.bytes(call.group_channels) + 4 * math.prod(call.weight_shape)


def _weight_grad_workspace(*arrays, call: ConvCall) -> int:
    return _forward_plan(call).bytes(call.group_outputs) + _tap_sums_of(call).nbytes


def _supports(*arrays, call: ConvCall) -> bool | str:
    if max(call.group_channels, call.group_outputs) > _MOST_CHANNELS:
        return f"only for groups of at most {_MOST_CHANNELS} channels"
    return not_empty(*arrays, call=call)


def _cost(*arrays, call: ConvCall) -> Cost:
    """The products, and the traffic of the images, which are read in place."""
    return Cost(2 * call.products, 4 * (math.prod(call.x_shape) + math.prod(call.y_shape)))


def _weight_grad_cost(*arrays, call: ConvCall) -> Cost:
    """The same by no more cores than there are groups."""
    idle = CORES / min(CORES, call.groups)
    return Cost(idle * 2 * call.products, 4 * (math.prod(call.x_shape) + math.prod(call.y_shape)))


_SAYS = {
    "algo": "depthwise",
    "rank": 20,
    "supports": _supports,
    "domain": lambda: {"empty": False},
    "dtypes": ("float32",),
}


@kernel(FORWARD, **_SAYS, cost=_cost, workspace=_forward_workspace, records=1)
def conv2d_forward(x, weight, bias, *, call):
    return _forward(x, weight, bias, call)


@kernel(FORWARD_RELU, **_SAYS, cost=_cost, workspace=_forward_workspace, records=1)
def conv2d_forward_relu(x, weight, bias, *, call):
    return _forward(x, weight, bias, call, rectified=True)


def _forward(x, weight, bias, call: ConvCall, rectified: bool = False):
    y = empty(call.y_shape, np.float32)
    x, weight = np.ascontiguousarray(x), np.ascontiguousarray(weight)
    bias = np.zeros(call.outputs, np.float32) if bias is None else np.ascontiguousarray(bias)
    _run(_forward_plan(call), x, weight, bias, y, rectified)
    return y


@kernel(INPUT_GRAD, **_SAYS, cost=_cost, workspace=_input_grad_workspace)
def conv2d_input_grad(g, weight, *, call):
    plan, depths = _input_grad_plan(call)
    reached = 0 if plan is None else sum(plan.parts[:, _ROWS] * plan.parts[:, _COLUMNS])
    gx = (empty if reached == math.prod(call.size) else zeros)(call.x_shape, np.float32)
    if plan is not None:
        grouped = np.ascontiguousarray(weight).reshape(call.groups, -1)
        weights = np.concatenate([grouped[:, depth].ravel() for depth in depths])
        no_bias = np.zeros(call.channels, np.float32)
        _run(plan, np.ascontiguousarray(g), weights, no_bias, gx)
    return gx


@functools.lru_cache(maxsize=256)
def _masks(call: ConvCall) -> np.ndarray:
    """Ones in all bits (int32) where a strip has a position, in each strip but the last, and in the last."""
    plan = _forward_plan(call)
    rows, columns = call.positions
    width = plan.image.shape[4]
    u = np.arange(plan.length)
    heights = np.array([[plan.at_once], [rows - (plan.strips - 1) * plan.at_once]])
    return -((u % width < columns) & (u // width < heights)).astype(np.int32)


def _tap_sums_of(call: ConvCall) -> np.ndarray:
    """For each thread, the sums of a group (O/G, taps, lanes), with taps that a tile may have beyond."""
    return empty(
        (num_threads(), call.group_outputs, call.taps + _MOST_TAPS - 1, processor().lanes), np.float32
    )


@kernel(WEIGHT_GRAD, **_SAYS, cost=_weight_grad_cost, workspace=_weight_grad_workspace)
def conv2d_weight_grad(g, x, *, call):
    plan, outputs = _forward_plan(call), call.group_outputs
    gw = empty(call.weight_shape, np.float32)
    images, lines, room = plan.scratch(outputs)
    _sum_over_positions.run(
        call.groups,
        np.ascontiguousarray(g).reshape(-1),
        (call.images, outputs, *call.positions),
        np.ascontiguousarray(x).reshape(-1),
        (call.groups, call.group_channels, *call.size),
        *plan.geometry,
        plan.parts[0],
        # A tile may have more taps than are left.
        np.pad(plan.offsets, (0, _MOST_TAPS - 1), "edge"),
        call.taps,
        _masks(call),
        gw.reshape(-1),
        images,
        lines,
        _tap_sums_of(call),
        room,
    )
    return gw
