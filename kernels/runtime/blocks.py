"""Cutting flat arrays into blocks that fit the cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minialex.integers import ceil_div

# Six blocks of float32 (an Adam update with its two scratch arrays) take half of a 1 MiB cache.
BLOCK = 2**15

# Below this many elements a kernel is done before a second thread starts.
SMALL = 2**17


def items_of(length: int, elements: int = 1) -> tuple[int, int]:
    """(items, rows an item) to share out rows of `elements` each: blocks, or one item if there are few."""
    rows = length if length * elements <= SMALL else max(1, BLOCK // elements)
    return ceil_div(length, max(1, rows)), rows


def blocks(*arrays: np.ndarray | None) -> Iterator[tuple[Any, ...]]:
    """Yield the arrays' flat views, block by block; an array that is None stays None.

    Raises
    ------
    ValueError
        If an array is not C-contiguous: its flat view would be a copy.
    """
    flat = []
    for array in arrays:
        if array is not None and not array.flags.c_contiguous:
            raise ValueError(f"an array of shape {array.shape} is not C-contiguous")
        flat.append(None if array is None else array.reshape(-1))
    for start in range(0, flat[0].size, BLOCK):
        yield tuple(None if array is None else array[start : start + BLOCK] for array in flat)
