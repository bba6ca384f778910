"""The loops of some kernel calls, recorded, to be run again on new values in the same memory.

    recording = Recording()
    with recording:
        y = run("conv2d.forward", "cpu", x, weight, bias, call=call)
    x[...] = other
    run_again(recording.launches)      # y is the convolution of the other values

A kernel first decides in Python which loops to run, on which arrays, cut into which items; then the loops
run. Small layers take longer to decide than to compute, and decide the same for every image. What a
recording keeps is each launch: a loop, its number of items, its arguments.

While it is made, memory comes from an arena of the recording, where the scratch of one layer becomes that of
the next as it does elsewhere; nothing else will use these addresses, so the loops can be run again on them.
They find there what was there last: what Python has filled or packed before a loop must lie elsewhere
(`minialex.kernels.runtime.memory.full`). A kernel says that its calls can be recorded by
``records`` (`minialex.kernels.contract.registry.Kernel`).

What runs elsewhere in between, in NumPy, a recording knows nothing of: see `minialex.nn.recorded`.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from minialex.kernels.runtime import memory, threads

_SEGMENT = 2**28  # bytes of address space


class _Current(threading.local):
    """The recording that this thread is making."""

    recording: Recording | None = None


_current = _Current()


class Recording:
    """Launches of loops in their order, and the memory that they work in.

    Inside a ``with`` block, it hears of the launches of this thread, and of its calls of kernels.

    Parameters
    ----------
    segment_bytes : int
        How much address space to ask for at a time.

    Attributes
    ----------
    arena : Arena
        Where its memory comes from.
    launches : list of (loop, int, tuple)
        Loops with their numbers of items and their arguments.
    calls : list of (Kernel, tuple, result)
        The calls of kernels, their arguments, and what they returned, since the list was last cleared.
    threads : int
        For how many the launches have scratch memory.
    """

    def __init__(self, segment_bytes: int = _SEGMENT):
        self.arena = memory.Arena(segment_bytes, kept=False)
        self.launches: list[tuple[Any, int, tuple]] = []
        self.calls: list[tuple[Any, tuple, Any]] = []
        self.threads = threads.num_threads()

    def __enter__(self) -> Recording:
        if _current.recording is not None:
            raise RuntimeError("a recording is under way in this thread")
        _current.recording = self
        self._memory = memory.taken_from(self.arena)
        self._memory.__enter__()
        return self

    def __exit__(self, *_) -> None:
        _current.recording = None
        self._memory.__exit__(None, None, None)

    def view(self, argument: Any) -> Any:
        """An array of the recording's arena without a hold on its block; anything else itself."""
        return self.arena.view(argument) if isinstance(argument, np.ndarray) else argument


def hear_call(kernel: Any, arrays: tuple, result: Any) -> None:
    """Tell this thread's recording of a call of a kernel."""
    if _current.recording is not None:
        _current.recording.calls.append((kernel, arrays, result))


def hear_launch(loop: Any, items: int, arguments: tuple) -> None:
    """Tell this thread's recording of a launch."""
    recording = _current.recording
    if recording is not None:
        recording.launches.append((loop, items, tuple(map(recording.view, arguments))))


def run_again(launches: list[tuple[Any, int, tuple]]) -> None:
    """Run loops that were recorded, by no more threads than `threads.num_threads` says."""
    for loop, items, arguments in launches:
        threads.run(loop, items, arguments)
