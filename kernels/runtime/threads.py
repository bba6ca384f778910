"""The threads that share the work of one kernel call.

A pool of threads runs compiled loops, which release the GIL while they compute. The caller
is one of the threads. Each has a range of the items, which it takes a few at a time where there are many; one
that has finished its range goes on to those of the others, so that a thread slowed down by the system
takes fewer. Neighbouring items read and write neighbouring memory, often the two halves of a cache line:
if two threads took turns in them, the lines would bounce between their processors.

How many: `set_num_threads`, or the environment variable ``MINIALEX_NUM_THREADS`` before the start, or
as many as the process may use. Results are the same bits for any number. The pool is the only
source of threads here: compiled loops never call BLAS, and NumPy's kernels, whose BLAS has threads of its
own, run only in the caller.

The caller hands a launch to the workers through their mailboxes (`minialex.kernels.runtime.mailbox`). A
worker that has done its task polls its mailbox for a while (`_PATIENCE`), in compiled code, and so finds
the next one at once where launches follow each other closely. Then it sleeps, and the next caller wakes it.

While one thread of a program uses the pool, kernels called from another run on that thread only. A
forked child starts a pool of its own. An error raised by a loop in any thread is raised in the caller.
"""

from __future__ import annotations

import functools
import math
import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np

from minialex import control_groups
from minialex.checks import require_int
from minialex.config import declare, set_for_process, setting
from minialex.errors import KernelError
from minialex.kernels.runtime.mailbox import FAILED, IDLE, STATE, buffer_words

_VARIABLE = "MINIALEX_NUM_THREADS"
_PATIENCE = 2e-3  # seconds that a worker polls its mailbox before it sleeps,
_TIMES = 2  # and how many times that once a launch has begun whose task may come
_NAP = 20e-6  # seconds between a caller's looks at a worker that is slow to finish
NOBODY = np.zeros(0, np.int64)  # no mailboxes


