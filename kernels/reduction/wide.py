"""Sums in float64, for the kernels that leave theirs to NumPy."""

import numpy as np


def wide_sum(x: np.ndarray, axis: int | tuple[int, ...], keepdims: bool = False) -> np.ndarray:
    """Sum in float64 and round once, to the dtype of x; integers and bools as NumPy sums them.

    NumPy sums pairwise along the contiguous axis, and sequentially along all others. There, in float32, a
    million times 0.1 is 100958, and no number of ones adds up to more than 16,777,216.
    """
    if x.dtype.kind != "f":
        return np.sum(x, axis=axis, keepdims=keepdims)
    wide = np.result_type(x.dtype, np.float64)
    return np.sum(x, axis=axis, keepdims=keepdims, dtype=wide).astype(x.dtype, copy=False)
