"""Values for tests and checks, drawn from a NumPy generator."""

from __future__ import annotations

import numpy as np


def distinct_values(generator: np.random.Generator, shape, dtype=np.float64) -> np.ndarray:
    """Well-separated values: all differ by a quarter or more, and none is nearer to 0 than an eighth.

    No maximum is tied, and no finite difference steps over the kink of a maximum or of ReLU. All are
    multiples of an eighth, exact in float32.
    """
    size = int(np.prod(shape))
    ordered = (np.arange(size) - size // 2 + 0.5) / 4
    return generator.permutation(ordered).reshape(shape).astype(dtype)
