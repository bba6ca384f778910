"""Settings, for a block of code in one thread or for the process.

    with ma.using(conv2d="im2col", threads=1, workspace="32 MiB", tuning=True):
        ...

A module that reads a setting declares it here: `minialex.kernels.runtime.threads` its threads,
`minialex.kernels.contract` workspace and tuning. Any other name is an operation, whose algorithm is chosen
(`minialex.kernels.contract.registry`). Blocks nest, and the innermost one that names a setting counts. Other
threads, and other tasks of asyncio, do not see them: they use what is set for the process. A setter such as
`minialex.kernels.set_num_threads` sets for the process: inside a block that names the setting, the block
counts. A generator that opens a block holds it open between its steps.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from contextlib import ContextDecorator
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, NamedTuple

from minialex.checks import in_words
from minialex.errors import KernelError

Check = Callable[[Any], Any]
_checks: dict[str, Check] = {}
_of_process: dict[str, Any] = {}
_changes, _changing = 0, threading.Lock()  # of _of_process


class _Block(NamedTuple):
    """What the open blocks set, and the block around the innermost one."""

    values: Mapping[str, Any]
    outer: _Block | None


# A context is a thread's own, and in asyncio a task's.
_NO_BLOCK = _Block(MappingProxyType({}), None)
_innermost: ContextVar[_Block] = ContextVar("settings", default=_NO_BLOCK)


def _refuse(name: str, value: object) -> Any:
    raise KernelError(f"using: unknown setting {name!r}; there are: {', '.join(sorted(_checks))}")


_check_other: Callable[[str, Any], Any] = _refuse


def declare(name: str, check: Check) -> None:
    """Declare a setting. `check` returns the value to keep, or raises an error that says what is
    allowed.
    """
    _checks[name] = check


def declare_others(check: Callable[[str, Any], Any]) -> None:
    """Declare what checks a setting of any other name; it takes the name and the value."""
    global _check_other
    _check_other = check


def settings() -> list[str]:
    """The names of the settings other than the operations'."""
    return sorted(_checks)


def setting(name: str, default: Any = None) -> Any:
    """The current value in this thread; the default if nothing or None is set."""
    value = first_setting(name)
    return default if value is None else value


def first_setting(*names: str) -> Any:
    """The value of the first of these names that the open blocks set, else of that set for the process."""
    for values in (_innermost.get().values, _of_process):
        for name in names:
            if name in values:
                return values[name]
    return None


def process_settings() -> int | None:
    """A number that stands for the settings of the process, another one after each change.

    None where a block is open: what it sets counts, too.
    """
    return _changes if _innermost.get() is _NO_BLOCK else None


def set_for_process(**values: Any) -> None:
    """Set what holds where no block says otherwise; None restores the default."""
    replace_for_process(_checked(values))


def replace_for_process(values: Mapping[str, Any]) -> dict[str, Any]:
    """Set checked values for the process, and return what they replace."""
    global _changes
    with _changing:
        before = {name: _of_process.pop(name, None) for name in values}
        _of_process.update({name: value for name, value in values.items() if value is not None})
        # Last: what another thread finds meanwhile must not count as found under the new settings.
        _changes += 1
    return before


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _checks[name](value) if name in _checks else _check_other(name, value)
        for name, value in values.items()
    }


class using(ContextDecorator):
    """Settings for a block of code, in this thread: a context manager and a decorator.

    Parameters
    ----------
    algorithms : dict, optional
        Algorithms by operation, for names that are not Python identifiers: ``{"conv2d.forward": "direct"}``.
    threads : int, optional
        How many threads share the work of a kernel.
    workspace : int or str, optional
        The budget of one kernel call: bytes, or a string such as ``"32 MiB"``.
    tuning : bool, optional
        Whether to choose among kernels of equal rank by measurement (`minialex.kernels.contract.tuning`).
    **operations : str, or several
        The algorithm of an operation, ``conv2d="im2col"``, or several that are tried in order.
        None, here and above, restores the default.

    Raises
    ------
    KernelError
        If a name is unknown, or a value is not allowed; the message says what is.

    Examples
    --------
    >>> with using(conv2d=("winograd", "im2col"), threads=1):
    ...     y = network(x)
    """

    def __init__(self, algorithms: Mapping[str, Any] | None = None, /, **settings: Any):
        if algorithms is not None and not isinstance(algorithms, Mapping):
            raise KernelError(
                f"using: algorithms must be a dictionary by operation, not {in_words(algorithms)}; write "
                "using(conv2d=...) or using({'conv2d.forward': ...})"
            )
        self._given = _checked({**(algorithms or {}), **settings})

    def __enter__(self):
        block = _innermost.get()
        # A block that names an operation names all its directions.
        kept = {
            name: value for name, value in block.values.items() if name.partition(".")[0] not in self._given
        }
        _innermost.set(_Block({**kept, **self._given}, block))
        return self

    def __exit__(self, *_) -> None:
        _innermost.set(_innermost.get().outer or _NO_BLOCK)

    def __call__(self, function: Callable):
        of_steps = inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction
        if any(kind(function) for kind in of_steps):
            raise TypeError(
                f"using: {function.__name__} runs in steps, after the call; open the block inside of it"
            )
        return super().__call__(function)
