"""Files of ``torch.save``, read without PyTorch and without unpickling.

Since PyTorch 1.6 they are zip archives: ``NAME/data.pkl`` is the pickle, ``NAME/data/KEY`` the numbers of
one storage, as they stand in memory, and ``NAME/byteorder`` their order. Before, they were a stream, and they
still are where ``_use_new_zipfile_serialization=False`` was said: five pickles (a magic number, a version,
what is known of the machine, the object, and the keys of the storages), and then each storage, its length in
front.

A tensor is a view of a storage: offset, shape and strides. Nothing is allocated on the word of any of these:
a storage is as long as the bytes that the file holds for it, a view must lie within it and have no more
numbers. bfloat16, which NumPy lacks, becomes float32, exactly.

The pickle is interpreted (`minialex.pickle_machine`): it may name PyTorch's types of storages, the functions
that make tensors of them, and OrderedDict; nothing of it is called. So a whole pickled module is refused, as
it is by ``torch.load(weights_only=True)``.
"""

from __future__ import annotations

import enum
import io
import math
import mmap
import os
import struct
import zipfile
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from minialex.errors import CheckpointError, DataError
from minialex.files import open_file
from minialex.pickle_machine import DAMAGES, PickleMachine, Refused, as_text, pairs

# A checkpoint of the largest network here has some thousand tensors, of thirty instructions each.
MAX_PICKLE_BYTES = 2**26
MAX_INSTRUCTIONS = 2**20
MAX_AXES = 32
MAX_DEPTH = 100

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001


class _Call(enum.Enum):
    """What a pickle of tensors names and calls."""

    ORDERED_DICT = "collections.OrderedDict"
    SIZE = "torch.Size"
    DEVICE = "torch.device"
    PARAMETER = "torch._utils._rebuild_parameter"
    TENSOR = "torch._utils._rebuild_tensor"
    TENSOR_V2 = "torch._utils._rebuild_tensor_v2"
    TENSOR_V3 = "torch._utils._rebuild_tensor_v3"


class _Type(NamedTuple):
    """A type of PyTorch's numbers: how they are stored. bfloat16 is stored as the upper half of a float32."""

    name: str
    stored: str

    @property
    def size(self) -> int:
        return np.dtype(self.stored).itemsize


_TYPES = {
    "Double": _Type("float64", "f8"),
    "Float": _Type("float32", "f4"),
    "Half": _Type("float16", "f2"),
    "BFloat16": _Type("bfloat16", "u2"),
    "Long": _Type("int64", "i8"),
    "Int": _Type("int32", "i4"),
    "Short": _Type("int16", "i2"),
    "Char": _Type("int8", "i1"),
    "Byte": _Type("uint8", "u1"),
    "Bool": _Type("bool", "?"),
}
_UNTYPED = _Type("uint8", "u1")
_FUNCTIONS = {
    **{tuple(each.value.rsplit(".", 1)): each for each in _Call},
    **{("torch", f"{name}Storage"): kind for name, kind in _TYPES.items()},
    **{("torch", kind.name): kind for kind in _TYPES.values()},
    ("torch.storage", "UntypedStorage"): _UNTYPED,
    ("torch", "UntypedStorage"): _UNTYPED,
}


class _Storage:
    """A run of numbers in the file, of which tensors are views."""

    def __init__(self, kind: _Type, length: int):
        self.kind, self.length = kind, length
        self.content: bytes | None = None
        self.order = "<"

    @property
    def size(self) -> int:
        """Bytes."""
        return self.length * self.kind.size


