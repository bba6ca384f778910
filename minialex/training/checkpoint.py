"""Checkpoints: a network's weights in a safetensors file, with the name of the model they belong to."""

from __future__ import annotations

from pathlib import Path

from minialex.array_files import read_arrays, write_arrays
from minialex.errors import CheckpointError
from minialex.models import Network

_FORMAT = "minialex-1"


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
