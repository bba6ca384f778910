"""Autotuning, on request: each candidate kernel is timed once for each kind of call.

    minialex.kernels.set_tuning(True)

or ``MINIALEX_TUNING=1``. At the first call with given shapes, types and
parameters, every kernel that the rules leave to choose from is run three times, and the fastest is taken
from then on. The choices are kept in a file for this processor, this number of threads and this state of
the kernels' sources, and are not measured again. The kernels agree up to rounding; so with tuning the last
bits may differ between machines, and between two files of choices, but not between runs that use the same
file.

Only operations that do not change their inputs have candidates to choose from.
"""

from __future__ import annotations

import functools
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from minialex.checks import require_choice, require_flag
from minialex.config import declare, set_for_process, setting
from minialex.errors import KernelError
from minialex.files import write_json
from minialex.kernels.contract import registry
from minialex.kernels.runtime.prepacked import frozen
from minialex.kernels.runtime.threads import num_threads

_VARIABLE = "MINIALEX_TUNING"
_REPEATS = 3


class _Measured:
    """The choices found, in memory and in a file."""

    def __init__(self, path: Path | None):
        self.path = path
        self.choices: dict[str, dict[str, float]] = {}
        if path is not None and path.is_file():
            self.choices = _read(path)

    def __call__(self, candidates, args, parameters):
        key = describe(candidates[0].operation, args, parameters)
        times = self.choices.get(key, {})
        if {entry.algorithm for entry in candidates} - times.keys():
            times = {entry.algorithm: _seconds(entry, args, parameters) for entry in candidates}
            self.choices[key] = times
            if self.path is not None:
                write_json(self.path, self.choices)
        return min(candidates, key=lambda entry: times[entry.algorithm])


def describe(operation: str, args: tuple, parameters: dict) -> str:
    """What a call's time depends on: shapes, types, parameters, and which weights are frozen."""
    arrays = [
        "None" if a is None else f"{a.dtype}{list(a.shape)}{' frozen' if frozen(a) else ''}" for a in args
    ]
    return f"{operation} {' '.join(arrays)} {parameters} threads={num_threads()}"


def _seconds(entry, args, parameters) -> float:
    entry(*args, **parameters)  # compiles
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        entry(*args, **parameters)
        times.append(time.perf_counter() - start)
    return float(np.min(times))


def _read(path: Path) -> dict[str, dict[str, float]]:
    """The choices in a file; none if this module did not write it."""
    try:
        content = json.loads(path.read_text())
        valid = isinstance(content, dict) and all(
            isinstance(times, dict) and all(isinstance(t, float) and t > 0 for t in times.values())
            for times in content.values()
        )
    except (OSError, ValueError):
        valid = False
    return content if valid else {}


@functools.cache
def _measured() -> _Measured:
    from minialex.kernels.runtime import code_cache

    store = code_cache.store()
    return _Measured(None if store is None else store.folder / "tuning.json")


def set_tuning(on: bool) -> None:
    """Choose kernels by measurement from now on, or by predicted time."""
    set_for_process(tuning=True if on else None)


def is_tuning() -> bool:
    """Whether kernels are chosen by measurement."""
    return setting("tuning", False)


def _tuned(candidates, args, parameters):
    return _measured()(candidates, args, parameters)


def _require_flag(on: Any) -> bool | None:
    return None if on is None else require_flag("tuning", on, error=KernelError)


declare("tuning", _require_flag)
registry.set_measured_choice(_tuned)


def _from_environment() -> None:
    if require_choice(_VARIABLE, os.environ.get(_VARIABLE, "0"), ("0", "1"), error=KernelError) == "1":
        set_tuning(True)


_from_environment()
