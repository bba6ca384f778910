"""Prepacked weights, kept between calls while the weights cannot change.

Fast kernels first convert weights to a form of their own: panels, or Winograd's transform. In training
the weights are new in every step, and so is the form. In inference it is the same for every image, and at
batch 1 making it takes longer than the convolution. A kernel asks here for its form:

    panels = prepacked(weight, ("direct", groups), lambda: pack_panels(...))

If the array is frozen, its form is kept as long as it lives. Frozen means read-only and owner of its memory,
so that nobody changes it through another array. `minialex.nn.Module.freeze` freezes a network's parameters.
Kernels that do not pack need not know about it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

Form = TypeVar("Form")

_lock = threading.Lock()
_kept: dict[int, dict[Hashable, Any]] = {}


def frozen(array: np.ndarray) -> bool:
    """Whether an array is read-only and owns its memory."""
    return not array.flags.writeable and array.flags.owndata


def prepacked(array: np.ndarray, form: Hashable, make: Callable[[], Form]) -> Form:
    """A packed form of an array: the kept one if the array is frozen, else what `make` returns.

    Parameters
    ----------
    array : array
        The weights.
    form : hashable
        Identifies the form, and everything it depends on besides the array.
    make : callable
        Makes the form; called without arguments.
    """
    if not frozen(array):
        _forget(id(array))
        return make()
    with _lock:
        forms = _kept.get(id(array))
        if forms is None:
            forms = _kept[id(array)] = {}
            weakref.finalize(array, _forget, id(array))
    if form not in forms:
        forms[form] = make()
    return forms[form]


def kept_bytes() -> int:
    """The bytes that kept forms take."""
    with _lock:
        return sum(value.nbytes for forms in _kept.values() for value in forms.values())


def _forget(key: int) -> None:
    _kept.pop(key, None)
