"""Keeping the checker out of what Hypothesis explains.

Hypothesis runs failing examples again with a tracer, and prints which lines only failing examples ran. A
failed check runs lines of the checker, and of NumPy for it, that no passing one runs: they say nothing about
the function that is checked. `Pause` stops the tracer while the checker runs, and starts it again inside the
functions that the checker calls, which are the user's own.

Hypothesis traces by `sys.settrace` or, from Python 3.12, by `sys.monitoring` as the tool "scrutineer". Other
tracers (coverage, debuggers) go on.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable

_TOOL = "scrutineer"


class Pause:
    """A block in which Hypothesis does not trace, if it did before.

    with Pause() as pause:
        check(pause.lifted(forward), pause.lifted(vjp))
    """

    def __enter__(self) -> Pause:
        switches = _switches()
        self.traced = switches is not None
        self._stop, self._start = switches or (_nothing, _nothing)
        self._stop()
        return self

    # One line, which passing and failing checks run: it is traced again.
    def __exit__(self, *_) -> None:
        self._start()

    def lifted(self, function, *, objects: bool = True):
        """A function that is traced as it would be without the pause; itself, if nothing was to be traced.

        What cannot be called, and classes, is given back as it is; without `objects` whatever is not a plain
        function, too: where it matters what an object is, such as a module of PyTorch's, and not only what it
        does.
        """
        takes = (
            callable(function) and not inspect.isclass(function) if objects else inspect.isfunction(function)
        )
        if not (self.traced and takes):
            return function

        @functools.wraps(function, updated=())
        def traced(*arguments, **options):
            __tracebackhide__ = True
            self._start()
            try:
                return function(*arguments, **options)
            finally:
                self._stop()

        if not hasattr(function, "__qualname__"):  # an object that can be called is named after its class
            traced.__qualname__ = type(function).__name__
        return traced


def _nothing() -> None:
    """Neither stops nor starts."""


def _switches() -> tuple[Callable[[], None], Callable[[], None]] | None:
    """What stops Hypothesis's tracer and starts it again; None if it does not run."""
    if sys.version_info >= (3, 12):
        monitoring = sys.monitoring
        for tool in range(6):
            if monitoring.get_tool(tool) == _TOOL:
                events = monitoring.get_events(tool)
                return (
                    functools.partial(monitoring.set_events, tool, 0),
                    functools.partial(monitoring.set_events, tool, events),
                )
        return None
    trace = sys.gettrace()
    if trace is None or not str(getattr(trace, "__module__", "")).startswith("hypothesis."):
        return None
    return functools.partial(sys.settrace, None), functools.partial(sys.settrace, trace)
