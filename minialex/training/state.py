"""The exact state of a training: everything that decides how it goes on, and its file.

A state is one safetensors file: the arrays by name, and in the header one JSON text with everything else, in
which Python's floats are exact, and a SHA-256 over both. safetensors holds only arrays and strings, so that
reading a file runs none of its contents; its library checks the header against the file's size first.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from minialex.array_files import read_arrays, write_arrays
from minialex.checks import in_words, is_number, require_int, require_number
from minialex.devices import is_array, to_numpy
from minialex.errors import CheckpointError, RunError
from minialex.training.metrics import EpochMetrics, EpochSums

STATE_FILE = "state.safetensors"
PREVIOUS_STATE_FILE = "state-previous.safetensors"
DAMAGED_STATE_FILE = "state-damaged.safetensors"
_FORMAT = "minialex-state-1"


@dataclass(frozen=True)
class TrainingState:
    """Everything that decides how a training goes on: the state dict of a `Trainer`.

    Attributes
    ----------
    epoch : int
        How many epochs are complete.
    batch, batches : int
        How many batches of the next epoch are done, and how many an epoch has.
    steps : int
        How many steps the optimiser has taken.
    accumulate : int
        How many batches make a step.
    seconds : float
        Spent so far, validation included.
    stopped : str or None
        Why training was ended early, if it was.
    sums : EpochSums
        Of the epoch that has begun.
    history : tuple of EpochMetrics
        Of the complete epochs.
    network : dict of array
        Parameters and buffers, as `Module.state_dict` names them.
    optimizer : dict
        As `Optimizer.state_dict` lays it out, with the optimiser's ``"kind"``.
    schedule : dict or None
        As the schedule's `state_dict` gives it, with its ``"kind"``.
    random : dict
        As `minialex.random.state_dict` gives it.
    callbacks : dict of dict
        The states of the callbacks that have one, by `Callback.key`.
    """

    epoch: int
    batch: int
    batches: int
    steps: int
    accumulate: int
    seconds: float
    stopped: str | None
    sums: EpochSums
    history: tuple[EpochMetrics, ...]
    network: Mapping[str, np.ndarray]
    optimizer: Mapping
    schedule: Mapping | None
    random: Mapping
    callbacks: Mapping[str, Mapping]


def save_state(folder: Path, state: TrainingState) -> None:
    """Write a state to ``state.safetensors``, atomically; ``state-previous.safetensors`` is the one before.

    At every moment one of the two is whole, so that a process killed while it writes loses nothing.

    Raises
    ------
    CheckpointError
        If the file cannot be written; what was there before is untouched.
    """
    values, arrays = _pack(state)
    metadata = {"format": _FORMAT, "values": values, "sha256": _digest(values, arrays)}
    write_arrays(folder / STATE_FILE, arrays, metadata, previous=folder / PREVIOUS_STATE_FILE)


def load_state(path: Path) -> TrainingState:
    """Read a state, and check it against its SHA-256.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or not a state.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no state {str(path)!r}")

    def require_format(metadata: dict[str, str]) -> None:
        if metadata.get("format") != _FORMAT:
            raise CheckpointError(
                f"{str(path)!r} is a safetensors file, but not a state of a training "
                f"(its format is {metadata.get('format', 'not stated')!r})"
            )

    metadata, arrays = read_arrays(path, require_format)
    values = metadata.get("values", "")
    if metadata.get("sha256") != _digest(values, arrays):
        raise CheckpointError(f"{str(path)!r} is damaged: its contents do not have the SHA-256 it states")
    try:
        return _unpack(json.loads(values), arrays)
    except (CheckpointError, RunError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else error
        raise CheckpointError(f"{str(path)!r} is not a state of a training: {reason}") from None


def load_latest_state(folder: Path) -> tuple[TrainingState, str | None]:
    """Read the latest state of a run folder that is whole.

    A damaged ``state.safetensors`` is renamed to ``state-damaged.safetensors``, so that the next write does
    not put it in the place of the previous one, which is the only one left.

    Returns
    -------
    (TrainingState, str or None)
        The state; and, if it is not the latest, what to tell the user about it.

    Raises
    ------
    CheckpointError
        If there is no state, or none that is whole.
    """
    latest, previous = folder / STATE_FILE, folder / PREVIOUS_STATE_FILE
    if not latest.exists() and not previous.exists():
        raise CheckpointError(
            f"{str(folder)!r} has no {STATE_FILE}: the run ended before it wrote one; train anew"
        )
    try:
        return load_state(latest), None
    except CheckpointError as error:
        problem = str(error)
    try:
        state = load_state(previous)
    except CheckpointError as error:
        raise CheckpointError(f"the run cannot be resumed: {problem}; {error}. Train anew") from None
    if latest.exists():
        latest.replace(folder / DAMAGED_STATE_FILE)
        problem += f" (it is {DAMAGED_STATE_FILE} now)"
    return state, (
        f"{problem}; the run goes on from {PREVIOUS_STATE_FILE} instead, in epoch {state.epoch + 1} "
        f"after batch {state.batch} of {state.batches}"
    )


def _digest(values: str, arrays: Mapping[str, np.ndarray]) -> str:
    """The SHA-256 of the JSON text, and of each array's name, dtype, shape and contents, by name."""
    digest = hashlib.sha256(values.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8))
    return digest.hexdigest()


