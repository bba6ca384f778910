"""Memory for the results and the scratch arrays of kernels.

A training step allocates large arrays and drops them again, the same ones in every step. Asking the system
for each costs a page fault for every 4 KiB touched, which takes longer than many kernels
compute. So large arrays come from an arena: address space that the process asks for once,
in segments, and keeps. A block is cut from the smallest free interval that holds it; it goes back, and
merges with its free neighbours, when the last view of its array is gone. (Knuth, The Art of Computer
Programming, volume 1, section 2.5: best fit with boundary tags.) Intervals at the ends of
segments are taken last, however small, that of the newest segment after the others: memory that was never
touched costs nothing. From large intervals small blocks are cut even later: they may stay, and then the
next large block would find no room.

The arena asks for huge pages where the system offers them: fewer faults, and fewer misses of the TLB.

tracemalloc counts the arena's arrays as it counts NumPy's.

A thread can take its memory from an arena of its own for a while (`taken_from`): what runs again later on the
same addresses (`minialex.kernels.runtime.recording`) must not share them with anything else.
"""

from __future__ import annotations

import atexit
import ctypes
import math
import mmap
import operator
import os
import threading
import tracemalloc
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minialex.integers import round_up
from minialex.stand_ins import Owner

# Below this, malloc itself keeps freed memory for the next array.
LARGE = 64 * 2**10
ALIGNMENT = 64
_SEGMENT = 2**32
# An interval this large is kept for blocks of more than an eighth of its size, while there is room elsewhere.
_LARGE_INTERVAL = 64 * 2**20
_AT_THE_END = 2**62
_TRACE_DOMAIN = 0x6D696E69
_PLAIN_KINDS = "biufc"


def empty(shape, dtype) -> np.ndarray:
    """An array whose contents are undefined, C-contiguous and aligned to 64 bytes if it is large.

    Parameters
    ----------
    shape : int or sequence of int
    dtype : dtype

    Raises
    ------
    MemoryError
        If the system has no address space for it; the message says how much was asked for.
    """
    dtype = np.dtype(dtype)
    shape = tuple(map(operator.index, shape)) if isinstance(shape, tuple | list) else (operator.index(shape),)
    size = math.prod(shape) * dtype.itemsize
    arena = _arena
    if _taken_from.arena is not None:
        arena, place = _taken_from.arena, _taken_from.place
        if place is not None and (place.shape, place.dtype) == (shape, dtype):
            _taken_from.place = None
            return place
    if (
        size < (LARGE if arena is _arena else 1)
        or dtype.kind not in _PLAIN_KINDS
        or min(shape, default=0) < 0
    ):
        return np.empty(shape, dtype)
    rounded = (size + ALIGNMENT - 1) & -ALIGNMENT
    try:
        start = arena.allocate(rounded)
    except MemoryError:
        raise MemoryError(
            f"there is no memory for an array of shape {shape} and dtype {dtype}: {size / 2**30:.2f} GiB, "
            f"beside {arena.in_use() / 2**30:.2f} GiB in other arrays"
        ) from None
    if tracemalloc.is_tracing():
        _track(_TRACE_DOMAIN, start, size)
    interface = {"version": 3, "shape": shape, "typestr": dtype.str, "data": (start, False)}
    return np.asarray(_Block(arena, start, rounded, interface))


def zeros(shape, dtype) -> np.ndarray:
    """An array of zeros, otherwise as `empty`."""
    return full(shape, 0, dtype)


def full(shape, value, dtype) -> np.ndarray:
    """An array of one value, otherwise as `empty`; not from an arena of this thread's own.

    What a kernel fills before its loops run must still be there when they run again.
    """
    array = empty(shape, dtype) if _taken_from.arena is None else np.empty(shape, dtype)
    array.fill(value)
    return array


class _TakenFrom(threading.local):
    """Where this thread's arrays come from, if not from the arena of the process."""

    arena: Arena | None = None
    place: np.ndarray | None = None


_taken_from = _TakenFrom()


@contextmanager
def taken_from(arena: Arena) -> Iterator[None]:
    """Inside the ``with`` block, take this thread's arrays of all sizes from an arena."""
    before, _taken_from.arena = _taken_from.arena, arena
    try:
        yield
    finally:
        _taken_from.arena = before


