"""The padded image, laid out so that a window's cells are at constant offsets from its position.

Rows and columns are sorted by their remainder modulo the stride, and the A and B remainders that some tap
reads are kept: (C, A, B, H', W'). Adjacent positions then read adjacent numbers at any stride, and tap (i, j)
is at a constant offset from the position.

The input gradient at stride s: the cells of gx with the same remainders modulo s are reached by the same
taps, so each of these classes is a convolution of g, at stride 1, with those taps in reverse. There are at
most s * s, and no more than the window has taps; a cell of no class is 0.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

from minialex.integers import ceil_div
from minialex.kernels.contract.windows import Axis, Window
from minialex.kernels.contract.workspace import workspace_limit
from minialex.kernels.conv2d.call import ConvCall
from minialex.kernels.gemm.tile import bytes_of, copy_apart, copy_run, gather_pairs, lanes, tiled, zero_run
from minialex.kernels.runtime.compiled import address, compiled, word
from minialex.kernels.runtime.memory import empty


class PaddedImage:
    """The padded image of one group of channels, as (C, A, B, H', W'), and offsets into it."""

    def __init__(self, channels: int, window: Window):
        taps = [np.arange(axis.kernel) * axis.dilation for axis in window]
        self.origin, self.stride = window.before, window.stride
        # The remainders modulo the stride: (A,) and (B,).
        self.phases = tuple(np.unique(tap % axis.stride) for tap, axis in zip(taps, window, strict=True))
        rows, columns = window.positions
        self.shape = (
            channels,
            *(len(phases) for phases in self.phases),
            *(axis.positions + int(tap[-1]) // axis.stride for tap, axis in zip(taps, window, strict=True)),
        )
        _, _, across, height, width = self.shape
        self.size = math.prod(self.shape)
        # (P, Q) and (C, KH, KW), flat.
        self.positions = np.add.outer(np.arange(rows) * width, np.arange(columns)).ravel()
        down, right = window.stride
        in_plane = np.add.outer(
            self.phases[0].searchsorted(taps[0] % down) * across * height * width + taps[0] // down * width,
            self.phases[1].searchsorted(taps[1] % right) * height * width + taps[1] // right,
        )
        self.taps = np.add.outer(np.arange(channels) * math.prod(self.shape[1:]), in_plane).ravel()

    @functools.cached_property
    def remainders(self) -> np.ndarray:
        """The phases, those of rows first."""
        return np.concatenate(self.phases).astype(np.int64)

    @functools.cached_property
    def position_rows(self) -> np.ndarray:
        """The positions as the rows of whole tiles."""
        return tiled(self.positions)

    @functools.cached_property
    def tap_steps(self) -> np.ndarray:
        """The taps as the steps of a product."""
        return self.taps.astype(np.int32)

    def cut(self, x: np.ndarray, groups: int) -> np.ndarray:
        """Images x (n, C, H, W), contiguous, as (n, groups, size): a copy, padded and sorted, if need be."""
        if self.is_plain(x.shape[2:]):
            return x.reshape(len(x), groups, self.size)
        padded = empty(x.shape[0] * x.shape[1] * math.prod(self.shape[1:]), np.float32)
        geometry = x.shape[2:], self.origin, self.stride, self.remainders, self.shape[1:3], self.shape[3:]
        _sort_image.run(x.shape[0] * x.shape[1], x.reshape(-1), *geometry, padded)
        return padded.reshape(len(x), groups, self.size)

    def is_plain(self, size: tuple[int, ...]) -> bool:
        """Whether images of this size (H, W) are laid out so as they are."""
        return (*self.origin, *self.stride, *self.shape[1:]) == (0, 0, 1, 1, 1, 1, *size)

    def chunks(self, images: int, groups: int) -> list[slice]:
        """Slices of images whose padded copies fit the workspace limit."""
        size = max(1, workspace_limit() // (4 * groups * self.size))
        size = ceil_div(images, ceil_div(images, size)) if images else 1
        return [slice(first, min(first + size, images)) for first in range(0, images, size)]


@functools.lru_cache(maxsize=256)
def image_of(call: ConvCall) -> PaddedImage:
    """The padded image that the forward pass and the weight gradient read."""
    return PaddedImage(call.group_channels, call.window)


class _Cells:
    """The cells of gx along one axis that are reached by the same taps.

    Cell h is read at output position p through tap i where h + before = p * stride + i * dilation. For
    the cells with (h + before) % stride = r these are the taps with (i * dilation) % stride = r: for the
    cell with (h + before) // stride = t, position t - (i * dilation) // stride.
    """

    def __init__(self, first: int, axis: Axis):
        self.cells = np.arange(first, axis.size, axis.stride)
        distance = np.arange(axis.kernel) * axis.dilation
        self.taps = np.flatnonzero(distance % axis.stride == (first + axis.before) % axis.stride)
        back = distance[self.taps] // axis.stride
        farthest = int(back[-1]) if len(back) else 0
        # The padding before g that makes the first cell's farthest tap the first cell of the padded g.
        before = farthest - (first + axis.before) // axis.stride
        self.of_g = Axis(axis.positions, farthest + 1, 1, before, 0, 1, len(self.cells))
        self.shifts = farthest - back

    @classmethod
    def reached(cls, axis: Axis) -> list[_Cells]:
        """The classes that some tap reaches: no more than there are taps, however large the stride."""
        firsts = np.unique((np.arange(axis.kernel) * axis.dilation - axis.before) % axis.stride)
        return [cls(first, axis) for first in firsts[firsts < axis.size].tolist()]


class GradientOfCells:
    """The input gradient of one class of cells, as a convolution of g at stride 1.

    Parameters
    ----------
    call : ConvCall
    rows, columns : _Cells
    rows_at_once : int, optional
        Lay the image out for this many rows of the class's cells; all by default.

    Attributes
    ----------
    image : PaddedImage
        The padded g.
    rows, columns : int arrays
        The rows and columns of gx that hold the cells.
    cells : int64 array
        Where the cells are in a plane of gx.
    depth : int64 array
        Where the weights of one input channel are within a group's: (O/G, I, J), flat.
    """

    def __init__(self, call: ConvCall, rows: _Cells, columns: _Cells, rows_at_once: int | None = None):
        along_rows = rows.of_g
        if rows_at_once is not None:
            along_rows = along_rows._replace(positions=min(rows_at_once, along_rows.positions))
        self.image = image = PaddedImage(call.group_outputs, Window(along_rows, columns.of_g))
        self.rows, self.columns = rows.cells, columns.cells
        height, width = image.shape[3:]
        in_plane = np.add.outer(rows.shifts * width, columns.shifts).ravel()
        image.taps = np.add.outer(np.arange(call.group_outputs) * height * width, in_plane).ravel()
        self.cells = np.add.outer(rows.cells * call.size[1], columns.cells).ravel().astype(np.int64)
        in_window = np.add.outer(rows.taps * call.kernel_size[1], columns.taps).ravel()
        self.depth = (
            np.add.outer(np.arange(call.group_outputs) * call.taps, in_window).ravel().astype(np.int64)
        )


@functools.lru_cache(maxsize=256)
def gradients_of(call: ConvCall, rows_at_once: int | None = None) -> list[GradientOfCells]:
    """The classes of cells of gx; cells of no class have a gradient of 0."""
    classes = itertools.product(*map(_Cells.reached, call.window))
    return [GradientOfCells(call, rows, columns, rows_at_once) for rows, columns in classes]


# The functions below take addresses: an array would be passed as a dozen numbers, and counted, which takes
# longer than to copy a short row. Copies may end in a whole vector, beyond the row, but not beyond a limit.


@compiled
def whole_vectors(count, at, limit):
    """How many vectors `count` numbers at an address may be written as."""
    vectors = (count + lanes() - 1) // lanes()
    return vectors if at + bytes_of(vectors * lanes()) <= limit else count // lanes()


@compiled
def sort_plane(source, source_end, size, origin, stride, phases, kept, shape, target, limit):
    """Copy a plane (H, W) = `size` into (A, B, H', W'), (H', W') = `shape`, padded and sorted.

    `phases` is where the A and the B remainders modulo the stride are, one after another, (A, B) = `kept`;
    `origin` is the padding at the top and at the left. The array of the source ends at `source_end`. What
    follows the target, up to `limit`, may be overwritten.
    """
    (height, width), (top, left), (down, right), (padded_rows, padded) = size, origin, stride, shape
    for i in range(kept[0]):
        for j in range(kept[1]):
            a, b = word(phases, i), word(phases, kept[0] + j)
            first = min(max(-((b - left) // right), 0), padded)
            last = min(max(-((b - left - width) // right), first), padded)
            for r in range(padded_rows):
                h = r * down + a - top
                if h < 0 or h >= height or first == last:
                    zero_run(target, padded, whole_vectors(padded, target, limit))
                else:
                    zero_run(target, first, whole_vectors(first, target, limit))
                    start = source + bytes_of(h * width + first * right + b - left)
                    inside, count = target + bytes_of(first), last - first
                    vectors = whole_vectors(count, inside, limit)
                    if right <= 2 and start + bytes_of(vectors * lanes() * right) > source_end:
                        vectors -= 1
                    if right == 1:
                        copy_run(start, inside, count, vectors)
                    elif right == 2:
                        gather_pairs(start, inside, count, vectors)
                    else:
                        copy_apart(start, bytes_of(right), inside, bytes_of(1), count)
                    beyond = target + bytes_of(last)
                    zero_run(beyond, padded - last, whole_vectors(padded - last, beyond, limit))
                target += bytes_of(padded)


@compiled.parallel
def _sort_image(item, worker, x, size, origin, stride, phases, kept, shape, padded):
    # x (n * C * H * W), padded (n * C * A * B * H' * W'). An item is a plane.
    length = kept[0] * kept[1] * shape[0] * shape[1]
    source, target = address(x, item * size[0] * size[1]), address(padded, item * length)
    limit = target + bytes_of(length)
    sort_plane(source, address(x, x.size), size, origin, stride, address(phases), kept, shape, target, limit)
