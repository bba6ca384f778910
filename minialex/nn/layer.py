"""What the layers share: a message for arrays, and checks of their options."""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex.checks import require_flag, require_int
from minialex.errors import ShapeError
from minialex.nn.module import Module


class Layer(Module):
    """A module whose first input is a tensor, which is said where it is called with an array.

    Raises
    ------
    TypeError
        If it is called with an array of NumPy.
    """

    def __call__(self, *inputs, **options) -> Any:
        # A hook may make a tensor of it.
        if self._hooks is None and inputs and isinstance(inputs[0], np.ndarray):
            raise TypeError(
                f"{type(self).__name__} takes tensors, not ndarray; wrap an array with minialex.Tensor(array)"
            )
        return super().__call__(*inputs, **options)


class InPlace(Layer):
    """A layer that takes PyTorch's ``inplace``, without an effect: the results are the same.

    Parameters
    ----------
    inplace : bool
        Accepted as a habit; nothing is computed in place.
    """

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = require_flag("inplace", inplace, error=ShapeError)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


def require_positive(**lengths: int) -> None:
    """Raise `ShapeError` unless all of them are positive ints."""
    for name, length in lengths.items():
        require_int(name, length, 1, error=ShapeError)


def require_flags(**flags: bool) -> None:
    """Raise `ShapeError` unless all of them are True or False."""
    for name, flag in flags.items():
        require_flag(name, flag, error=ShapeError)
