"""Pooling to a given size: position p of P over H cells has the cells floor(p H / P) to ceil((p + 1) H / P).

Where P divides H they are the windows of an ordinary pool, and its kernels run. Where it does not, the mean
is a product with a matrix of shares along each axis, and the maximum one of slices: compositions.
"""

from __future__ import annotations

import numpy as np

from minialex.checks import in_words, is_int
from minialex.devices import to_device_array
from minialex.errors import ShapeError
from minialex.integers import ceil_div
from minialex.operations.avg_pool2d import avg_pool2d
from minialex.operations.joining import stack
from minialex.operations.layout import along, getitem
from minialex.operations.max_pool2d import max_pool2d
from minialex.operations.reduction import amax
from minialex.operations.resizing import along_both
from minialex.tensor import Tensor, require_tensor


def _output_size(name: str, x: Tensor, output_size) -> tuple[int, int]:
    require_tensor(name, x)
    if x.ndim != 4 or 0 in x.shape[2:]:
        raise ShapeError(f"{name}: the input must be (N, C, H, W) with cells, not {x.shape}")
    given = tuple(output_size) if isinstance(output_size, tuple | list) else (output_size, output_size)
    sizes = tuple(n if out is None else out for n, out in zip(x.shape[2:], given, strict=False))
    if len(given) != 2 or not all(is_int(n, 1) for n in sizes):
        raise ShapeError(
            f"{name}: output_size must be a positive int or None, or two of them, not {in_words(output_size)}"
        )
    return sizes[0], sizes[1]


def _ordinary(x: Tensor, sizes: tuple[int, int]) -> tuple[int, int] | None:
    """The kernel of an ordinary pool with these windows; None if there is none."""
    h, w = x.shape[2:]
    return None if h % sizes[0] or w % sizes[1] else (h // sizes[0], w // sizes[1])


def _bounds(n: int, out: int) -> list[tuple[int, int]]:
    return [(i * n // out, ceil_div((i + 1) * n, out)) for i in range(out)]


def adaptive_avg_pool2d(x: Tensor, output_size) -> Tensor:
    """Means over windows that follow from the size of the result.

    Parameters
    ----------
    x : Tensor (N, C, H, W)
    output_size : int or (P, Q)
        None for a length keeps that of the input.

    Returns
    -------
    Tensor (N, C, P, Q)
    """
    sizes = _output_size("adaptive_avg_pool2d", x, output_size)
    kernel = _ordinary(x, sizes)
    if kernel is not None:
        return x if kernel == (1, 1) else avg_pool2d(x, kernel)
    rows, columns = (_shares(n, out, x) for n, out in zip(x.shape[2:], sizes, strict=True))
    return along_both(x, rows, columns)


def _shares(n: int, out: int, x: Tensor) -> Tensor:
    shares = np.zeros((out, n), x.dtype)
    for row, (start, end) in zip(shares, _bounds(n, out), strict=True):
        row[start:end] = 1 / (end - start)
    return Tensor(to_device_array(shares, x.device), device=x.device)


def adaptive_max_pool2d(x: Tensor, output_size) -> Tensor:
    """Maxima over windows that follow from the size of the result; see `adaptive_avg_pool2d`."""
    sizes = _output_size("adaptive_max_pool2d", x, output_size)
    kernel = _ordinary(x, sizes)
    if kernel is not None:
        return x if kernel == (1, 1) else max_pool2d(x, kernel)
    for axis in (2, 3):
        slices = (
            getitem(x, along(axis, slice(start, end)))
            for start, end in _bounds(x.shape[axis], sizes[axis - 2])
        )
        x = stack([amax(part, axis) for part in slices], axis)
    return x
