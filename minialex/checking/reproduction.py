"""Writing a check down as lines of Python that repeat it when they are pasted."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np

# Beyond this many numbers an array is only described.
_PRINTED = 200


def array_lines(arrays: Sequence[np.ndarray]) -> list[str]:
    """Lines that make the arrays again, bit for bit, as x0, x1, ...; large ones are left to the reader."""
    lines = []
    for i, array in enumerate(arrays):
        if array.size > _PRINTED:
            lines.append(f"x{i} = ...  # input {i}: {array.dtype} {array.shape}, as it was passed")
            continue
        numbers = ", ".join(map(repr, array.ravel().tolist()))
        text = f"x{i} = np.array([{numbers}], {array.dtype.name!r}).reshape({array.shape})"
        lines += textwrap.wrap(text, 100, break_long_words=False, subsequent_indent="    ")
    return lines


def options_text(**options) -> str:
    """Keyword arguments, without those that are None."""
    return "".join(f", {name}={value!r}" for name, value in options.items() if value is not None)
