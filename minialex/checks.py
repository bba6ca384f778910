"""What an argument is, for checks whose message each caller words for its reader.

A bool is a number to Python, but ``batch_size=True`` is a slip and not a one: none of these takes it for
a number.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np


def is_int(value: object, low: int, high: float = math.inf) -> bool:
    """Whether a value is an int, Python's or NumPy's, from `low` to `high`."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(low <= value <= high)


def is_number(value: object) -> bool:
    """Whether a value is a real number, Python's or NumPy's, that a float holds; NaN and infinities are."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def in_words(value: Any) -> str:
    """A value as it stands in a message of one line: short, and an array by its dtype and shape."""
    if getattr(value, "shape", ()):
        return f"an array of {value.dtype} and shape {value.shape}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
