"""Stand-ins: arrays of any shape that take a few bytes and have no values.

A stand-in is a NumPy array all of whose strides are 0. What is computed from its shape works as with any
array, and views of it are stand-ins. It is what tensors on the device ``meta`` hold: a network that runs
there tells the shapes of all its results, and, by `counting`, the memory that they would take, while nothing
is computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np


class LiveBytes:
    """The bytes that stand-ins would take, while they are alive.

    Attributes
    ----------
    now, peak : int
    """

    def __init__(self):
        self.now = self.peak = 0

    def add(self, count: int) -> None:
        self.now += count
        self.peak = max(self.peak, self.now)

    def pass_through(self, count: int) -> None:
        """Count what is there only for a moment."""
        self.peak = max(self.peak, self.now + count)


_counted: ContextVar[LiveBytes | None] = ContextVar("counted", default=None)


@contextmanager
def counting() -> Iterator[LiveBytes]:
    """Count the stand-ins that are made in the block, as long as they are alive."""
    live = LiveBytes()
    token = _counted.set(live)
    try:
        yield live
    finally:
        _counted.reset(token)


class Owner:
    """What a stand-in and its views refer to, as long as one of them is alive."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype):
        self._cell = np.zeros(1, dtype)
        self._bytes = math.prod(shape) * dtype.itemsize
        self._live = _counted.get()
        if self._live is not None:
            self._live.add(self._bytes)
        self.__array_interface__ = self._cell.__array_interface__ | {
            "shape": shape,
            "strides": (0,) * len(shape),
        }

    def __del__(self):
        if self._live is not None:
            self._live.now -= self._bytes


def stand_in(shape: Sequence[int], dtype: Any = np.float32) -> np.ndarray:
    """An array of a shape and dtype without values."""
    return np.asarray(Owner(tuple(shape), np.dtype(dtype)))


def is_stand_in(array) -> bool:
    """Whether an array is a stand-in or a view of one."""
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, Owner)


def _like(x, dtype=None) -> np.ndarray:
    x = np.asarray(x)
    return stand_in(x.shape, dtype or x.dtype)


class _StandInModule:
    """The part of NumPy that makes large arrays, for stand-ins; the rest is NumPy's own."""

    ndarray = np.ndarray

    def empty(self, shape, dtype: Any = np.float64) -> np.ndarray:
        return stand_in((shape,) if isinstance(shape, int) else shape, dtype)

    zeros = ones = empty

    def full(self, shape, value, dtype=None) -> np.ndarray:
        return self.empty(shape, np.asarray(value).dtype if dtype is None else dtype)

    def zeros_like(self, x, dtype=None) -> np.ndarray:
        return _like(x, dtype)

    ones_like = empty_like = zeros_like

    def asarray(self, x) -> np.ndarray:
        return x if is_stand_in(x) else _like(x)

    array = zeros_like

    def concatenate(self, arrays, axis: int, out: np.ndarray) -> np.ndarray:
        return out

    def where(self, condition, a, b) -> np.ndarray:
        arrays = [np.asarray(each) for each in (condition, a, b)]
        shape = np.broadcast_shapes(*(each.shape for each in arrays))
        return stand_in(shape, np.result_type(*arrays[1:]))

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


StandInModule = _StandInModule()
