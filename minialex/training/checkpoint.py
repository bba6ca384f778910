"""Checkpoints: a network's weights in a safetensors file, with the name of the model they belong to.

safetensors holds only arrays and strings, so that reading a file runs none of its contents; its
library checks the header against the file's size before it reads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from minialex.errors import CheckpointError
from minialex.files import write_atomically
from minialex.models import Network

_FORMAT = "minialex-1"
# safetensors' names of the types that NumPy has.
_DTYPES = frozenset(
    ["BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "F32", "F64", "C64"]
)


def write_arrays(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str], previous: Path | None = None
) -> None:
    """Write a safetensors file, as `minialex.files.write_atomically` does.

    Raises
    ------
    CheckpointError
        If it cannot be written; what was there before is untouched.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    # Not ascontiguousarray, which gives an array without axes one.
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    try:
        write_atomically(path, lambda temporary: save_file(contiguous, temporary, dict(metadata)), previous)
    except (OSError, SafetensorError) as error:
        reason = os.strerror(error.errno) if getattr(error, "errno", None) else error
        raise CheckpointError(f"{str(path)!r} cannot be written: {reason}; make room for it") from None


def read_arrays(
    path: Path, check: Callable[[dict[str, str]], None]
) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Read a safetensors file, after `check` has accepted its metadata.

    Returns
    -------
    (dict of str, dict of array)
        The metadata and the arrays.

    Raises
    ------
    CheckpointError
        If the file is damaged, or holds numbers of a type that NumPy lacks; or as `check` does.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            check(metadata)
            names = list(file.keys())
            for name in names:
                # The library's answer to others depends on whether some package has taught NumPy bfloat16.
                if (dtype := file.get_slice(name).get_dtype()) not in _DTYPES:
                    raise CheckpointError(
                        f"{str(path)!r} holds numbers of a type that NumPy lacks ({name} is {dtype})"
                    )
            return metadata, {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{str(path)!r} is damaged or not a safetensors file ({error}); take another one"
        ) from None


def save_checkpoint(path: Path, network: Network, **notes: int | float) -> None:
    """Write the weights and running statistics of a network, atomically, with notes such as the epoch.

    Raises
    ------
    CheckpointError
        If the file cannot be written; what was there before is untouched.
    """
    metadata = {
        "format": _FORMAT,
        "model": network.name,
        "num_classes": str(network.num_classes),
        **{name: str(value) for name, value in notes.items()},
    }
    write_arrays(path, network.state_dict(), metadata)


def load_checkpoint(path: Path, network: Network) -> dict[str, str]:
    """Load weights into a network; return the notes that were saved with them.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, not a checkpoint, or one of another model; the network is
        unchanged then.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {str(path)!r}")
    metadata, state = read_arrays(path, lambda metadata: _require_same_model(path, metadata, network))
    try:
        network.load_state_dict(state)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {str(path)!r}: {error}") from None
    return metadata


def _require_same_model(path: Path, metadata: dict[str, str], network: Network) -> None:
    if metadata.get("format") != _FORMAT:
        raise CheckpointError(
            f"{str(path)!r} is a safetensors file, but not a checkpoint of MiniAlex "
            f"(its format is {metadata.get('format', 'not stated')!r})"
        )
    found = (metadata.get("model"), metadata.get("num_classes"))
    if found != (network.name, str(network.num_classes)):
        raise CheckpointError(
            f"checkpoint {str(path)!r} is of {found[0]} with {found[1]} classes; "
            f"it does not fit {network.name} with {network.num_classes} classes"
        )