def available_threads() -> int:
    """How many processors this process may use: its affinity, within its container's quota."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = control_groups.processors()
    # Threads beyond the quota would take turns, each waiting for one that is not running.
    return processors if quota is None else max(1, min(processors, math.ceil(quota)))


def num_threads() -> int:
    """How many threads share the work of a kernel call.

    Raises
    ------
    KernelError
        If ``MINIALEX_NUM_THREADS`` is not a positive whole number.
    """
    return _call.threads or setting("threads") or _default_threads()


class _Call(threading.local):
    """The kernel call under way in this thread."""

    threads: int | None = None


_call = _Call()


class number_kept:
    """A block in which `num_threads` stays what it is at the start, whatever another thread sets.

    A kernel asks for it when it cuts its work and makes scratch memory for each thread, and the pool once
    more when it hands the work out.

    Parameters
    ----------
    most : int, optional
        Make it no more than that.
    """

    __slots__ = ("_most", "_outer")

    def __init__(self, most: int | None = None):
        self._most = most

    def __enter__(self) -> None:
        self._outer, number = _call.threads, num_threads()
        _call.threads = number if self._most is None else min(number, self._most)

    def __exit__(self, *_) -> None:
        _call.threads = self._outer


@functools.cache
def _default_threads() -> int:
    given = os.environ.get(_VARIABLE)
    if given is None:
        return available_threads()
    number = int(given) if given.strip().isdecimal() else given
    return require_int(_VARIABLE, number, 1, error=KernelError)


def set_num_threads(number: int | None) -> None:
    """Set how many threads share the work of a kernel call; None restores the default.

    Raises
    ------
    KernelError
        If the number is not a positive int.
    """
    set_for_process(threads=number)


def _require_threads(number: Any) -> int | None:
    return None if number is None else require_int("threads", number, 1, error=KernelError)


declare("threads", _require_threads)


class Loop(Protocol):
    """A compiled loop, as the pool sees it; see `minialex.kernels.runtime.compiled.CompiledLoop`."""

    @property
    def launch(self) -> Any: ...

    @property
    def serve(self) -> Any: ...

    def __call__(self, *arguments) -> Any: ...


class _Worker(threading.Thread):
    """A thread with a mailbox."""

    def __init__(self, index: int, pool: _Pool):
        super().__init__(name=f"minialex-{index}", daemon=True)
        self.index, self.pool = index, pool
        self.mailbox = np.zeros(48, np.int64)[16:32]  # in cache lines of its own
        self.asleep = False
        self.alarm: SimpleQueue = SimpleQueue()
        self.start()

    def run(self) -> None:
        pool, mailbox, in_vain = self.pool, self.mailbox.ctypes.data, 0
        while True:
            in_vain = 0 if pool.serve(mailbox, self.index, pool.patience) else in_vain + 1
            self.asleep = True
            # A caller sets `helpers` first and then looks at `asleep`; here it is the other way
            # round. So one of the two sees the other, and no launch is slept through.
            if pool.helpers >= self.index and in_vain < _TIMES:
                self.asleep = False
            else:
                self.alarm.get()
                in_vain = 0

    def wake(self) -> None:
        self.asleep = False
        self.alarm.put(None)


class _Pool:
    def __init__(self):
        self.busy = threading.Lock()
        self.workers: list[_Worker] = []
        self.mailboxes = NOBODY  # their addresses
        self.buffer = _new_buffer(1)
        self.helpers = 0  # of the launch under way
        self.serve: Any = None  # what `Loop.serve` gave; the first caller sets it
        self.patience = 0  # in looks at a mailbox

    def run(self, loop: Loop, items: int, arguments: tuple) -> None:
        helpers = min(num_threads(), items) - 1
        if helpers < 1 or not self.busy.acquire(blocking=False):
            failed = loop.launch(NOBODY, _new_buffer(1), 0, items, *arguments)
        else:
            try:
                failed = self.share(helpers, loop, items, arguments)
            finally:
                self.helpers = 0
                self.busy.release()
        if failed:
            # An error cannot leave machine code that runs in a thread, so raise it again here.
            for item in range(items):
                loop(item, 0, *arguments)
            raise KernelError("a compiled loop failed, and did not when it was run again")

    def share(self, helpers: int, loop: Loop, items: int, arguments: tuple) -> bool:
        """Run a loop on the caller and some workers; whether it failed."""
        if len(self.workers) < helpers:
            self.hire(helpers, loop.serve)
        working = self.workers[:helpers]
        self.helpers = len(working)
        for worker in working:
            if worker.asleep:
                worker.wake()
        try:
            failed = loop.launch(
                self.mailboxes[: len(working)], self.buffer, self.patience, items, *arguments
            )
        finally:
            _wait_for(working)
        return bool(failed) or any(worker.mailbox[FAILED] for worker in working)

    def hire(self, number: int, serve: Callable) -> None:
        if self.serve is None:
            self.serve = serve
            self.patience = _looks_within(_PATIENCE, self.serve)
        while len(self.workers) < number:
            try:
                self.workers.append(_Worker(len(self.workers) + 1, self))
            except RuntimeError:  # the system, or an interpreter at shutdown, allows no more threads
                break
        self.mailboxes = np.array([worker.mailbox.ctypes.data for worker in self.workers], np.int64)
        self.buffer = _new_buffer(1 + len(self.workers))


def _looks_within(seconds: float, serve: Callable) -> int:
    """How many times a worker polls its mailbox in this time."""
    empty, looks = np.zeros(4, np.int64), 2000
    shortest = float("inf")
    for _ in range(4):  # the first compiles
        start = time.perf_counter()
        serve(empty.ctypes.data, 0, looks)
        shortest = min(shortest, time.perf_counter() - start)
    return max(1, int(looks * seconds / shortest))


def _wait_for(workers: list[_Worker]) -> None:
    """Wait for those still running: what they read and write must live until they end."""
    interruption = None
    for worker in workers:
        while worker.mailbox[STATE] != IDLE:
            try:
                time.sleep(_NAP)
            except BaseException as error:
                interruption = error
    if interruption is not None:
        raise interruption


def _new_buffer(threads: int) -> np.ndarray:
    return np.empty(buffer_words(threads), np.int64)


_pool = _Pool()


def _forget_pool() -> None:
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def run(loop: Loop, items: int, arguments: tuple) -> None:
    """Call a loop's body for 0, 1, ..., items - 1, on all threads."""
    _pool.run(loop, items, arguments)
