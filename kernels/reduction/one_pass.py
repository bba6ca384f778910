"""Sums over the axes around the kept ones, in one pass.

The gradient of a convolution's bias is such a sum: of (N, C, H, W) over (0, 2, 3). The running sums are
in float64. Sums over only the first axes are left to NumPy, which adds whole rows.
"""

import math

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.reduction import SUM
from minialex.kernels.reduction.features import LANES, features_per_item, long_rows, short_rows, total
from minialex.kernels.reduction.shape import sum_shape
from minialex.kernels.runtime.compiled import compiled
from minialex.kernels.runtime.memory import empty
from minialex.kernels.runtime.threads import num_threads


def _around_kept(shape, axis):
    """The shape as (outer, kept, inner), or None if a summed axis lies between kept ones."""
    kept = [i for i, n in enumerate(shape) if n > 1 and i not in axis]
    if not kept:
        return None
    first, end = kept[0], kept[-1] + 1
    if any(n > 1 and i in axis for i, n in enumerate(shape[first:end], first)):
        return None
    return tuple(math.prod(part) for part in (shape[:first], shape[first:end], shape[end:]))


def _sum_supports(x, *, axis, keepdims):
    if x.size == 0:
        return "x is empty"
    if not x.flags.c_contiguous:
        return "x is not C-contiguous"
    split = _around_kept(x.shape, axis)
    if split is None:
        return f"axis={axis} of shape {x.shape} does not leave adjacent axes"
    return short_rows(split[2]) or True


def _sum_domain():
    return {"layout": "C", **long_rows()}


@compiled
def _add_row(row, sums):
    for start in range(0, len(row), LANES):
        piece = row[start : start + LANES]
        for lane in range(len(piece)):
            sums[lane] += piece[lane]


@compiled
def _add_four_rows(a, b, c, d, sums):
    # Four rows for each load and store of the running sums, which otherwise take most of the time.
    for start in range(0, len(a), LANES):
        end = start + LANES
        a_piece, b_piece, c_piece, d_piece = a[start:end], b[start:end], c[start:end], d[start:end]
        for lane in range(len(a_piece)):
            left = np.float64(a_piece[lane]) + np.float64(b_piece[lane])
            right = np.float64(c_piece[lane]) + np.float64(d_piece[lane])
            sums[lane] += left + right


@compiled.parallel
def _sum_rows(item, worker, x, chunk, sums, y):
    outer, features, _ = x.shape
    first = item * chunk
    own = min(chunk, features - first)
    sums = sums[worker]
    sums[:own] = 0
    fours = outer - outer % 4
    for n in range(0, fours, 4):
        for f in range(first, first + own):
            _add_four_rows(x[n, f], x[n + 1, f], x[n + 2, f], x[n + 3, f], sums[f - first])
    for n in range(fours, outer):
        for f in range(first, first + own):
            _add_row(x[n, f], sums[f - first])
    for f in range(own):
        y[first + f] = total(sums[f])


@kernel(SUM, algo="one-pass", rank=20, supports=_sum_supports, domain=_sum_domain, records=1)
def sum_forward(x, *, axis, keepdims):
    outer, features, inner = _around_kept(x.shape, axis) or (0, 0, 0)  # supported, so it is not None
    chunk = features_per_item(outer, features, inner)
    sums = empty((num_threads(), chunk, min(inner, LANES)), np.float64)
    y = empty(sum_shape(x.shape, axis=axis, keepdims=keepdims), x.dtype)
    x = x.reshape(outer, features, inner)
    _sum_rows.run(math.ceil(features / chunk), x, chunk, sums, y.reshape(features))
    return y
