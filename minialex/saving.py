"""`save` and `load`: dictionaries and lists of tensors in a file, as ``torch.save`` has them, without pickle.

The file is one of safetensors: the arrays by the names of their places, such as "features.0.weight", so that
others' programs read them, and in its header one JSON text with the structure, which names each array:

    {"dict": [["epoch", 3], ["weight", {"tensor": "weight", "requires_grad": true}]]}

Numbers, texts, true, false and null stand for themselves, a list for a list. All else is an object of one
kind: "dict" with pairs, "tuple" with members, "tensor", "array" or "scalar" with a name, "float" with inf or
nan.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minialex.array_files import read_arrays, write_arrays
from minialex.availability import require_device
from minialex.checks import in_words
from minialex.devices import is_array, native, to_numpy
from minialex.errors import CheckpointError
from minialex.tensor import Tensor

_FORMAT = "minialex-object-1"
_KINDS = ("dict", "tuple", "tensor", "array", "scalar", "float")
# What safetensors holds of NumPy's types, in each of its versions.
_DTYPES = frozenset(
    np.dtype(each)
    for each in [
        "bool",
        "u1",
        "i1",
        "u2",
        "i2",
        "u4",
        "i4",
        "u8",
        "i8",
        "f2",
        "f4",
        "f8",
    ]
)
_DEPTH = 100
_FLOATS = ("inf", "-inf", "nan")
# How a zip archive begins, which torch.save writes, and a pickle, which it wrote before PyTorch 1.6.
_ZIP, _PICKLES = b"PK", (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def save(obj: Any, path: str | os.PathLike[str]) -> None:
    """Write tensors, and the dictionaries and lists that hold them, into a file, as ``torch.save`` does.

    The file is a safetensors file whatever its name ends in, ``AlexNet.pth`` too: PyTorch reads its arrays
    with ``safetensors.torch.load_file``, not with ``torch.load``. It is written atomically: what was there
    before stays until the new file is whole.

    Parameters
    ----------
    obj : object
        Dictionaries (with keys that are texts, numbers, bools or None), lists, tuples, tensors, arrays,
        NumPy's and Python's numbers, texts, bools and None, to a depth of 100. A tensor is stored by its
        values and whether it is a leaf that requires a gradient; one in two places is stored once.
    path : path-like
        In a folder that exists.

    Raises
    ------
    CheckpointError
        If something in it cannot be stored, whose place is named (``obj['state'][0]``), or the file cannot be
        written.
    """
    path = _path(path)
    if not path.parent.is_dir():
        raise CheckpointError(f"{str(path)!r} cannot be written: there is no folder {str(path.parent)!r}")
    writer = _Writer()
    structure = json.dumps(writer.node(obj, "obj", (), 0), allow_nan=False)
    write_arrays(path, writer.arrays, {"format": _FORMAT, "structure": structure})


def load(path: str | os.PathLike[str], map_location: str = "cpu") -> Any:
    """Read what `save` has written, as ``torch.load`` does; nothing in the file is run.

    Parameters
    ----------
    path : path-like
        A file of `save`, or any other safetensors file.
    map_location : str
        The device of the tensors.

    Returns
    -------
    object
        What was saved: tensors as tensors, of their dtypes, arrays as arrays, dictionaries as ``dict``. Of
        another safetensors file a dictionary of its tensors by name.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or one of ``torch.save``, whose pickles are not read.
    """
    path, device = _path(path), require_device(map_location)
    _require_safetensors(path)
    metadata, arrays = read_arrays(path, lambda metadata: None)
    reader = _Reader(path, arrays, device)
    if metadata.get("format") != _FORMAT:
        return {name: reader.tensor(name, False) for name in arrays}
    try:
        structure = json.loads(metadata.get("structure", ""))
        loaded = reader.value(structure, 0)
    except (ValueError, TypeError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise reader.damaged(f"its structure is no JSON of `save` ({in_words(error)})") from None
    if unused := sorted(arrays.keys() - reader.used):
        raise reader.damaged(f"nothing in its structure is the array {unused[0]!r}")
    return loaded


class _Writer:
    """Makes the structure of an object, and collects the arrays by name."""

    def __init__(self):
        self.arrays: dict[str, np.ndarray] = {}
        self._names: dict[int, str] = {}
        self._kept: list[Any] = []

    def node(self, value: Any, place: str, keys: tuple[str, ...], depth: int) -> Any:
        """Return the JSON of a value at a place in the object, under these keys."""
        if depth > _DEPTH:
            raise CheckpointError(f"{place[:60]}... is deeper than {_DEPTH} levels; does it hold itself?")
        if value is None or isinstance(value, bool | str) or type(value) is int:
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, Tensor):
            is_parameter = value.requires_grad and value.is_leaf
            return {"tensor": self._stored(value, value.data, place, keys), "requires_grad": is_parameter}
        if is_array(value):
            return {"array": self._stored(value, value, place, keys)}
        if isinstance(value, np.generic):
            return {"scalar": self._stored(value, np.asarray(value), place, keys)}
        if isinstance(value, Mapping):
            pairs = [
                [self._key(key, place), self.node(each, f"{place}[{key!r}]", (*keys, str(key)), depth + 1)]
                for key, each in value.items()
            ]
            return {"dict": pairs}
        if type(value) in (list, tuple):
            nodes = [
                self.node(each, f"{place}[{i}]", (*keys, str(i)), depth + 1) for i, each in enumerate(value)
            ]
            return nodes if isinstance(value, list) else {"tuple": nodes}
        advice = "; save its state_dict()" if hasattr(value, "state_dict") else ""
        raise CheckpointError(
            f"{place} must be a tensor, an array, a number, a text, None, or a dictionary, list or tuple of "
            f"such, not {in_words(value)}{advice}"
        )

    def _key(self, key: Any, place: str) -> Any:
        if key is None or type(key) in (str, bool, int) or (type(key) is float and math.isfinite(key)):
            return key
        raise CheckpointError(
            f"a key of {place} must be a text, a number, a bool or None, not {in_words(key)}"
        )

    def _stored(self, value: Any, array: Any, place: str, keys: tuple[str, ...]) -> str:
        known = self._names.get(id(value))
        if known is not None:
            return known
        if array.dtype.newbyteorder("=") not in _DTYPES:
            raise CheckpointError(f"{place} must be of bools, integers or floats, not {in_words(array)}")
        wanted = name = ".".join(keys) or "value"
        count = 1
        while name in self.arrays or name == "__metadata__":
            count += 1
            name = f"{wanted}#{count}"
        self.arrays[name] = native(to_numpy(array))
        self._names[id(value)] = name
        self._kept.append(value)  # an id is one object's only while it lives
        return name


class _Reader:
    """Makes the object of a structure."""

    def __init__(self, path: Path, arrays: dict[str, np.ndarray], device: str):
        self.path, self.arrays, self.device = path, arrays, device
        self.used: set[str] = set()
        self._made: dict[str, Any] = {}

    def value(self, node: Any, depth: int) -> Any:
        if depth > _DEPTH:
            raise self.damaged(f"its structure is deeper than {_DEPTH} levels")
        if isinstance(node, list):
            return [self.value(each, depth + 1) for each in node]
        if not isinstance(node, dict):
            return node
        kind = next((each for each in _KINDS if each in node), None)
        if kind is None:
            raise self.damaged(f"its structure has {in_words(node)}")
        content = node[kind]
        if kind in ("dict", "tuple") and isinstance(content, list):
            if kind == "tuple":
                return tuple(self.value(each, depth + 1) for each in content)
            return {key: self.value(each, depth + 1) for key, each in content}
        if kind == "float" and content in _FLOATS:
            return float(content)
        if (
            kind not in ("tensor", "array", "scalar")
            or not isinstance(content, str)
            or content not in self.arrays
        ):
            raise self.damaged(f"its structure has {in_words(node)}, which it does not hold")
        if kind == "tensor":
            return self.tensor(content, node.get("requires_grad") is True)
        self.used.add(content)
        return self.arrays[content] if kind == "array" else self.arrays[content][()]

    def tensor(self, name: str, requires_grad: bool) -> Tensor:
        self.used.add(name)
        if name not in self._made:
            try:
                self._made[name] = Tensor(self.arrays[name], requires_grad, self.device)
            except (TypeError, RuntimeError) as error:
                raise self.damaged(f"{name} makes no tensor: {error}") from None
        return self._made[name]

    def damaged(self, reason: str) -> CheckpointError:
        return CheckpointError(f"{str(self.path)!r} cannot be loaded: {reason}")


def _path(path: Any) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise CheckpointError(f"path must be the name of a file, not {in_words(path)}")
    return Path(path)


def _require_safetensors(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(
            f"there is no file {str(path)!r}" + (": it is a folder" if path.is_dir() else "")
        )
    try:
        with path.open("rb") as file:
            start = file.read(2)
    except OSError as error:
        raise CheckpointError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    if start == _ZIP or start in _PICKLES:
        raise CheckpointError(
            f"{str(path)!r} is a file of torch.save; for its weights write "
            "minialex.interchange.load_weights(path, network), for all that is in it "
            "minialex.interchange.read_torch_file(path)"
        )
