"""Checks of arguments: what a value is, and errors that say what is allowed and what was given.

A bool is a number to Python, but ``batch_size=True`` is a mistake, not a 1: no check takes it for a number.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from numbers import Real
from types import ModuleType
from typing import Any, Literal

import numpy as np

from minialex.errors import MiniAlexError

# Seeds and epochs are 64-bit words of a Philox key.
MAX_SEED = 2**64 - 1
# Whether the ends of an interval belong to it, as mathematicians write it: [0, 1) is 0 <= x < 1.
Bounds = Literal["[]", "[)", "(]", "()"]
# A tuple that stands ready is asked faster than a union that each call makes.
_INTEGERS = (int, np.integer)
_FLAGS = (bool, np.bool_)


def is_int(value: object, low: float = -math.inf, high: float = math.inf) -> bool:
    """Whether a value is an int, Python's or NumPy's, from `low` to `high`."""
    return isinstance(value, _INTEGERS) and not isinstance(value, bool) and bool(low <= value <= high)


def is_number(value: object) -> bool:
    """Whether a value is a real number, Python's or NumPy's, that fits a float; NaN and infinities count."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def in_words(value: Any) -> str:
    """A value for a message of one line: shortened, and an array as its dtype and shape."""
    if getattr(value, "shape", ()) and hasattr(value, "dtype"):
        return f"an array of {value.dtype} and shape {value.shape}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def require_int(
    name: str, value: Any, low: int, high: float = math.inf, *, error: type = MiniAlexError
) -> int:
    """Return `value` as an int, or raise `error`: it must be an int from `low` to `high`."""
    if not is_int(value, low, high):
        allowed = f"{low:,} or more" if high == math.inf else f"from {low:,} to {high:,}"
        raise error(f"{name} must be an integer {allowed}, not {in_words(value)}")
    return int(value)


def is_within(value: Any, low: float, high: float = math.inf, bounds: Bounds = "[]") -> bool:
    """Whether a value is a number of an interval. NaN never is; infinity is where the interval has it."""
    # A comparison is false for NaN, and exact for an integer.
    return (
        is_number(value)
        and bool(low <= value <= high)
        and not (bounds[0] == "(" and value == low)
        and not (bounds[1] == ")" and value == high)
    )


def number_in_words(low: float, high: float = math.inf, bounds: Bounds = "[]") -> str:
    """What a message calls a number of an interval, such as "a number 0 or more and below 1"."""
    if high == math.inf:
        return f"a number {low:g} or more" if bounds[0] == "[" else f"a number above {low:g}"
    return {
        "[]": f"a number from {low:g} to {high:g}",
        "[)": f"a number {low:g} or more and below {high:g}",
        "(]": f"a number above {low:g} and at most {high:g}",
        "()": f"a number between {low:g} and {high:g}",
    }[bounds]


def require_number(
    name: str,
    value: Any,
    low: float,
    high: float = math.inf,
    bounds: Bounds = "[]",
    *,
    error: type = MiniAlexError,
) -> float:
    """Return `value` as a float, or raise `error`: it must be a number of the interval, not NaN."""
    if not is_within(value, low, high, bounds):
        raise error(f"{name} must be {number_in_words(low, high, bounds)}, not {in_words(value)}")
    return float(value)


def require_share(name: str, value: Any, *, error: type = MiniAlexError) -> float:
    """Return `value` as a float, or raise `error`: it must be a number between 0 and 1, exclusive."""
    return require_number(name, value, 0, 1, "()", error=error)


def require_flag(name: str, value: Any, *, error: type = MiniAlexError) -> bool:
    """Return `value` as a bool, or raise `error`: it must be True or False, Python's or NumPy's."""
    if not isinstance(value, _FLAGS):
        raise error(f"{name} must be True or False, not {in_words(value)}")
    return bool(value)


def require_choice(name: str, value: Any, choices: Sequence[str], *, error: type = MiniAlexError) -> str:
    """Return `value`, or raise `error`: it must be one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        *others, last = map(repr, choices)
        allowed = f"{', '.join(others)} or {last}" if others else last
        raise error(f"{name} must be {allowed}, not {in_words(value)}")
    return value


def require_only(name: str, value: Any, allowed: Any, why: str, *, error: type = MiniAlexError) -> None:
    """Raise `error` unless an option has the one value that there is here; `why` says what to do instead."""
    if value is not allowed and value != allowed:
        raise error(f"{name} must be {allowed!r}, not {in_words(value)}: {why}")


def require_module(name: str, purpose: str, install: str, *, error: type = MiniAlexError) -> ModuleType:
    """Import a package that only some functions need, or raise `error`, which says how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError as reason:
        raise error(f"{purpose} needs a package that is missing ({reason}): {install}") from None
