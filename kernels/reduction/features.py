"""Arrays seen as (outer, features, inner), and how kernels that sum over outer and inner share them out.

A batch of images (N, C, H, W) with its channels as features is (N, C, H * W); any axis can be the features'.
"""

from __future__ import annotations

import math

import numpy as np

from minialex.kernels.contract.registry import Sizes
from minialex.kernels.runtime.blocks import SMALL
from minialex.kernels.runtime.compiled import compiled

LANES = 64
"""How many running sums a feature has: element i of a row is added to sum i modulo LANES.

Adjacent sums are vector additions; a single running sum would have to keep the order in which it is
written. They are in float64, so that only the last rounding shows.
"""

_RUN = 2048  # elements that are contiguous in memory: 8 KiB of float32
_ITEMS = 16


def as_features(x: np.ndarray, axis: int) -> np.ndarray:
    """The array as (outer, features, inner), C-contiguous; a copy only if it has another layout."""
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    return np.ascontiguousarray(x).reshape(outer, x.shape[axis], inner)


def features_per_item(outer: int, features: int, inner: int) -> int:
    """How many features one thread takes at a time.

    A run of some KiB of each row, but at least 16 items if there are enough features; everything if the
    array is small. It depends only on the shape, and so do the sums.
    """
    if outer * features * inner <= SMALL:
        return features
    return max(1, min(_RUN // inner, features // _ITEMS))


_LEAST_ROW = 4


def long_rows() -> dict[str, Sizes]:
    """The `domain` of a kernel that leaves short rows to others: the elements after the features' axis."""
    return {"inner": Sizes(_LEAST_ROW)}


def short_rows(inner: int) -> str | None:
    """Why rows of this length are left to NumPy, which works on whole arrays; None if they are not."""
    if inner < _LEAST_ROW:
        return f"rows of {inner} element(s) are too short for a loop of their own"
    return None


@compiled
def total(lanes):
    """The sum of the running sums, one after another."""
    total = 0.0
    for lane in lanes:
        total += lane
    return total
