"""Rows of a table, by their numbers."""

from __future__ import annotations

import numpy as np

from minialex.checks import is_int
from minialex.devices import to_numpy
from minialex.errors import DataError, ShapeError
from minialex.operations.layout import getitem
from minialex.operations.selection import where
from minialex.tensor import Tensor, require_tensor


def embedding(index, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """The rows of `weight` (M, D) that an array of ints names, of any shape: (..., D).

    Parameters
    ----------
    index : integers, an array or a tensor
        From 0 to M - 1.
    weight : Tensor (M, D)
    padding_idx : int, optional
        A row that gets no gradient.

    Raises
    ------
    DataError
        If a number is not one of a row.
    """
    require_tensor("embedding", weight)
    rows = to_numpy(index.data if isinstance(index, Tensor) else index)
    if weight.ndim != 2:
        raise ShapeError(f"embedding: weight must be (M, D), not {weight.shape}")
    if rows.dtype.kind not in "iu":
        raise DataError(f"embedding: index must be of integers, not {rows.dtype}")
    m = len(weight)
    if rows.size and not (rows.min() >= 0 and rows.max() < m):
        wrong = rows[(rows < 0) | (rows >= m)].ravel()[0]
        raise DataError(f"embedding: index must be from 0 to {m - 1}, not {wrong}")
    if padding_idx is not None:
        if not is_int(padding_idx, -m, m - 1):
            raise ShapeError(f"embedding: padding_idx must be from {-m} to {m - 1}, not {padding_idx!r}")
        padded = np.arange(m)[:, None] == padding_idx % m
        weight = where(padded, weight.detach(), weight)
    return getitem(weight, rows)
