"""Kernels that were chosen, kept for the next call of the same kind.

Of a call of an operation with a call class (`minialex.kernels.contract.call`), the choice is kept for arrays
of the same dtypes, shapes and strides, frozen or not, while no setting changes and no kernel is registered.
So what a kernel says about itself must follow from these, not from the values of arrays. In a block of
settings nothing is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex.config import process_settings, setting
from minialex.kernels.runtime.prepacked import frozen
from minialex.kernels.runtime.threads import num_threads

# As many as large networks make.
MOST = 4096
_kept: dict[tuple, Any] = {}
_CALL_ONLY = {"call": None}.keys()
_registrations = 0


def key_of(operation: str, device: str, args: tuple, parameters: dict) -> tuple | None:
    """What tells calls of different kinds apart; None for one of which nothing is kept."""
    settings = process_settings()
    if settings is None or parameters.keys() != _CALL_ONLY or setting("tuning"):
        return None
    layout = [None if a is None else (a.dtype, a.shape, a.strides, _is_frozen(a)) for a in args]
    return (operation, device, parameters["call"], settings, num_threads(), _registrations, *layout)


def _is_frozen(array: Any) -> bool:
    return isinstance(array, np.ndarray) and frozen(array)


def find(key: tuple | None) -> Any | None:
    """The kernel that was kept under a key."""
    return None if key is None else _kept.get(key)


def keep(key: tuple | None, kernel: Any) -> Any:
    """Keep a kernel under a key, and return it."""
    if key is not None:
        if len(_kept) >= MOST:
            _kept.clear()
        _kept[key] = kernel
    return kernel


def forget_all() -> None:
    """Let nothing be found that was kept before: there are other kernels now."""
    global _registrations
    _registrations += 1
