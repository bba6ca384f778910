"""Rows of a table, by their numbers: indexing, with a name and checks of its own."""

from __future__ import annotations

import numpy as np

from minialex.checks import is_int, require_only
from minialex.devices import to_numpy
from minialex.errors import DataError, ShapeError
from minialex.operations.layout import getitem
from minialex.operations.selection import where
from minialex.reading import require_readable
from minialex.tensor import Tensor, require_tensor


def require_plain(name: str, max_norm, scale_grad_by_freq, sparse) -> None:
    """Raise `ShapeError` unless these options of PyTorch's are left as they are."""
    limit = "scale the rows of the table yourself, after each step"
    require_only(f"{name}max_norm", max_norm, None, limit, error=ShapeError)
    gradient = "divide by the counts in a hook of the table, register_hook"
    require_only(f"{name}scale_grad_by_freq", scale_grad_by_freq, False, gradient, error=ShapeError)
    require_only(f"{name}sparse", sparse, False, "gradients are dense arrays", error=ShapeError)


def embedding(
    index,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of `weight` (M, D) that an array of ints names, of any shape: (..., D).

    Parameters
    ----------
    index : integers, an array or a tensor
        From 0 to M - 1.
    weight : Tensor (M, D)
    padding_idx : int, optional
        A row that gets no gradient.
    max_norm, norm_type, scale_grad_by_freq, sparse
        PyTorch's, to be left out: there are no limits of norms, and no sparse gradients.

    Raises
    ------
    ShapeError
        If the table has other axes, there is no row for the padding, or an option is not there.
    DataError
        If a number is not one of a row.
    """
    require_tensor("embedding", weight)
    require_plain("embedding: ", max_norm, scale_grad_by_freq, sparse)
    require_readable()
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
