"""Whether Python may look at the values of tensors: not while a run is recorded for other values, too."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from minialex.errors import GraphError


class _Refusal(threading.local):
    message: str | None = None


_refusal = _Refusal()


@contextmanager
def reading_refused(message: str) -> Iterator[None]:
    """In this thread, refuse what takes the values out of tensors, or changes them in place.

    That is ``numpy()``, ``item()``, ``bool(t)``, ``t.add_(1)``, the winners of a pooling.
    """
    before, _refusal.message = _refusal.message, message
    try:
        yield
    finally:
        _refusal.message = before


def require_readable() -> None:
    """Raise `GraphError` while reading is refused."""
    if _refusal.message is not None:
        raise GraphError(_refusal.message)
