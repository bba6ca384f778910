"""The largest launches on any GPU so far: CUDA C++ Programming Guide, "Technical Specifications"."""

from __future__ import annotations

from minialex.checks import in_words, is_int
from minialex.errors import KernelError

MAX_GRID = (2**31 - 1, 65535, 65535)
MAX_BLOCK = (1024, 1024, 64)
MAX_THREADS = 1024
"""Of a block, all axes together."""


def three_axes(name: str, given, most: tuple[int, int, int], least: int = 1) -> tuple[int, int, int]:
    """A grid or a block, given as an int or one to three of them, with three axes; `name` is for messages.

    Raises
    ------
    KernelError
        If it is anything else, or an axis is not in the range from `least` to `most`.
    """
    axes = given if isinstance(given, tuple | list) else (given,)
    if not 1 <= len(axes) <= 3 or not all(map(is_int, axes)):
        raise KernelError(f"{name} must be one to three integers, not {in_words(given)}")
    x, y, z = tuple(map(int, axes)) + (1,) * (3 - len(axes))
    axes = x, y, z
    for axis, size, limit in zip("xyz", axes, most, strict=True):
        if not least <= size <= limit:
            raise KernelError(f"{name} must be {least} to {limit} along {axis}, not {given!r}")
    return axes
