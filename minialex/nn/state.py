"""What a state dict and a module have in common, before anything is copied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minialex.devices import is_read_only, to_numpy
from minialex.errors import CheckpointError
from minialex.tensor import Tensor

# PyTorch's count of batches, which is saved there by every batch normalisation, and here where it is used.
COUNT_OF_BATCHES = "num_batches_tracked"


class IncompatibleKeys(NamedTuple):
    """What a state and a module do not have in common, under PyTorch's names."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def matched(
    own: Mapping[str, Any], state: Mapping[str, np.ndarray | Tensor], strict: bool, title: str
) -> tuple[dict[str, np.ndarray], IncompatibleKeys]:
    """The arrays of a state that can be copied into a module's own, and the names that only one of them has.

    Parameters
    ----------
    own : mapping from name to array
    state : mapping from name to array or Tensor
    strict : bool
        Whether names that only one of them has are an error.
    title : str
        What messages call the module.

    Raises
    ------
    CheckpointError
        Listing every missing, unexpected and mis-shaped entry, and every frozen parameter.
    """
    arrays = {
        name: to_numpy(value.data if isinstance(value, Tensor) else value)
        for name, value in state.items()
        if name in own or not _is_count(name)
    }
    problems = []
    missing = [name for name in own if name not in arrays and not _is_count(name)]
    unexpected = [name for name in arrays if name not in own]
    if strict:
        problems += [f"missing: {', '.join(missing)}"] if missing else []
        problems += [f"unexpected: {', '.join(unexpected)}"] if unexpected else []
    shapes = [
        f"{name} {arrays[name].shape} instead of {array.shape}"
        for name, array in own.items()
        if name in arrays and arrays[name].shape != array.shape
    ]
    problems += [f"wrong shape: {', '.join(shapes)}"] if shapes else []
    for kind, words in (("f", "floating-point"), ("iu", "integers"), ("b", "bools")):
        others = [
            name
            for name, array in own.items()
            if array.dtype.kind in kind and name in arrays and arrays[name].dtype.kind not in kind
        ]
        problems += [f"not {words}: {', '.join(others)}"] if others else []
    frozen = [name for name, array in own.items() if name in arrays and is_read_only(array)]
    problems += [f"frozen, so call unfreeze() first: {', '.join(frozen)}"] if frozen else []
    if problems:
        raise CheckpointError(f"the state does not fit {title}; " + "; ".join(problems))
    return arrays, IncompatibleKeys(missing, unexpected)


def _is_count(name: str) -> bool:
    return name.rpartition(".")[2] == COUNT_OF_BATCHES
