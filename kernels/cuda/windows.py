"""Sliding windows whose cells an ``int`` can number, padding included."""

from __future__ import annotations

from minialex.errors import KernelError
from minialex.kernels.contract.windows import Window
from minialex.kernels.cuda.launcher import MAX_ELEMENTS


def require_int_cells(operation: str, window: Window) -> None:
    """Refuse a padding so large that the place of a window's cell would overflow an ``int``.

    A window fits into the padded image: so where it starts and how far it reaches, dilation included, are
    below the padded size, and their sum below twice that.

    Raises
    ------
    KernelError
        If the padded image has more than 2**30 rows or columns.
    """
    for name, axis in zip(("rows", "columns"), window, strict=True):
        if axis.size + axis.before + axis.after > MAX_ELEMENTS:
            raise KernelError(
                f"{operation}: the padded image has {axis.before} + {axis.size} + {axis.after} {name}, above "
                "2**30, where the place of a window's cell would overflow an int; use less padding"
            )
