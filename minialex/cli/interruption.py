"""Ctrl-C, and SIGTERM, which a training takes for the same: one line, and the exit code of the signal."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Interrupted(Exception):
    """A command was interrupted; the message says what that leaves, and `code` is how the program exits."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


class _Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


def heed_every_signal() -> None:
    """Resend a signal whose KeyboardInterrupt was raised where Python can only print and forget it.

    That happens in a function that a C library calls back, as LLVM does for each function it compiles.
    """
    forget = sys.unraisablehook

    def send_again(lost) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            forget(lost)
            return
        number = signal.SIGTERM if issubclass(lost.exc_type, _Terminated) else signal.SIGINT
        # After a moment, in which the library returns.
        again = threading.Timer(0.02, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()

    sys.unraisablehook = send_again


def interrupted(by: KeyboardInterrupt, message: str = "interrupted") -> Interrupted:
    """What to raise for a KeyboardInterrupt. The exit code is 128 + the signal's number, as in shells."""
    return Interrupted(message, 128 + (signal.SIGTERM if isinstance(by, _Terminated) else signal.SIGINT))


@contextmanager
def resumable(run: Path, resumed: bool = False) -> Iterator[None]:
    """Take SIGTERM for Ctrl-C in a ``with`` block that trains, and say how the run goes on after either."""

    def has_state() -> bool:
        from minialex.training.state import PREVIOUS_STATE_FILE, STATE_FILE

        return any((run / name).exists() for name in (STATE_FILE, PREVIOUS_STATE_FILE))

    # A new run that names the folder of another one will be refused, but may be interrupted before that.
    is_others = has_state() and not resumed

    def terminate(*_) -> None:
        raise _Terminated

    # One that is ignored, as nohup does with others, stays so.
    is_default = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if is_default:
        signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt as error:
        if has_state() and not is_others:
            command = f"minialex train --resume {shlex.quote(str(run))}"
            raise interrupted(error, f"interrupted; the state is saved, go on with: {command}") from None
        raise interrupted(error, "interrupted before the training began; nothing is left of it") from None
    finally:
        if is_default:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
