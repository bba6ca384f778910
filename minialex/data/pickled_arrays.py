"""Reading a pickled dictionary of arrays without unpickling it.

A pickle is a program: `pickle.load` imports and calls whatever the file names. CIFAR-10 is
distributed as pickles, so here is an interpreter of the few instructions that such files consist
of, for protocols 0 to 5. It imports nothing and calls nothing: of the functions that a pickle may
name it knows five, and builds what they would have built itself. Everything else is refused.

- the instructions are `_INSTRUCTIONS`: constants, strings, lists, tuples, dictionaries, the memo,
  and GLOBAL, STACK_GLOBAL, REDUCE and BUILD on the functions below;
- `_codecs.encode(text, "latin1")`, which is how Python 3 writes bytes in protocols 0 to 2;
- `numpy.dtype`, `numpy.ndarray` and `_reconstruct`, from which arrays are built in protocols 0 to
  4, and `_frombuffer`, in protocol 5, all under the names of NumPy 1 and NumPy 2.

The strings of Python 2 are bytes here. The instructions and their arguments are described in the
standard library's `pickletools`, which also reads most of the arguments.
"""

import codecs
import enum
import io
import math
import pickletools
import re
import reprlib
from typing import Any, Literal, TypeVar

import numpy as np

from minialex.errors import DataError

# The original files of CIFAR-10 have 31 MB and some 50,000 instructions each. The smallest
# instruction has one byte and makes an object of 56.
MAX_BYTES = 1 << 26
MAX_INSTRUCTIONS = 1 << 20

Kind = TypeVar("Kind")


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
    try:
        return _as_dict(_Interpreter(content).run())
    except _Refused as error:
        raise DataError(f"{name} is not read, for a pickle may run programs: {error}") from None
    # What a damaged file makes of the interpreter: an empty stack, a value of the wrong type, an
    # argument that pickletools cannot read. It only moves values about, so no bug hides here.
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{name} is a damaged pickle ({reason}); fetch it again") from None


def _as_dict(result: object) -> dict[str, Any]:
    if type(result) is not dict:
        raise ValueError(f"it must hold a dictionary, not a {type(result).__name__}")
    return {
        _as_text(key): value.array if isinstance(value, _Array) else value for key, value in result.items()
    }


class _Refused(Exception):
    """The pickle asks for something that a dictionary of arrays does not need."""


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
        order = _as_text(state[1])
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


class _Interpreter:
    """The pickle machine: a stack, a memo, and one method for each kind of instruction."""

    def __init__(self, content: bytes):
        self.file = io.BytesIO(content)
        self.size = len(content)
        self.stack = []
        self.marks = []  # how long the stack was at each MARK that is still open
        self.memo = {}
        # Every string is encoded once at most, so this many bytes can come of it.
        self.encodable = len(content)

    def run(self) -> object:
        for _ in range(MAX_INSTRUCTIONS):
            code = self.file.read(1).decode("latin-1")
            if not code:
                raise ValueError("it ends before its last instruction")
            instruction = pickletools.code2op.get(code)  # pyright: ignore[reportAttributeAccessIssue]
            if instruction is None:
                raise ValueError(f"byte {ord(code):#04x} is not an instruction")
            if instruction.name == "STOP":
                return self.result()
            if instruction.name not in _INSTRUCTIONS:
                raise _Refused(f"it has the instruction {instruction.name}")
            if instruction.name in _READERS:
                argument = _READERS[instruction.name](self)
            else:
                argument = instruction.arg.reader(self.file) if instruction.arg else None
            _INSTRUCTIONS[instruction.name](self, argument)
        raise _Refused(f"it has more than {MAX_INSTRUCTIONS:,} instructions")

    def result(self) -> object:
        if len(self.stack) != 1 or self.marks:
            raise ValueError("it leaves something over")
        if self.file.tell() != self.size:
            raise ValueError("bytes follow its last instruction")
        return self.stack[0]

    def line(self) -> bytes:
        line = self.file.readline()
        if not line.endswith(b"\n"):
            raise ValueError("a line without an end")
        return line[:-1]

    def two_lines(self) -> tuple[str, str]:
        """Read the names of GLOBAL; pickletools takes escapes in them, which `pickle` does not."""
        return self.line().decode(), self.line().decode()

    def quoted_string(self) -> bytes:
        """Read what Python 2 wrote as repr(string); pickletools of Python 3.11 takes ASCII only."""
        line = self.line()
        if len(line) < 2 or line[0] not in b"'\"" or line[-1] != line[0]:
            raise ValueError("a string without quotes")
        text = line[1:-1]
        # Of an escape that repr never wrote, the decoder would only warn.
        if re.search(rb"\\[^'\"nrtx]", text.replace(rb"\\", b"")):
            raise ValueError("a string with an unknown escape")
        return codecs.escape_decode(text)[0]

    def pop_to_mark(self) -> list:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop(self, count: int) -> list:
        start = len(self.stack) - count
        if start < (self.marks[-1] if self.marks else 0):
            raise ValueError("the stack is empty")
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def top(self, kind: type[Kind]) -> Kind:
        """Return the value on top, which the instruction adds to, without removing it."""
        if not isinstance(self.stack[-1], kind):
            raise ValueError(f"{type(self.stack[-1]).__name__} where {kind.__name__} is needed")
        return self.stack[-1]

    def ignore(self, argument: object) -> None:
        """PROTO and FRAME say how to read the file, which pickletools does."""

    def push(self, value: object) -> None:
        self.stack.append(value)

    def push_string(self, value: str | bytes) -> None:
        """Push a string of Python 2, which is bytes; pickletools gives it as Latin-1 text."""
        self.push(value if isinstance(value, bytes) else value.encode("latin-1"))

    def mark(self, argument: None) -> None:
        self.marks.append(len(self.stack))

    def append(self, items: list) -> None:
        self.top(list).extend(items)

    def set_items(self, items: list) -> None:
        for key, value in _pairs(items):
            self.top(dict)[key] = value

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def memoize(self, argument: None) -> None:
        self.put(len(self.memo))

    def get(self, index: int) -> None:
        self.push(self.memo[index])

    def find(self, module: str, name: str) -> None:
        if (module, name) not in _FUNCTIONS:
            raise _Refused(f"it names {reprlib.repr(f'{module}.{name}')}")
        self.push(_FUNCTIONS[module, name])

    def find_from_stack(self, argument: None) -> None:
        module, name = self.pop(2)
        if type(module) is not str or type(name) is not str:
            raise ValueError("the name of a function is not a string")
        self.find(module, name)

    def reduce(self, argument: None) -> None:
        """Build what a call of the function would return."""
        function, arguments = self.pop(2)
        if function is _Function.ENCODE:
            text, encoding = arguments
            if encoding not in ("latin1", "latin-1"):
                raise _Refused(f"it encodes a string as {reprlib.repr(encoding)}")
            self.encodable -= len(text)
            if self.encodable < 0:
                raise _Refused("it encodes the same string many times")
            self.push(text.encode("latin-1"))
        elif function is _Function.DTYPE:
            code = _as_text(arguments[0]).lstrip("|<>=")
            if code not in _DTYPES:
                raise _Refused(f"it has an array of type {reprlib.repr(code)}")
            self.push(_Type(code))
        elif function is _Function.RECONSTRUCT:
            if arguments[0] is not _Function.NDARRAY:
                raise ValueError("_reconstruct of something other than numpy.ndarray")
            self.push(_Array())
        elif function is _Function.FROMBUFFER:
            elements, kind, shape, order = arguments
            if order not in ("C", "F"):
                raise _Refused(f"it has an array of order {reprlib.repr(order)}")
            self.push(_Array())
            self.stack[-1].fill(elements, kind, shape, order)
        else:
            raise _Refused(f"it calls {function.value if isinstance(function, _Function) else 'a value'}")

    def build(self, argument: None) -> None:
        thing, state = self.pop(2)
        if not isinstance(thing, _Type | _Array):
            raise _Refused(f"it changes the state of {type(thing).__name__}")
        thing.build(state)
        self.push(thing)


