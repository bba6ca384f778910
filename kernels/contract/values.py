"""Values without accidents: random, without ties, and away from 0."""

from __future__ import annotations

from typing import Any

import numpy as np


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
