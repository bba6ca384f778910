"""Padding: by a constant, or by what stands at and near the edge."""

from __future__ import annotations

import numpy as np

from minialex.autograd import Operation
from minialex.checks import in_words, is_int, is_number
from minialex.devices import array_module
from minialex.errors import ShapeError
from minialex.operations.layout import along, getitem
from minialex.tensor import Tensor, require_tensor

MODES = ("constant", "reflect", "replicate", "circular")


class Pad(Operation):
    """Padding by a constant; its gradient is what stands inside."""

    def __init__(self, widths: tuple[tuple[int, int], ...], value: float):
        self.widths, self.value = widths, value

    def forward(self, x):
        xp = array_module(self.device)
        y = xp.full(
            [n + before + after for n, (before, after) in zip(x.shape, self.widths, strict=True)],
            self.value,
            x.dtype,
        )
        y[self._inside(x.shape)] = x
        return y

    def _inside(self, shape):
        return tuple(slice(before, before + n) for n, (before, _) in zip(shape, self.widths, strict=True))

    def backward(self, g):
        return (getitem(g, self._inside(self.shapes[0])),)


def pad(x: Tensor, pad, mode: str = "constant", value: float | None = None) -> Tensor:
    """Add cells before and after, or with a negative number take some away.

    Parameters
    ----------
    x : Tensor
    pad : sequence of int
        Before and after for the last axis, then for the one before it, and so on (PyTorch's order): ``(left,
        right, top, bottom)`` for images.
    mode : "constant", "reflect", "replicate" or "circular"
        The value; the image mirrored at its edge cell, which is not repeated; its edge cell; its other side.
    value : float, optional
        Of "constant", 0 if not given.

    Raises
    ------
    ShapeError
        If `pad` does not fit the axes, a mirror reaches beyond the image, or nothing is left.
    """
    require_tensor("pad", x)
    if mode not in MODES:
        raise ShapeError(f"pad: mode must be one of {', '.join(map(repr, MODES))}, not {in_words(mode)}")
    if value is not None and not is_number(value):
        raise ShapeError(f"pad: value must be a number, not {in_words(value)}")
    given = tuple(pad) if isinstance(pad, tuple | list) else (pad,)
    if len(given) % 2 or len(given) > 2 * x.ndim or not all(is_int(n, -(2**31), 2**31) for n in given):
        raise ShapeError(
            f"pad: pad must be (before, after) for the last axes of {x.shape}, not {in_words(pad)}"
        )
    widths = [(0, 0)] * (x.ndim - len(given) // 2)
    widths += [(int(given[i]), int(given[i + 1])) for i in range(len(given) - 2, -1, -2)]
    if any(n + before + after < 0 for n, (before, after) in zip(x.shape, widths, strict=True)):
        raise ShapeError(f"pad: {pad} takes more cells away than {x.shape} has")
    kept = tuple(
        slice(max(-before, 0), n - max(-after, 0)) for n, (before, after) in zip(x.shape, widths, strict=True)
    )
    added = tuple((max(before, 0), max(after, 0)) for before, after in widths)
    if mode != "constant":
        return _from_the_image(x, widths, mode)
    inside = x if all(min(pair) >= 0 for pair in widths) else getitem(x, kept)
    if not any(map(any, added)):
        return inside
    return Pad(added, 0.0 if value is None else float(value))(inside)


def _from_the_image(x: Tensor, widths, mode: str) -> Tensor:
    """Padding by cells of the image: along one axis after the other, the cells are named by an index."""
    shape = x.shape
    for axis, (before, after) in enumerate(widths):
        if before == after == 0:
            continue
        n = shape[axis]
        most = {"reflect": n - 1, "circular": n, "replicate": 2**31 if n else 0}[mode]
        if max(before, after) > most:
            raise ShapeError(f"pad: {mode} by {(before, after)} reaches beyond dim {axis} of {shape}")
        places = np.arange(-before, n + after)
        if mode == "reflect":
            places = np.abs(places)
            places = np.where(places >= n, 2 * (n - 1) - places, places)
        elif mode == "replicate":
            places = np.clip(places, 0, n - 1)
        else:
            places %= n
        x = getitem(x, along(axis, places))
    return x