def _pairs(items: list) -> list[tuple]:
    keys, values = items[::2], items[1::2]
    # Only these are hashed: the hash of tuples within tuples goes as deep as they do.
    if not all(type(key) in (str, bytes, int) for key in keys):
        raise ValueError("the key of a dictionary is neither a string nor a number")
    return list(zip(keys, values, strict=True))


def _as_text(value: object) -> str:
    """Return a string, which bytes are as well where Python 2 wrote the pickle."""
    if isinstance(value, bytes):
        return value.decode("ascii")
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} where a string is needed")
    return value


_PUSH = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)
_READERS = {"STRING": _Interpreter.quoted_string, "GLOBAL": _Interpreter.two_lines}
_INSTRUCTIONS = {
    "PROTO": _Interpreter.ignore,
    "FRAME": _Interpreter.ignore,
    **dict.fromkeys(_PUSH, _Interpreter.push),
    **dict.fromkeys(("STRING", "SHORT_BINSTRING", "BINSTRING"), _Interpreter.push_string),
    "NONE": _Interpreter.push,
    "NEWTRUE": lambda self, argument: self.push(True),
    "NEWFALSE": lambda self, argument: self.push(False),
    "MARK": _Interpreter.mark,
    "EMPTY_LIST": lambda self, argument: self.push([]),
    "LIST": lambda self, argument: self.push(self.pop_to_mark()),
    "APPEND": lambda self, argument: self.append(self.pop(1)),
    "APPENDS": lambda self, argument: self.append(self.pop_to_mark()),
    "EMPTY_DICT": lambda self, argument: self.push({}),
    "DICT": lambda self, argument: self.push(dict(_pairs(self.pop_to_mark()))),
    "SETITEM": lambda self, argument: self.set_items(self.pop(2)),
    "SETITEMS": lambda self, argument: self.set_items(self.pop_to_mark()),
    "EMPTY_TUPLE": lambda self, argument: self.push(()),
    "TUPLE": lambda self, argument: self.push(tuple(self.pop_to_mark())),
    "TUPLE1": lambda self, argument: self.push(tuple(self.pop(1))),
    "TUPLE2": lambda self, argument: self.push(tuple(self.pop(2))),
    "TUPLE3": lambda self, argument: self.push(tuple(self.pop(3))),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Interpreter.put),
    "MEMOIZE": _Interpreter.memoize,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Interpreter.get),
    "GLOBAL": lambda self, names: self.find(*names),
    "STACK_GLOBAL": _Interpreter.find_from_stack,
    "REDUCE": _Interpreter.reduce,
    "BUILD": _Interpreter.build,
}
