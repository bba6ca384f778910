"""What softmax, log_softmax and cross-entropy do with a row, as compiled functions.

A row's sums and its maximum are taken in lanes, as in `minialex.kernels.reduction.features`: ``sums``
and ``tops`` hold a number for each lane, in float64 and in the row's dtype.
"""

import numpy as np

from minialex.kernels.reduction.features import LANES, total
from minialex.kernels.runtime.blocks import items_of
from minialex.kernels.runtime.compiled import compiled
from minialex.kernels.runtime.memory import empty
from minialex.kernels.runtime.threads import num_threads
from minialex.kernels.softmax.exponential import exp_float32

_EXP_COST = 4  # of an element with its exponential, relative to one of an update


def share_out(rows: np.ndarray) -> tuple[int, int]:
    """(items, rows an item) for rows (N, C)."""
    return items_of(len(rows), rows.shape[1] * _EXP_COST)


def scratch(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Memory for two ``sums`` and one ``tops`` for each thread."""
    lanes = min(rows.shape[1], LANES)
    return empty((num_threads(), 2, lanes), np.float64), empty((num_threads(), lanes), rows.dtype)


@compiled
def maximum(row, tops):
    """The largest number in a row. A NaN may be passed over: its exponential is NaN in any case."""
    tops[:] = row[0]
    for start in range(0, len(row), LANES):
        piece = row[start : start + LANES]
        for lane in range(len(piece)):
            tops[lane] = piece[lane] if piece[lane] > tops[lane] else tops[lane]
    top = tops[0]
    for lane in tops:
        top = lane if lane > top else top
    return top


@compiled
def exponentials(row, top, sums, result):
    """Write exp(row - top) to the result, and return its sum."""
    for i in range(len(row)):
        result[i] = exp_float32(row[i] - top)
    sums[:] = 0
    for start in range(0, len(row), LANES):
        powers = result[start : start + LANES]
        for lane in range(len(powers)):
            sums[lane] += powers[lane]
    return total(sums)


@compiled
def sum_and_product(a, b, offset, sums):
    """Return sum(a) and sum(a * (b - offset))."""
    of_a, of_product = sums[0], sums[1]
    sums[:] = 0
    for start in range(0, len(a), LANES):
        a_piece, b_piece = a[start : start + LANES], b[start : start + LANES]
        for lane in range(len(a_piece)):
            factor = np.float64(a_piece[lane])
            of_a[lane] += factor
            of_product[lane] += factor * (b_piece[lane] - offset)
    return total(of_a), total(of_product)