@contextmanager
def placed_at(place: np.ndarray | None) -> Iterator[None]:
    """Inside the ``with`` block, and one of `taken_from`, the first array of its shape and dtype is this."""
    _taken_from.place = place
    try:
        yield
    finally:
        _taken_from.place = None


def owns(array: np.ndarray) -> bool:
    """Whether an array is not a view of another, so that its memory is freed with it."""
    return array.base is None or isinstance(array.base, _Block | Owner)


def in_use() -> int:
    """Bytes of the arena that arrays occupy now."""
    return _arena.in_use()


def peak() -> int:
    """The most bytes of the arena occupied at one time, since the start or `reset_peak`."""
    return _arena.peak()


def reset_peak() -> None:
    """Restart the peak from what is in use now."""
    _arena.reset_peak()


def reserved() -> int:
    """Bytes of the arena's address space, of which the system backs only what was touched."""
    return _arena.reserved()


def trim() -> None:
    """Return the memory behind free parts of the arena to the system."""
    _arena.trim()


class Arena:
    """Blocks of memory, cut from segments.

    Addresses are ints. All methods but `release` take the lock. `release` is called by finalisers, which may
    run in the middle of any other method, in the same thread.

    Parameters
    ----------
    segment_bytes : int
        How much address space to ask for at a time; more where a block needs more.
    kept : bool
        Whether the segments stay until the process ends; else until the arena and its blocks are gone.
    """

    def __init__(self, segment_bytes: int = _SEGMENT, kept: bool = True):
        self._segment_bytes, self._kept = segment_bytes, kept
        self._segments: list[tuple[int, mmap.mmap]] = []
        self._by_size: list[tuple[int, int]] = []  # the free intervals: (`_rank`, start), sorted
        self._ends: dict[int, int] = {}  # of the segments: what an interval's rank is above its size
        self._size_at: dict[int, int] = {}  # by their first address
        self._start_before: dict[int, int] = {}  # by the address after their last
        self._in_use = self._peak = self._reserved = 0
        self._released: deque[tuple[int, int]] = deque()
        self._closed = False
        self.lock = threading.Lock()

    def allocate(self, size: int) -> int:
        """The address of a block of ``size`` bytes, a multiple of `ALIGNMENT`."""
        with self.lock:
            self._take_back()
            place = self._place(size)
            if place == len(self._by_size):
                self._add_segment(size)
                place = self._place(size)
            (_, start) = self._by_size.pop(place)
            length = self._size_at.pop(start)
            del self._start_before[start + length]
            if length > size:
                self._add_free(start + size, length - size)
            self._in_use += size
            self._peak = max(self._peak, self._in_use)
            return start

    def release(self, start: int, size: int) -> None:
        """Give a block back: now, or as soon as the method that holds the lock has ended."""
        self._released.append((start, size))
        if not self._closed and self.lock.acquire(False):
            try:
                self._take_back()
            finally:
                self.lock.release()

    def close(self) -> None:
        """Take nothing back from now on: the interpreter is shutting down."""
        self._closed = True

    def in_use(self) -> int:
        """Bytes in blocks."""
        with self.lock:
            self._take_back()
            return self._in_use

    def peak(self) -> int:
        """The most bytes in blocks at one time."""
        return self._peak

    def reset_peak(self) -> None:
        """Forget the peak."""
        with self.lock:
            self._take_back()
            self._peak = self._in_use

    def reserved(self) -> int:
        """Bytes in segments."""
        return self._reserved

    def free_intervals(self) -> list[tuple[int, int]]:
        """The free intervals: (address, size), in the order of their addresses."""
        with self.lock:
            self._take_back()
            return sorted(self._size_at.items())

    def view(self, array: np.ndarray) -> np.ndarray:
        """The same memory without a hold on its block, which can be free; an array from elsewhere itself."""
        start = array.__array_interface__["data"][0]
        for first, segment in self._segments:
            if first <= start < first + len(segment):
                return np.asarray(_View(segment, array.__array_interface__))
        return array

    def trim(self) -> None:
        """Return the whole pages of the free intervals to the system; they are zero when touched again."""
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        with self.lock:
            self._take_back()
            for first, segment in self._segments:
                for start, size in self._size_at.items():
                    begin = round_up(start - first, mmap.PAGESIZE)
                    end = (start + size - first) // mmap.PAGESIZE * mmap.PAGESIZE
                    if 0 <= begin < end <= len(segment):
                        segment.madvise(mmap.MADV_DONTNEED, begin, end - begin)

    def _place(self, size: int) -> int:
        """Where in `_by_size` the interval stands that a block is cut from; its length if none holds it."""
        by_size, most = self._by_size, max(8 * size, _LARGE_INTERVAL)
        for lowest in (0, *self._ends.values(), 0):
            place = bisect_left(by_size, (lowest + size, 0))
            if place < len(by_size) and by_size[place][0] < lowest + most:
                return place
            most = _AT_THE_END
        return len(by_size)

    def _rank(self, size: int, start: int) -> int:
        """An interval's size; more than any size at the end of a segment, the most at that of the newest."""
        return size + self._ends.get(start + size, 0)

    def _take_back(self) -> None:
        """Free what was released."""
        while self._released:
            start, size = self._released.popleft()
            self._in_use -= size
            end = start + size
            right = self._size_at.pop(end, 0)
            if right:
                self._forget_size(right, end)
                del self._start_before[end + right]
            left = self._start_before.pop(start, start)
            if left != start:
                self._forget_size(start - left, left)
                del self._size_at[left]
            self._add_free(left, end + right - left)

    def _add_free(self, start: int, size: int) -> None:
        insort(self._by_size, (self._rank(size, start), start))
        self._size_at[start] = size
        self._start_before[start + size] = start

    def _forget_size(self, size: int, start: int) -> None:
        del self._by_size[bisect_left(self._by_size, (self._rank(size, start), start))]

    def _add_segment(self, needed: int) -> None:
        """Ask the system for address space, and for less if it refuses."""
        # The last bytes stay unused, so that intervals of two segments do not merge.
        needed = round_up(needed + ALIGNMENT, mmap.PAGESIZE)
        size = max(self._segment_bytes, needed)
        while True:
            try:
                segment = _map(size)
                break
            except OSError:
                if size == needed:
                    raise MemoryError from None
                size = max(size // 4 // mmap.PAGESIZE * mmap.PAGESIZE, needed)
        if self._kept:
            # Arrays may outlive this module at interpreter shutdown: the segment is never unmapped.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(segment))
        first = ctypes.addressof(ctypes.c_char.from_buffer(segment))
        self._segments.append((first, segment))
        self._reserved += size
        self._ends[first + size - ALIGNMENT] = len(self._segments) * _AT_THE_END
        self._add_free(first, size - ALIGNMENT)


_track = ctypes.pythonapi.PyTraceMalloc_Track
_track.argtypes, _track.restype = [ctypes.c_uint, ctypes.c_size_t, ctypes.c_size_t], ctypes.c_int
_untrack = ctypes.pythonapi.PyTraceMalloc_Untrack
_untrack.argtypes, _untrack.restype = [ctypes.c_uint, ctypes.c_size_t], ctypes.c_int


class _Block:
    """The memory of one array, its base; freed when the last view is gone."""

    __slots__ = ("__array_interface__", "_arena", "_size", "_start")

    def __init__(self, arena: Arena, start: int, size: int, interface: dict):
        self._arena, self._start, self._size = arena, start, size
        self.__array_interface__ = interface

    # The defaults serve at interpreter shutdown, when module globals are gone.
    def __del__(self, is_tracing=tracemalloc.is_tracing, untrack=_untrack, domain=_TRACE_DOMAIN):
        if is_tracing():
            untrack(domain, self._start)
        self._arena.release(self._start, self._size)


class _View:
    """A part of a segment, which it keeps."""

    def __init__(self, segment: mmap.mmap, interface: dict[str, Any]):
        self._segment, self.__array_interface__ = segment, interface


def _map(size: int) -> mmap.mmap:
    if not hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size)
    # Private: a forked child continues with a copy of its own.
    segment = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            segment.madvise(mmap.MADV_HUGEPAGE)
        except OSError:  # a system without huge pages
            return segment
    return segment


_arena = Arena()
atexit.register(_arena.close)
if hasattr(os, "register_at_fork"):
    # A child must not start with intervals that another thread was changing.
    os.register_at_fork(
        before=_arena.lock.acquire, after_in_parent=_arena.lock.release, after_in_child=_arena.lock.release
    )
