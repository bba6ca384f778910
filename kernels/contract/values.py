"""Values that calls are filled with, drawn from a NumPy generator: random, but without accidents.

Each function takes a generator, a shape and a dtype, and returns an array.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def normal_values(generator: np.random.Generator, shape, dtype: Any = np.float64) -> np.ndarray:
    """Standard normal values."""
    return generator.standard_normal(shape).astype(dtype)


def positive_values(generator: np.random.Generator, shape, dtype: Any = np.float64) -> np.ndarray:
    """Values from 0.5 to 2: for logarithms, roots, divisors and second moments."""
    return generator.uniform(0.5, 2, shape).astype(dtype)


def distinct_values(
    generator: np.random.Generator, shape, dtype: Any = np.float64, *, shift: int = 0
) -> np.ndarray:
    """Well-separated values: any two differ by a quarter or more, and none is closer to 0 than an eighth.

    No maximum is tied, and no finite difference crosses the kink of a maximum or of ReLU. All are
    multiples of an eighth, exact in float32. They are centred on 0, or `shift` quarters above.
    """
    size = int(np.prod(shape))
    ordered = (np.arange(size) - size // 2 + shift + 0.5) / 4
    return generator.permutation(ordered).reshape(shape).astype(dtype)
