"""Max-pooling with one NumPy operation per cell of the window, over all positions at once."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.contract.windows import Window, tap_slices
from minialex.kernels.max_pool2d import EVALUATE, FORWARD, GATHER, SCATTER
from minialex.kernels.runtime import memory


@kernel(FORWARD, algo="plain", rank=10)
def max_pool2d_forward(x, *, call):
    window, y_shape = call.window, call.y_shape
    taps = list(tap_slices(window))
    y = memory.empty(y_shape, x.dtype)  # (N, C, P, Q)
    y.fill(-np.inf)
    index = memory.empty(y_shape, np.int32)
    number = {tap: i for i, tap in enumerate(np.ndindex(*window.kernel_size))}
    small = np.uint8 if len(number) <= 256 else np.uint32
    first = np.zeros(window.positions, small)  # the first tap inside the image wins where all are -inf
    for tap, at_y, _ in reversed(taps):
        first[at_y] = number[tap]
    cells = _tap_cells(window)
    # Image by image, so that planes stay in the cache while the window's cells pass over them.
    for image in range(len(x)):
        winner = np.empty(y_shape[1:], small)  # the index of the winning tap: (C, P, Q)
        winner[:] = first
        for tap, at_y, at_x in taps:
            value, best = x[image][:, *at_x], y[image][:, *at_y]
            # Tap indices rise, so the last strict improvement has the largest index.
            wins = (value > best).view(np.uint8) * small(number[tap])
            np.maximum(winner[:, *at_y], wins, out=winner[:, *at_y])
            np.maximum(best, value, out=best)
        np.take(cells[0], winner, out=index[image])
        index[image] += cells[1]
    if np.isnan(y).any():
        _point_at_first_nan(x, index, taps)
    return y, index


@kernel(EVALUATE, algo="plain", rank=10)
def max_pool2d_evaluate(x, *, call):
    y = memory.empty(call.y_shape, x.dtype)  # (N, C, P, Q)
    y.fill(-np.inf)
    for _, at_y, at_x in tap_slices(call.window):
        best = y[:, :, *at_y]
        np.maximum(best, x[:, :, *at_x], out=best)
    return y


def _tap_cells(window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Two int32 tables whose sum is the cell, row * W + column, that a tap reads at a position.

    The first is indexed by tap, the second (P, Q) by position.
    """
    width = window.horizontal.size
    row, column = (np.arange(axis.kernel) * axis.dilation for axis in window)
    of_tap = np.add.outer(row * width, column).ravel()
    row, column = (np.arange(axis.positions) * axis.stride - axis.before for axis in window)
    of_position = np.add.outer(row * width, column)
    return of_tap.astype(np.int32), of_position.astype(np.int32)


def _point_at_first_nan(x, index, taps):
    """Let the index of each window that holds a NaN point at its first one."""
    cells = np.arange(x[0, 0].size, dtype=np.int32).reshape(x.shape[2:])
    for _, at_y, at_x in reversed(taps):
        np.copyto(index[:, :, *at_y], cells[at_x], where=np.isnan(x[:, :, *at_x]))


@kernel(SCATTER, algo="plain", rank=10)
def max_pool2d_scatter(g, index, *, input_size):
    n, channels = g.shape[:2]
    cells = input_size[0] * input_size[1]
    gx = memory.empty((n, channels * cells), g.dtype)
    planes = np.arange(channels, dtype=np.int64).reshape(-1, 1, 1) * cells
    # bincount adds in float64; cells are numbered consecutively over all planes.
    for image in range(n):
        gx[image] = np.bincount(
            (index[image] + planes).ravel(), weights=g[image].ravel(), minlength=channels * cells
        )
    return gx.reshape(n, channels, *input_size)


@kernel(GATHER, algo="plain", rank=10)
def max_pool2d_gather(x, index):
    n, channels, height, width = x.shape
    planes = x.reshape(n, channels, height * width)
    chosen = index.reshape(n, channels, index.shape[2] * index.shape[3])
    return np.take_along_axis(planes, chosen, axis=2).reshape(index.shape)