class _Tensor:
    """A view of a storage whose numbers may be read only later."""

    def __init__(self, kind: _Type, storage: _Storage, offset: int, shape: tuple, strides: tuple):
        if not isinstance(storage, _Storage) or not isinstance(kind, _Type):
            raise ValueError("a tensor without a storage")
        if not (type(shape) is tuple and type(strides) is tuple and len(shape) == len(strides) <= MAX_AXES):
            raise ValueError(f"a tensor of shape {shape!r:.80} and strides {strides!r:.80}")
        if not all(type(each) is int and 0 <= each < 2**48 for each in (offset, *shape, *strides)):
            raise ValueError(f"a tensor of shape {shape!r:.80} and strides {strides!r:.80} at {offset!r:.40}")
        held = storage.size // kind.size
        last = offset + sum((length - 1) * step for length, step in zip(shape, strides, strict=True))
        if math.prod(shape) and not last < held:
            raise ValueError(f"a tensor of shape {shape} at {offset} in a storage of {held:,} numbers")
        if math.prod(shape) > held:
            raise Refused(f"it has a tensor of shape {shape} in a storage of {held:,} numbers")
        self.kind, self.storage, self.offset, self.shape, self.strides = kind, storage, offset, shape, strides

    def array(self) -> np.ndarray:
        """The numbers, read-only: in the storage's memory if they can stay there."""
        held, name = self.storage.size // self.kind.size, self.kind.name
        if self.storage.content is None:
            raise ValueError("a tensor whose storage is not in the file")
        if not math.prod(self.shape):
            return np.empty(self.shape, "f4" if name == "bfloat16" else self.kind.stored)
        numbers = np.frombuffer(self.storage.content, self.storage.order + self.kind.stored, held)
        steps = tuple(step * numbers.itemsize for step in self.strides)
        array = np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, steps, writeable=False)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        if name == "bfloat16":
            array = (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return array


class _Reader(PickleMachine):
    """Makes tensors of storages, which it collects by key."""

    functions = _FUNCTIONS

    def __init__(self, file: Any, storages: dict[str, _Storage]):
        super().__init__(file, MAX_INSTRUCTIONS)
        self.storages = storages

    def stored(self, key: Any) -> _Storage:
        if type(key) is not tuple or len(key) not in (5, 6) or as_text(key[0]) != "storage":
            raise ValueError("a reference to something that is no storage")
        _, kind, name, _, length, *view = key
        if not isinstance(kind, _Type) or type(length) is not int or not 0 <= length < 2**48:
            raise ValueError("a storage without a type or a length")
        if view and view[0] is not None:
            raise Refused("it has a storage that is a view of another, as PyTorch wrote before version 0.4")
        storage = self.storages.setdefault(as_text(name), _Storage(kind, length))
        if (storage.kind, storage.length) != (kind, length):
            raise ValueError(f"two storages of the key {name!r:.80}")
        return storage

    def call(self, function: Any, arguments: tuple) -> Any:
        match function:
            case _Call.ORDERED_DICT:
                # Python 2 wrote its pairs as an argument, Python 3 sets them afterwards.
                return dict(pairs([each for pair in arguments[0] for each in pair])) if arguments else {}
            case _Call.SIZE:
                return tuple(arguments[0])
            case _Call.DEVICE:
                return ":".join(map(str, arguments))
            case _Call.PARAMETER:
                tensor = arguments[0]
                if not isinstance(tensor, _Tensor):
                    raise ValueError("a parameter without a tensor")
                return tensor
            case _Call.TENSOR | _Call.TENSOR_V2:
                storage, offset, shape, strides, *_ = arguments
                return _Tensor(storage.kind, storage, offset, shape, strides)
            case _Call.TENSOR_V3:
                storage, offset, shape, strides, _, _, kind, *_ = arguments
                return _Tensor(kind, storage, offset, shape, strides)
        raise Refused(f"it calls {function!r:.80}")

    def change(self, thing: Any, state: Any) -> Any:
        # A state dictionary's `_metadata`, the versions of its modules' forms.
        if type(thing) is not dict or type(state) is not dict:
            raise Refused(f"it changes the state of {type(thing).__name__}")
        return thing


def is_torch_file(start: bytes) -> bool:
    """Whether a file that begins with these bytes, four or more, may be one of ``torch.save``."""
    return start[:4] == b"PK\x03\x04" or start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def read_torch_file(path: str | os.PathLike[str]) -> Any:
    """What a file of ``torch.save`` holds, each tensor as an array.

    Parameters
    ----------
    path : path-like
        A zip archive or a legacy stream.

    Returns
    -------
    object
        Dictionaries, lists, tuples, numbers, texts, and read-only arrays of the machine's byte order.
        bfloat16 is float32 here, a parameter its array, and a type its name.

    Raises
    ------
    CheckpointError
        If the file is missing or damaged, or its pickle names anything but tensors: a whole module.
    """
    name = os.fspath(path)
    try:
        with open_file(name) as file:
            start = file.read(4)
            file.seek(0)
            value = _read_archive(file) if start == b"PK\x03\x04" else _read_stream(file)
            return _Arrays(os.fstat(file.fileno()).st_size).of(value)
    except DataError as error:
        raise CheckpointError(str(error)) from None
    except Refused as error:
        raise CheckpointError(
            f"{name!r} is not read, for a pickle may run programs, and this one holds more than tensors: "
            f"{error}; with PyTorch, write the state dictionary alone: "
            "torch.save(model.state_dict(), new_path)"
        ) from None
    except (OSError, zipfile.BadZipFile, EOFError, struct.error, RuntimeError, *DAMAGES) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(
            f"{name!r} is damaged, or no file of torch.save ({reason}); fetch it again"
        ) from None


def _read_archive(file: BinaryIO) -> Any:
    size = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        entries = {each.filename: each for each in archive.infolist()}
        pickles = [each for each in entries if each.endswith("/data.pkl") and each.count("/") == 1]
        if len(pickles) != 1:
            constants = any(each.endswith("/constants.pkl") for each in entries)
            raise Refused("it is a program of TorchScript") if constants else ValueError("it has no data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}constants.pkl" in entries:
            raise Refused("it is a program of TorchScript")
        left = size

        def content(entry: str, length: int | None = None, most: int = size) -> bytes:
            nonlocal left
            if entry not in entries:
                raise ValueError(f"{entry} is missing")
            info = entries[entry]
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                raise ValueError(f"{entry} is compressed, which torch.save never does")
            left -= info.file_size
            if info.file_size > most or left < 0:
                raise ValueError(f"{entry} is larger than the file, or than it may be")
            if length is not None and info.file_size != length:
                raise ValueError(f"{entry} has {info.file_size:,} bytes where {length:,} are needed")
            return archive.read(info)

        order = ">" if f"{folder}byteorder" in entries and content(f"{folder}byteorder") == b"big" else "<"
        storages: dict[str, _Storage] = {}
        value = _Reader(io.BytesIO(content(pickles[0], most=MAX_PICKLE_BYTES)), storages).run()
        for key, storage in storages.items():
            storage.content, storage.order = content(f"{folder}data/{key}", storage.size), order
    return value


def _read_stream(file: BinaryIO) -> Any:
    storages: dict[str, _Storage] = {}
    # A map never reads more than there is, whatever length an instruction claims.
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:

        def pickled() -> Any:
            return _Reader(content, storages).run()

        if pickled() != _MAGIC:
            raise Refused("it is a pickle without the magic number of torch.save")
        version, _, value, keys = (pickled() for _ in range(4))
        if version != _VERSION:
            raise ValueError(f"version {version!r:.40} of the format; {_VERSION} is read")
        if type(keys) is not list:
            raise ValueError("no list of storages")
        for key in keys:
            storage = storages[as_text(key)]
            (length,) = struct.unpack("<q", content.read(8))
            if length != storage.length or storage.size > len(content) - content.tell():
                raise ValueError(f"the storage {key!r:.80} is cut short")
            storage.content = content.read(storage.size)
    return value


class _Arrays:
    """Puts arrays in place of tensors, in containers that may hold themselves."""

    def __init__(self, file_size: int):
        # What is made beside the storages: numbers of another byte order, and bfloat16, of twice the size.
        self.left = 4 * file_size
        self.made: dict[int, Any] = {}
        self.pending: list[Any] = []

    def of(self, value: Any) -> Any:
        value = self.replaced(value, 0)
        while self.pending:
            holder = self.pending.pop()
            for place, each in list(holder.items() if type(holder) is dict else enumerate(holder)):
                holder[place] = self.replaced(each, 0)
        return value

    def replaced(self, value: Any, depth: int) -> Any:
        if not isinstance(value, _Tensor | _Storage | _Type | _Call | tuple | dict | list):
            return value
        # All that the pickle made is alive as long as this: an id names one thing.
        if id(value) not in self.made:
            self.made[id(value)] = self.new(value, depth)
        return self.made[id(value)]

    def new(self, value: Any, depth: int) -> Any:
        if isinstance(value, _Tensor):
            array = value.array()
            if array.flags.writeable:
                self.left -= array.nbytes
                if self.left < 0:
                    raise Refused("its tensors share storages and have many times the file's numbers")
                array.flags.writeable = False
            return array
        if type(value) is tuple:
            if depth == MAX_DEPTH:
                raise Refused(f"it has tuples within tuples, more than {MAX_DEPTH} deep")
            return tuple(self.replaced(each, depth + 1) for each in value)
        if type(value) in (dict, list):
            self.pending.append(value)
            return value
        if isinstance(value, _Type):
            return value.name
        raise Refused("it has a storage without a tensor")
