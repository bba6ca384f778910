"""Weights from and to the files of others: `load_weights` and `save_weights`.

What is read is told by the file's contents, whatever it is called: PyTorch's files (`torch_files`),
safetensors, and NumPy's archives of arrays.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minialex.array_files import read_arrays, write_arrays
from minialex.checks import in_words
from minialex.errors import CheckpointError, DataError
from minialex.files import open_file, write_atomically
from minialex.interchange.torch_files import is_torch_file, read_torch_file
from minialex.interchange.torch_writing import write_torch_file
from minialex.nn import Module

# Under which names training scripts keep the state dictionary in a checkpoint.
_KEYS = ("state_dict", "model_state_dict", "model", "model_state", "net", "network", "weights", "params")
# What wrappers put before each name: DataParallel, torch.compile, Lightning.
_PREFIXES = ("module.", "_orig_mod.", "model.")
# An archive of arrays may be compressed, weights to little less than they were.
_MOST_TIMES, _MOST_BESIDE = 200, 2**20


class LoadedTensor(NamedTuple):
    """One tensor of a file, and where it went."""

    source: str
    target: str
    shape: tuple[int, ...]
    source_dtype: str
    target_dtype: str

    def __str__(self) -> str:
        name = self.source if self.source == self.target else f"{self.source} -> {self.target}"
        same = self.source_dtype == self.target_dtype
        dtype = self.target_dtype if same else f"{self.source_dtype} -> {self.target_dtype}"
        return f"{name}  {' x '.join(map(str, self.shape)) or 'a number'}  {dtype}"


@dataclass(frozen=True)
class LoadedWeights:
    """What `load_weights` did; printed, a line for each tensor.

    Attributes
    ----------
    path : str
    key : str
        Where in the file the state dictionary stood, such as ``"state_dict"``; empty for the file itself.
    tensors : tuple of LoadedTensor
        In the order of the model.
    missing_keys : tuple of str
        Of the model, and not in the file.
    unexpected_keys : tuple of str
        Of the file, and not in the model.
    """

    path: str
    key: str
    tensors: tuple[LoadedTensor, ...]
    missing_keys: tuple[str, ...]
    unexpected_keys: tuple[str, ...]

    def __str__(self) -> str:
        place = f"{self.path!r}, {self.key!r}" if self.key else repr(self.path)
        lines = [f"{len(self.tensors)} tensors of {place}", *(f"  {each}" for each in self.tensors)]
        for title, names in (("not in the file", self.missing_keys), ("not used", self.unexpected_keys)):
            lines += [f"{title}: {', '.join(names)}"] if names else []
        return "\n".join(lines)


def load_weights(
    path: str | os.PathLike[str], model: Module, key: str | None = None, strict: bool = True
) -> LoadedWeights:
    """Copy the weights in a file into a model: all of them or, on an error, none.

    Names and layouts are PyTorch's, which are ours. Where all names begin with "module." (of DataParallel),
    "_orig_mod." (of ``torch.compile``) or "model." (of Lightning), and the model's do not, that is dropped.

    Parameters
    ----------
    path : path-like
        A file of ``torch.save`` (a zip archive or the stream of old; a state dictionary or a checkpoint that
        has one inside), of safetensors, or of ``numpy.savez``. It is read without the framework that wrote
        it, and nothing in it is executed.
    model : Module
        Its parameters and buffers keep their dtype and device; floating-point values are converted.
    key : str, optional
        Where in a checkpoint the state dictionary stands, if not under one of the usual names.
    strict : bool
        Whether names missing from or unexpected in the file are an error.

    Returns
    -------
    LoadedWeights
        What went where; its ``missing_keys`` and ``unexpected_keys`` are those of `Module.load_state_dict`.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, of another format or a whole pickled module; or listing all names and
        shapes that do not fit.
    """
    if not isinstance(model, Module):
        raise CheckpointError(f"load_weights: model must be a Module, not {in_words(model)}")
    name = os.fspath(path)
    found, place = _state_in(_read(name), name, key)
    own = model.state_dict()
    names = _without_prefixes(tuple(found), own)
    state = {target: found[source] for source, target in names.items()}
    try:
        rest = model.load_state_dict(state, strict)
    except CheckpointError as error:
        raise CheckpointError(f"{name!r}: {error}") from None
    sources = {target: source for source, target in names.items()}
    tensors = tuple(
        LoadedTensor(sources[each], each, own[each].shape, state[each].dtype.name, own[each].dtype.name)
        for each in own
        if each in state
    )
    return LoadedWeights(name, place, tensors, tuple(rest.missing_keys), tuple(rest.unexpected_keys))


def save_weights(path: str | os.PathLike[str], model: Module) -> None:
    """Write a model's parameters and buffers, by their names, for another framework; atomically.

    Parameters
    ----------
    path : path-like
        Its end says what is written: ``.pth`` or ``.pt`` for ``torch.load``, ``.safetensors``, or ``.npz``
        for ``numpy.load``.
    model : Module

    Raises
    ------
    CheckpointError
        If the name ends in something else, or the file cannot be written; what was there stays.
    """
    if not isinstance(model, Module):
        raise CheckpointError(f"save_weights: model must be a Module, not {in_words(model)}")
    path = Path(path)
    arrays = {name: np.array(value) for name, value in model.state_dict().items()}
    try:
        match path.suffix:
            case ".safetensors":
                write_arrays(path, arrays, {"format": "pt"})
            case ".pth" | ".pt":
                write_atomically(path, lambda temporary: write_torch_file(temporary, arrays))
            case ".npz":
                write_atomically(path, lambda temporary: _write_npz(temporary, arrays))
            case _:
                raise CheckpointError(
                    f"{str(path)!r} must end in .pth, .pt, .safetensors or .npz, which says what is written"
                )
    except OSError as error:
        raise CheckpointError(f"{str(path)!r} cannot be written: {error.strerror}") from None


def _write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with path.open("wb") as file:  # savez would add .npz to a name
        np.savez(file, allow_pickle=False, **dict(arrays))


def _read(name: str) -> Any:
    """What a file holds, by its first bytes."""
    try:
        with open_file(name) as file:
            start = file.read(16)
    except DataError as error:
        raise CheckpointError(str(error)) from None
    if start.startswith(b"PK\x03\x04") and _is_npz(name):
        return _read_npz(name)
    if is_torch_file(start):
        return read_torch_file(name)
    if start[8:9] == b"{":
        return read_arrays(Path(name), lambda metadata: None)[1]
    kind = "an HDF5 file, as Keras writes them," if start.startswith(b"\x89HDF") else "of a format that"
    raise CheckpointError(
        f"{name!r} is {kind} is not read; what is: files of torch.save, .safetensors and .npz"
    )


def _is_npz(name: str) -> bool:
    try:
        with zipfile.ZipFile(name) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{name!r} is a damaged archive ({error}); fetch it again") from None
    return bool(names) and all(each.endswith(".npy") for each in names)


def _read_npz(name: str) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(name) as archive:
            most = _MOST_TIMES * os.path.getsize(name) + _MOST_BESIDE
            if sum(each.file_size for each in archive.infolist()) > most:
                raise CheckpointError(f"{name!r} would be more than {_MOST_TIMES} times as large in memory")
            return {
                each.filename.removesuffix(".npy"): _read_npy(archive, each) for each in archive.infolist()
            }
    except (OSError, zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{name!r} is damaged ({error}); fetch it again") from None


def _read_npy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """One array, after its header was held to the length of the entry."""
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        if dtype.hasobject:
            raise ValueError(f"{entry.filename} holds objects, which are pickled")
        count = 1
        for length in shape:
            count *= length
        if count * dtype.itemsize != entry.file_size - file.tell():
            raise ValueError(f"{entry.filename} has {entry.file_size:,} bytes, and its shape is {shape}")
    with archive.open(entry) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _state_in(value: Any, name: str, key: str | None) -> tuple[dict[str, np.ndarray], str]:
    """The state dictionary in what a file holds, and the key where it stands."""
    if key is not None:
        if not isinstance(value, dict) or key not in value:
            has = ", ".join(map(repr, list(value)[:20])) if isinstance(value, dict) else in_words(value)
            raise CheckpointError(f"{name!r} has no {key!r}; it has {has}")
        value = value[key]
        if not _is_state(value):
            raise CheckpointError(f"{name!r}: {key!r} is no state dictionary but {in_words(value)}")
        return value, key
    if _is_state(value):
        return value, ""
    if isinstance(value, dict):
        keys = [each for each in _KEYS if _is_state(value.get(each))]
        if len(keys) == 1:
            return value[keys[0]], keys[0]
        others = [each for each in value if isinstance(each, str) and _is_state(value[each])]
        if keys or others:
            raise CheckpointError(
                f"{name!r} has more than one state dictionary, or one under an unusual name; pass key=: "
                f"{', '.join(map(repr, keys or others))}"
            )
    raise CheckpointError(f"{name!r} has no state dictionary, with a tensor for each name, in it")


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(k, str) and isinstance(v, np.ndarray) for k, v in value.items())
    )


def _without_prefixes(names: tuple[str, ...], own: Mapping[str, Any]) -> dict[str, str]:
    """Each name of a file, and what the model calls it."""
    cut = 0
    while True:
        prefix = next((each for each in _PREFIXES if all(n.startswith(each, cut) for n in names)), None)
        if prefix is None or any(name.startswith(prefix) for name in own):
            return {name: name[cut:] for name in names}
        cut += len(prefix)
