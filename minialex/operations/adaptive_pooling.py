"""Pooling to a given size: position p of P over H cells has the cells floor(p H / P) to ceil((p + 1) H / P).

Where P divides H they are the windows of an ordinary pool, and its kernels run. Where it does not, the mean
and the maximum are those of slices, along one axis after the other: compositions.
"""

from __future__ import annotations

from collections.abc import Callable

from minialex.checks import in_words, is_int
from minialex.errors import ShapeError
from minialex.integers import ceil_div
from minialex.operations.avg_pool2d import avg_pool2d
from minialex.operations.inputs import require_floats
from minialex.operations.joining import stack
from minialex.operations.layout import along, getitem
from minialex.operations.max_pool2d import max_pool2d
from minialex.operations.reduction import amax, mean
from minialex.tensor import Tensor


def _output_size(name: str, x: Tensor, output_size) -> tuple[int, int]:
    require_floats(name, x)
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
    return _of_slices(x, sizes, mean)


def adaptive_max_pool2d(x: Tensor, output_size) -> Tensor:
    """Maxima over windows that follow from the size of the result; see `adaptive_avg_pool2d`."""
    sizes = _output_size("adaptive_max_pool2d", x, output_size)
    kernel = _ordinary(x, sizes)
    if kernel is not None:
        return x if kernel == (1, 1) else max_pool2d(x, kernel)
    return _of_slices(x, sizes, amax)


def _of_slices(x: Tensor, sizes: tuple[int, int], reduce: Callable) -> Tensor:
    """What `reduce` makes of each window's rows, then of its columns."""
    for axis, size in zip((2, 3), sizes, strict=True):
        slices = (getitem(x, along(axis, slice(start, end))) for start, end in _bounds(x.shape[axis], size))
        x = stack([reduce(part, axis) for part in slices], axis)
    return x
