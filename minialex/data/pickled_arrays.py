"""Reading a pickled dictionary of arrays without unpickling it: CIFAR-10 is distributed as pickles.

Of the functions that a pickle may name (`minialex.pickle_machine`) five are known here:

- `_codecs.encode(text, "latin1")`, which is how Python 3 writes bytes in protocols 0 to 2;
- `numpy.dtype`, `numpy.ndarray` and `_reconstruct`, from which arrays are built in protocols 0 to 4, and
  `_frombuffer`, in protocol 5, all under the names of NumPy 1 and NumPy 2.
"""

import enum
import io
import math
import reprlib
from typing import Any, Literal

import numpy as np

from minialex.errors import DataError
from minialex.pickle_machine import DAMAGES, PickleMachine, Refused, as_text

# The original files of CIFAR-10 have 31 MB and some 50,000 instructions each.
MAX_BYTES = 1 << 26
MAX_INSTRUCTIONS = 1 << 20


def read_pickled_dict(content: bytes, name: str) -> dict[str, Any]:
    """Return the dictionary in a pickle, which is interpreted and never executed.

    Nothing is allocated on the word of a length or a shape: an array is a view of the bytes that
    the file holds for it, and must be exactly as long as they are.

    Parameters
    ----------
    content : bytes
        The whole file, at most `MAX_BYTES`.
    name : str
        What to call the file in an error.

    Returns
    -------
    dict
        Its keys as strings (bytes are taken to be ASCII). Its values are None, bool, int, str, bytes, lists,
        tuples, dictionaries, or, in the outermost dictionary only, integer arrays, read-only, in the
        file's own byte order.

    Raises
    ------
    DataError
        If it is damaged, too large, or has an instruction or names a function that no dictionary
        of arrays needs.
    """
    if len(content) > MAX_BYTES:
        raise DataError(f"{name} has {len(content):,} bytes; at most {MAX_BYTES:,} of a pickle are read")
    machine = _Interpreter(content)
    try:
        result = machine.run()
        if machine.file.tell() != len(content):
            raise ValueError("bytes follow its last instruction")
        return _as_dict(result)
    except Refused as error:
        raise DataError(f"{name} is not read, for a pickle may run programs: {error}") from None
    except DAMAGES as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{name} is a damaged pickle ({reason}); fetch it again") from None


def _as_dict(result: object) -> dict[str, Any]:
    if type(result) is not dict:
        raise ValueError(f"it must hold a dictionary, not a {type(result).__name__}")
    return {
        as_text(key): value.array if isinstance(value, _Array) else value for key, value in result.items()
    }


class _Function(enum.Enum):
    """What a pickle of arrays names: none of these is ever called."""

    ENCODE = "_codecs.encode"
    DTYPE = "numpy.dtype"
    NDARRAY = "numpy.ndarray"
    RECONSTRUCT = "_reconstruct"
    FROMBUFFER = "_frombuffer"


_FUNCTIONS = {
    ("_codecs", "encode"): _Function.ENCODE,
    ("numpy", "dtype"): _Function.DTYPE,
    ("numpy", "ndarray"): _Function.NDARRAY,
    ("numpy.core.multiarray", "_reconstruct"): _Function.RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _Function.RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _Function.FROMBUFFER,
    ("numpy._core.numeric", "_frombuffer"): _Function.FROMBUFFER,
}
_DTYPES = {f"{kind}{size}": np.dtype(f"{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8)}


class _Type:
    """A `numpy.dtype` in the making: BUILD tells its byte order."""

    def __init__(self, code: str):
        self.dtype = _DTYPES[code]

    def build(self, state: tuple) -> None:
        order = as_text(state[1])
        if order not in ("<", ">", "=", "|"):
            raise ValueError(f"byte order {order!r}")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """A `numpy.ndarray` in the making: BUILD tells all about it."""

    def __init__(self):
        self._array = None

    @property
    def array(self) -> np.ndarray:
        if self._array is None:
            raise ValueError("an array without contents")
        return self._array

    def build(self, state: tuple) -> None:
        _, shape, kind, by_columns, elements = state
        self.fill(elements, kind, shape, "F" if by_columns else "C")

    def fill(self, elements: bytes, kind: _Type, shape: tuple, order: Literal["F", "C"]) -> None:
        if not isinstance(elements, bytes | bytearray):
            raise ValueError(f"the elements of an array as {type(elements).__name__}")
        if not all(type(length) is int and length >= 0 for length in shape) or len(shape) > 4:
            raise ValueError(f"an array of shape {reprlib.repr(shape)}")
        if math.prod(shape) * kind.dtype.itemsize != len(elements):
            raise ValueError(f"{len(elements):,} bytes for an array of {kind.dtype} and shape {shape}")
        self._array = np.ndarray(shape, kind.dtype, elements, order=order)
        self._array.flags.writeable = False


class _Interpreter(PickleMachine):
    """Makes arrays."""

    functions = _FUNCTIONS
    refused = frozenset({"FLOAT", "BINFLOAT", "BINPERSID"})

    def __init__(self, content: bytes):
        super().__init__(io.BytesIO(content), MAX_INSTRUCTIONS)
        # Every string is encoded once at most, so this many bytes can come of it.
        self.encodable = len(content)

    def call(self, function: Any, arguments: tuple) -> Any:
        if function is _Function.ENCODE:
            text, encoding = arguments
            if encoding not in ("latin1", "latin-1"):
                raise Refused(f"it encodes a string as {reprlib.repr(encoding)}")
            self.encodable -= len(text)
            if self.encodable < 0:
                raise Refused("it encodes the same string many times")
            return text.encode("latin-1")
        if function is _Function.DTYPE:
            code = as_text(arguments[0]).lstrip("|<>=")
            if code not in _DTYPES:
                raise Refused(f"it has an array of type {reprlib.repr(code)}")
            return _Type(code)
        if function is _Function.RECONSTRUCT:
            if arguments[0] is not _Function.NDARRAY:
                raise ValueError("_reconstruct of something other than numpy.ndarray")
            return _Array()
        if function is _Function.FROMBUFFER:
            elements, kind, shape, order = arguments
            if order not in ("C", "F"):
                raise Refused(f"it has an array of order {reprlib.repr(order)}")
            array = _Array()
            array.fill(elements, kind, shape, order)
            return array
        raise Refused(f"it calls {function.value if isinstance(function, _Function) else 'a value'}")

    def change(self, thing: Any, state: Any) -> Any:
        if not isinstance(thing, _Type | _Array):
            raise Refused(f"it changes the state of {type(thing).__name__}")
        thing.build(state)
        return thing