def _pack(state: TrainingState) -> tuple[str, dict[str, np.ndarray]]:
    """The state as a JSON text and arrays by name."""
    values = {each.name: getattr(state, each.name) for each in fields(state) if each.name != "network"}
    values["sums"] = asdict(state.sums)
    values["history"] = [metrics.to_dict() for metrics in state.history]
    arrays = {f"network.{name}": array for name, array in state.network.items()}
    numbers: dict[str, dict] = {}
    for index, entry in state.optimizer["state"].items():
        numbers[str(index)] = {name: value for name, value in entry.items() if not is_array(value)}
        for name, value in entry.items():
            if is_array(value):
                arrays[f"optimizer.{index}.{name}"] = value
    values["optimizer"] = {**state.optimizer, "state": numbers}
    text = json.dumps(values, allow_nan=False, default=_plain)
    return text, {name: np.asarray(to_numpy(array), order="C") for name, array in arrays.items()}


def _plain(value):
    """A number of NumPy as one of Python, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} cannot be part of a state")


def _unpack(values: object, arrays: Mapping[str, np.ndarray]) -> TrainingState:
    """The inverse of `_pack`, for a file that anyone may have made."""
    names = {each.name for each in fields(TrainingState)} - {"network"}
    if not isinstance(values, dict) or set(values) != names:
        raise CheckpointError(f"it must have exactly the entries {', '.join(sorted(names))}")
    for name in ("epoch", "batch", "batches", "steps", "accumulate"):
        require_int(name, values[name], 0, error=CheckpointError)
    _require_number("seconds", values["seconds"], least=0)
    if not isinstance(values["stopped"], str | None):
        raise CheckpointError(f"stopped must be text or null, not {in_words(values['stopped'])}")
    sums = EpochSums(**_require_table("sums", values["sums"]))
    for name in ("images", "correct", "skipped"):
        require_int(name, getattr(sums, name), 0, error=CheckpointError)
    _require_number("loss", sums.loss)
    for name in ("seconds", "lr"):
        _require_number(name, getattr(sums, name), least=0)
    if not isinstance(values["history"], list):
        raise CheckpointError("history must be a list")
    optimizer = _require_table("optimizer", values["optimizer"])
    entries = {
        int(index): dict(_require_table(f"optimizer.{index}", entry))
        for index, entry in _require_table("the optimiser's state", optimizer["state"]).items()
    }
    network = {}
    for name, array in arrays.items():
        part, _, rest = name.partition(".")
        if part == "network":
            network[rest] = array
        else:
            index, _, slot = rest.partition(".")
            if part != "optimizer" or not index.isdecimal() or int(index) not in entries:
                raise CheckpointError(f"array {name!r} belongs to nothing")
            entries[int(index)][slot] = array
    if values["schedule"] is not None:
        _require_table("schedule", values["schedule"])
    for name in ("random", "callbacks"):
        _require_table(name, values[name])
    for key, entry in values["callbacks"].items():
        _require_table(key, entry)
    return TrainingState(
        **values
        | {
            "sums": sums,
            "history": tuple(EpochMetrics.from_dict(each) for each in values["history"]),
            "network": network,
            "optimizer": {**optimizer, "state": entries},
        }
    )


def _require_table(name: str, value) -> dict:
    if not isinstance(value, dict):
        raise CheckpointError(f"{name} must be a table, not {type(value).__name__}")
    return value


def _require_number(name: str, value, least: float = -math.inf) -> None:
    if not is_number(value) or not math.isfinite(value):
        raise CheckpointError(f"{name} must be a finite number, not {in_words(value)}")
    require_number(name, value, least, error=CheckpointError)
