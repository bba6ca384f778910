"""The argument checks that several files of this package share."""

import importlib
import reprlib
from types import ModuleType

import numpy as np

from minialex.errors import DataError

# Seeds and epochs are 64-bit words of a Philox key (see permutation.py).
MAX_SEED = 2**64 - 1


def integer(name: str, value: object, low: int, high: int) -> int:
    """Return `value` as an int after checking that it is one, from `low` to `high`.

    A bool is refused: `batch_size=True` is a slip, not a one.

    Raises
    ------
    DataError
        If `value` is not a Python or NumPy integer, or lies outside the range.
    """
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_integer or not low <= value <= high:
        raise DataError(f"{name} must be an integer from {low:,} to {high:,}, got {reprlib.repr(value)}")
    return int(value)


def optional_module(name: str, purpose: str, install: str) -> ModuleType:
    """Import a package that only some functions need, or say how to get it.

    Raises
    ------
    DataError
        If the package, or one that it needs itself, is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(f"{purpose} needs a package that is missing ({error}): {install}") from None
