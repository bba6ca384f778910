"""Axes in the words of both: PyTorch's ``dim`` and ``keepdim``, NumPy's ``axis`` and ``keepdims``."""

from __future__ import annotations

import functools
from collections.abc import Callable

_NAMES = {"dim": "axis", "keepdim": "keepdims"}


def takes_dim(function: Callable) -> Callable:
    """Let a function of ``axis`` and ``keepdims`` take ``dim`` and ``keepdim``, too.

    Raises
    ------
    TypeError
        If both names of the same argument are given.
    """

    @functools.wraps(function)
    def renamed(*arguments, **named):
        for theirs, ours in _NAMES.items():
            if theirs in named:
                if ours in named:
                    raise TypeError(
                        f"{function.__name__}: {theirs} and {ours} are one argument; give one of them"
                    )
                named[ours] = named.pop(theirs)
        return function(*arguments, **named)

    return renamed
