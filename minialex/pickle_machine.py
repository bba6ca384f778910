"""Reading what a pickle holds without unpickling it.

A pickle is a program: `pickle.load` imports and calls whatever the file names. Here is an interpreter of the
few instructions that files of arrays consist of, for protocols 0 to 5. It imports nothing and calls nothing:
what a pickle may name, a reader lists in `functions`, and what a call of it would have made, the reader makes
itself (`PickleMachine.call`). Everything else is refused.

The instructions are constants, strings, lists, tuples, dictionaries, the memo, and GLOBAL, STACK_GLOBAL,
REDUCE, BUILD and BINPERSID on what the reader knows. The strings of Python 2 are bytes here. The instructions
and their arguments are described in the standard library's `pickletools`, which also reads most of the
arguments.
"""

from __future__ import annotations

import codecs
import io
import pickletools
import re
import reprlib
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

Kind = TypeVar("Kind")

# What a damaged file makes of the interpreter: an empty stack, a value of the wrong type, an argument that
# pickletools cannot read. It only moves values about, so no bug hides here.
DAMAGES = (ValueError, LookupError, TypeError, AttributeError, OverflowError)


class Refused(Exception):
    """The pickle asks for something that its reader does not need."""


class PickleMachine:
    """The pickle machine: a stack, a memo, and one method for each kind of instruction.

    Parameters
    ----------
    file : binary file
        Read from where it stands to the pickle's last instruction, and no further.
    most : int
        How many instructions are run before the rest is refused. The smallest has one byte and makes an
        object of 56.

    Attributes
    ----------
    functions : mapping from (module, name) to object
        What the pickle may name, and what stands for it. None of these is ever called.
    refused : frozenset of str
        Instructions that the reader needs no more than those of calls.
    """

    functions: ClassVar[Mapping[tuple[str, str], Any]] = {}
    refused: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, file: io.BufferedIOBase, most: int):
        self.file = file
        self.most = most
        self.stack: list = []
        self.marks: list[int] = []  # how long the stack was at each MARK that is still open
        self.memo: dict[int, Any] = {}

    # What a reader says

    def call(self, function: Any, arguments: tuple) -> Any:
        """What a call of the function that this stands for would return."""
        raise Refused(f"it calls {reprlib.repr(function)}")

    def change(self, thing: Any, state: Any) -> Any:
        """What becomes of a thing whose state the pickle sets."""
        raise Refused(f"it changes the state of {type(thing).__name__}")

    def stored(self, key: Any) -> Any:
        """What the file holds outside of the pickle, under a key."""
        raise Refused("it refers to something outside of it")

    # The instructions

    def run(self) -> object:
        """The value that the pickle describes.

        Raises
        ------
        Refused
            If it has an instruction, or names something, that no value needs.
        DAMAGES
            If it is none.
        """
        for _ in range(self.most):
            code = self.file.read(1).decode("latin-1")
            if not code:
                raise ValueError("it ends before its last instruction")
            instruction = pickletools.code2op.get(code)  # pyright: ignore[reportAttributeAccessIssue]
            if instruction is None:
                raise ValueError(f"byte {ord(code):#04x} is not an instruction")
            if instruction.name == "STOP":
                return self.result()
            if instruction.name not in _INSTRUCTIONS or instruction.name in self.refused:
                raise Refused(f"it has the instruction {instruction.name}")
            if instruction.name in _READERS:
                argument = _READERS[instruction.name](self)
            else:
                argument = instruction.arg.reader(self.file) if instruction.arg else None
            _INSTRUCTIONS[instruction.name](self, argument)
        raise Refused(f"it has more than {self.most:,} instructions")

    def result(self) -> object:
        if len(self.stack) != 1 or self.marks:
            raise ValueError("it leaves something over")
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
        for key, value in pairs(items):
            self.top(dict)[key] = value

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def memoize(self, argument: None) -> None:
        self.put(len(self.memo))

    def get(self, index: int) -> None:
        self.push(self.memo[index])

    def find(self, module: str, name: str) -> None:
        if (module, name) not in self.functions:
            raise Refused(f"it names {f'{module}.{name}'!r:.120}")
        self.push(self.functions[module, name])

    def find_from_stack(self, argument: None) -> None:
        module, name = self.pop(2)
        if type(module) is not str or type(name) is not str:
            raise ValueError("the name of a function is not a string")
        self.find(module, name)

    def reduce(self, argument: None) -> None:
        function, arguments = self.pop(2)
        if type(arguments) is not tuple:
            raise ValueError(f"the arguments of a call as {type(arguments).__name__}")
        self.push(self.call(function, arguments))

    def build(self, argument: None) -> None:
        thing, state = self.pop(2)
        self.push(self.change(thing, state))

    def find_stored(self, argument: None) -> None:
        (key,) = self.pop(1)
        self.push(self.stored(key))


def pairs(items: list) -> list[tuple]:
    """Keys and values, which follow each other in a list."""
    keys, values = items[::2], items[1::2]
    # Only these are hashed: the hash of tuples within tuples goes as deep as they do.
    if not all(type(key) in (str, bytes, int) for key in keys):
        raise ValueError("the key of a dictionary is neither a string nor a number")
    return list(zip(keys, values, strict=True))


def as_text(value: object) -> str:
    """A string, which bytes are as well where Python 2 wrote the pickle."""
    if isinstance(value, bytes):
        return value.decode("ascii")
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} where a string is needed")
    return value


_PUSH = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1"),
    *("FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)
_READERS = {"STRING": PickleMachine.quoted_string, "GLOBAL": PickleMachine.two_lines}
_INSTRUCTIONS = {
    "PROTO": PickleMachine.ignore,
    "FRAME": PickleMachine.ignore,
    **dict.fromkeys(_PUSH, PickleMachine.push),
    **dict.fromkeys(("STRING", "SHORT_BINSTRING", "BINSTRING"), PickleMachine.push_string),
    "NONE": PickleMachine.push,
    "NEWTRUE": lambda self, argument: self.push(True),
    "NEWFALSE": lambda self, argument: self.push(False),
    "MARK": PickleMachine.mark,
    "EMPTY_LIST": lambda self, argument: self.push([]),
    "LIST": lambda self, argument: self.push(self.pop_to_mark()),
    "APPEND": lambda self, argument: self.append(self.pop(1)),
    "APPENDS": lambda self, argument: self.append(self.pop_to_mark()),
    "EMPTY_DICT": lambda self, argument: self.push({}),
    "DICT": lambda self, argument: self.push(dict(pairs(self.pop_to_mark()))),
    "SETITEM": lambda self, argument: self.set_items(self.pop(2)),
    "SETITEMS": lambda self, argument: self.set_items(self.pop_to_mark()),
    "EMPTY_TUPLE": lambda self, argument: self.push(()),
    "TUPLE": lambda self, argument: self.push(tuple(self.pop_to_mark())),
    "TUPLE1": lambda self, argument: self.push(tuple(self.pop(1))),
    "TUPLE2": lambda self, argument: self.push(tuple(self.pop(2))),
    "TUPLE3": lambda self, argument: self.push(tuple(self.pop(3))),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), PickleMachine.put),
    "MEMOIZE": PickleMachine.memoize,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), PickleMachine.get),
    "GLOBAL": lambda self, names: self.find(*names),
    "STACK_GLOBAL": PickleMachine.find_from_stack,
    "BINPERSID": PickleMachine.find_stored,
    "REDUCE": PickleMachine.reduce,
    "BUILD": PickleMachine.build,
}
