"""Signals that ask a training to end, and the moments when they have to wait."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C, and SIGTERM if it is handled, wait for the end of a ``with`` block, which must be whole.

    The second one does not wait: whoever asks twice wants an end at once. In any thread but the main
    one there is nothing to do: Python handles no signals there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    waiting = []

    def hold(number, frame) -> None:
        waiting.append((number, frame))
        if len(waiting) > 1:
            handlers[number](number, frame)

    for number in handlers:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if len(waiting) == 1:
        number, frame = waiting[0]
        handlers[number](number, frame)
