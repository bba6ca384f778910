"""Writing a check down as lines of Python that repeat it, to the last bit, when they are pasted.

Small arrays are written as their numbers, larger ones as compressed text. What is too large for a message
is saved where the environment variable ``MINIALEX_GRADCHECK_DIR`` names a folder for it, and nowhere else: a
check leaves no files behind unless it was asked to.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
import math
import os
import textwrap
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from minialex.checking.constraints import Constraint
from minialex.errors import MiniAlexError
from minialex.files import write_atomically
from minialex.tensor import Tensor

FOLDER_VARIABLE = "MINIALEX_GRADCHECK_DIR"

# Up to this many numbers an array is written as they are.
_PRINTED = 200
# Up to this many bytes, for all arrays of a check, the others are written as compressed text.
_PACKED = 256 * 1024
_WIDTH = 100
# Written even where they have their default: what a reader asks first about a check.
_ALWAYS = ("dtype", "mode", "seed")
_WRITTEN_AS_THEY_ARE = (bool, int, float, complex, str, bytes, slice, range, type(None), type(...))


class Expression:
    """An argument that writes itself, as those of other libraries do."""

    def code(self, text_of: Callable[[object], str]) -> str:
        """The expression; `text_of` gives that of a part, and a name to an array."""
        raise NotImplementedError


@dataclass
class Reproduction:
    """The lines that repeat a check. They are written when `str` asks for them, which is when it fails.

    Attributes
    ----------
    check : callable
        `check_vjp`, `gradcheck` or another function of `minialex`; its defaults are left out.
    functions : sequence of str
        The names that the functions under check go by in the lines; the reader defines them.
    arguments : sequence
        What the functions are called with: arrays, tensors, and whatever else can be written.
    options : dict
    note : str
        What the functions were called where they were checked.
    imports : sequence of str
        Lines that import what the expressions need.
    before : sequence of Expression
        Statements that stand before the call.
    """

    check: Callable
    functions: Sequence[str]
    arguments: Sequence
    options: Mapping = field(default_factory=dict)
    note: str = ""
    imports: Sequence[str] = ()
    before: Sequence[Expression] = ()

    def __post_init__(self):
        # The functions under check may change what they are called with; that may be why the check fails.
        self.arguments = [_kept(each) for each in self.arguments]

    def __str__(self) -> str:
        """The lines."""
        arrays = _Arrays()
        inputs = ", ".join(arrays.text_of(each) for each in self.arguments)
        options = "".join(
            f", {name}={arrays.text_of(value, name)}"
            for name, value in essential(self.check, self.options).items()
        )
        call = f"ma.{self.check.__name__}({', '.join(self.functions)}, [{inputs}]{options})"
        before = [arrays.text_of(each) for each in self.before]
        notes = ", ".join(filter(None, (self.note, *arrays.others)))
        return "\n".join(
            [
                "import numpy as np",
                *self.imports,
                "import minialex as ma",
                *arrays.imports,
                *arrays.lines(),
                *before,
                call + (f"  # {notes}" if notes else ""),
            ]
        )


@dataclass(frozen=True)
class Deferred:
    """Lines to reproduce a check that a function writes once the check has failed.

    To write down the inputs of each check that passes would take long, and might save files of them.
    """

    write: Callable[[], str]

    def __str__(self) -> str:
        """The lines."""
        return self.write()


def essential(function: Callable, options: Mapping) -> dict:
    """The options that repeat a call of a function: without those that have their default."""
    defaults = {p.name: p.default for p in inspect.signature(function).parameters.values()}
    return {
        name: value
        for name, value in options.items()
        if name in _ALWAYS or not _is_default(value, defaults.get(name))
    }


def _is_default(value, default) -> bool:
    return value is default or (type(value) is type(default) and not callable(value) and value == default)


class _Arrays:
    """The arrays of a reproduction: each gets a name, and lines that make it again."""

    def __init__(self):
        self.named: list[tuple[str, np.ndarray]] = []
        self.imports: list[str] = []
        # What has no expression: the reader defines it, as the functions.
        self.others: list[str] = []

    def lines(self) -> list[str]:
        return _written([array for _, array in self.named], [name for name, _ in self.named])

    def text_of(self, value, name: str = "") -> str:
        """An expression for a value; `name` is that of the option, if it is one."""
        if isinstance(value, Expression):
            return value.code(self.text_of)
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, np.ndarray):
            self.named.append((f"x{len(self.named)}", value))
            return self.named[-1][0]
        if isinstance(value, Constraint):
            return self._constraint(value)
        if name == "dtype":
            return repr(np.dtype(value).name)
        if isinstance(value, np.generic) and value.dtype.kind in "fiub":
            item = value.item()
            finite = value.dtype.kind != "f" or math.isfinite(item)
            return f"np.dtype({value.dtype.name!r}).type({item if finite else str(item)!r})"
        if type(value) in (list, tuple):
            inner = ", ".join(map(self.text_of, value))
            return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
        if type(value) is dict:
            inner = ", ".join(f"{self.text_of(k)}: {self.text_of(v)}" for k, v in value.items())
            return f"{{{inner}}}"
        if isinstance(value, float) and not math.isfinite(value):
            return f"float({str(value)!r})"
        if isinstance(value, _WRITTEN_AS_THEY_ARE):
            return repr(value)
        own = getattr(value, "__name__", "")
        text = name or (own if own.isidentifier() else f"other{len(self.others)}")
        self.others.append(f"{text}: {own or type(value).__name__}")
        return text

    def _tensor(self, tensor: Tensor) -> str:
        inner = self.text_of(tensor.numpy())
        grad = ", requires_grad=True" if tensor.requires_grad else ""
        device = f", device={tensor.device!r}" if tensor.device != "cpu" else ""
        return f"ma.Tensor({inner}{grad}{device})"

    def _constraint(self, constraint: Constraint) -> str:
        line = "from minialex.checking import constraints"
        if line not in self.imports:
            self.imports.append(line)
        directions = getattr(constraint, "directions", None)
        given = "" if directions is None else f"([{', '.join(map(self.text_of, directions))}])"
        return f"constraints.{constraint}{given}"


def array_lines(arrays: Sequence[np.ndarray]) -> list[str]:
    """Lines that make the arrays again, bit for bit, as x0, x1, ..."""
    return _written(arrays, [f"x{i}" for i in range(len(arrays))])


def written(*values) -> tuple[list[str], list[str]]:
    """Lines that make the arrays in some values, and an expression for each value, given NumPy as np."""
    arrays = _Arrays()
    expressions = [arrays.text_of(value) for value in values]
    return [*arrays.imports, *arrays.lines()], expressions


def options_text(**options) -> str:
    """Keyword arguments, without those that are None."""
    return "".join(f", {name}={value!r}" for name, value in options.items() if value is not None)


def unpacked(dtype: str, shape: tuple[int, ...], text: str) -> np.ndarray:
    """The array whose bytes were compressed and written as text by a reproduction.

    Raises
    ------
    MiniAlexError
        If the text is not whole.
    """
    expected = np.dtype(dtype).itemsize * math.prod(shape)
    try:
        # Never more than was packed, whatever the text holds.
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(base64.b64decode(text, validate=True), expected + 1)
    except (ValueError, zlib.error) as error:
        raise MiniAlexError(f"text of {len(text):,} characters is not a packed array: {error}") from None
    if len(data) != expected:
        raise MiniAlexError(
            f"text holds {len(data):,} bytes or more, an array {dtype} {shape} has {expected:,}: "
            "paste all of its lines"
        )
    return np.frombuffer(data, dtype).reshape(shape).copy()


def _kept(value):
    """A copy of an argument that the function under check cannot reach."""
    if isinstance(value, np.ndarray):
        return np.array(value, order="C")
    if isinstance(value, Tensor):
        return Tensor(
            np.array(value.numpy(), order="C"), requires_grad=value.requires_grad, device=value.device
        )
    return value


def _written(arrays: Sequence[np.ndarray], names: Sequence[str]) -> list[str]:
    lines: list[str] = []
    room = _PACKED
    for name, array in zip(names, arrays, strict=True):
        if array.dtype.kind == "O":
            lines.append(f"{name} = np.array({array.tolist()!r}, object).reshape({array.shape})")
            continue
        if array.size <= _PRINTED and array.dtype.kind in "fiub" and np.isfinite(array).all():
            lines += _as_numbers(name, array)
            continue
        # With many bytes it is not worth trying: numbers shrink little, and few arrays are constant.
        packed = zlib.compress(array.tobytes(), 9) if array.nbytes <= 16 * _PACKED else None
        if packed is not None and len(packed) <= room:
            if room == _PACKED:
                lines.insert(0, "from minialex.checking.reproduction import unpacked")
            room -= len(packed)
            lines += _as_text(name, array, packed)
        else:
            lines.append(_as_file(name, array))
    return lines


def _as_numbers(name: str, array: np.ndarray) -> list[str]:
    numbers = ", ".join(map(repr, array.ravel().tolist()))
    text = f"{name} = np.array([{numbers}], {_dtype(array)!r}).reshape({array.shape})"
    return textwrap.wrap(
        text, _WIDTH, break_long_words=False, break_on_hyphens=False, subsequent_indent="    "
    )


def _as_text(name: str, array: np.ndarray, packed: bytes) -> list[str]:
    text = base64.b64encode(packed).decode()
    quoted = [f"    {text[i : i + _WIDTH]!r}" for i in range(0, len(text), _WIDTH)]
    return [f"{name} = unpacked({_dtype(array)!r}, {array.shape},", *quoted, ")"]


def _as_file(name: str, array: np.ndarray) -> str:
    file = Path(f"{hashlib.sha256(array.tobytes()).hexdigest()[:16]}.npy")
    described = f"{_dtype(array)} {array.shape}, {array.nbytes / 1e6:.1f} MB"
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return (
            f"{name} = np.load({str(file)!r})  # {described}: too large to print; run the check again with "
            f"the environment variable {FOLDER_VARIABLE}=. and it is saved there"
        )
    path = Path(folder).absolute() / file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda temporary: _save(temporary, array))
    except OSError as error:
        # The failure of the check is what matters.
        return f"{name} = np.load({str(path)!r})  # {described}; it could not be saved: {error.strerror}"
    return f"{name} = np.load({str(path)!r})  # {described}"


def _save(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def _dtype(array: np.ndarray) -> str:
    """A name that NumPy takes for exactly this dtype, byte order included."""
    return array.dtype.name if array.dtype.isnative and array.dtype.kind in "fiub" else array.dtype.str
