"""Files that ``torch.load`` reads, written without PyTorch.

The zip archive that `minialex.interchange.torch_files` describes, its pickle in protocol 2: an OrderedDict of
calls of ``torch._utils._rebuild_tensor_v2``, each on a storage of its own.
"""

from __future__ import annotations

import struct
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from minialex.errors import CheckpointError

_STORAGES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}
_ORDERED_DICT = b"ccollections\nOrderedDict\n)R"


def write_torch_file(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as a state dictionary.

    Raises
    ------
    CheckpointError
        If one is of a type that PyTorch lacks.
    """
    for name, array in arrays.items():
        if array.dtype.name not in _STORAGES:
            raise CheckpointError(f"{name} is of {array.dtype}, which a file of PyTorch has no storage for")
    root = "weights"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{root}/data.pkl", _pickled(arrays))
        archive.writestr(f"{root}/byteorder", sys.byteorder)
        for key, array in enumerate(arrays.values()):
            archive.writestr(f"{root}/data/{key}", np.asarray(array, order="C").tobytes())
        archive.writestr(f"{root}/version", "3\n")


def _pickled(arrays: Mapping[str, np.ndarray]) -> bytes:
    items = b"".join(_text(name) + _tensor(key, each) for key, (name, each) in enumerate(arrays.items()))
    return b"\x80\x02" + _ORDERED_DICT + b"(" + items + b"u."


def _tensor(key: int, array: np.ndarray) -> bytes:
    steps = np.empty(array.shape, "b").strides if array.size else (1,) * array.ndim
    storage = b"(" + _text("storage") + b"ctorch\n" + _STORAGES[array.dtype.name].encode() + b"\n"
    storage += _text(str(key)) + _text("cpu") + _number(array.size) + b"tQ"
    view = _number(0) + _numbers(array.shape) + _numbers(steps)
    no_gradient = b"\x89"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + view + no_gradient + _ORDERED_DICT + b"tR"


def _text(text: str) -> bytes:
    encoded = text.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _number(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def _numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(_number, values)) + b"t"
