"""Checkpoints: a network's weights in a safetensors file, with the name of the model they belong to.

safetensors holds arrays and strings alone, so that reading a file runs none of its contents; its
library checks the header against the file's size before it reads.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minialex.errors import CheckpointError
from minialex.files import write_atomically
from minialex.models import Network

_FORMAT = "minialex-1"


def save_checkpoint(path: Path, network: Network, **notes: int | float) -> None:
    """Write the weights and running statistics of a network, atomically, with notes such as the epoch."""
    from safetensors.numpy import save_file

    metadata = {
        "format": _FORMAT,
        "model": network.name,
        "num_classes": str(network.num_classes),
        **{name: str(value) for name, value in notes.items()},
    }
    state = {name: np.ascontiguousarray(array) for name, array in network.state_dict().items()}
    write_atomically(path, lambda temporary: save_file(state, temporary, metadata))


def load_checkpoint(path: Path, network: Network) -> dict[str, str]:
    """Load weights into a network; return the notes that were saved with them.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, not a checkpoint, or one of another model; the network is
        unchanged then.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {str(path)!r}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            _require_same_model(path, metadata, network)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise CheckpointError(
            f"checkpoint {str(path)!r} is damaged or not a safetensors file ({error}); "
            "take another checkpoint of the run, or train again"
        ) from None
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
