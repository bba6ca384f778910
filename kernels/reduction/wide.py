"""Sums in float64, for the kernels that leave theirs to NumPy."""

import numpy as np


def wide_sum(x: np.ndarray, axis: int | tuple[int, ...], keepdims: bool = False) -> np.ndarray:
    """Add up in float64 and round once, to the dtype of x; integers and bools as NumPy adds them.

    NumPy adds pairwise along the axis that lies side by side in memory, and one after another along all
    others. In float32 a million times 0.1 is 100958 there, and 16,777,216 ones are as many as there can be.
    """
    if x.dtype.kind != "f":
        return np.sum(x, axis=axis, keepdims=keepdims)
    wide = np.result_type(x.dtype, np.float64)
    return np.sum(x, axis=axis, keepdims=keepdims, dtype=wide).astype(x.dtype, copy=False)
