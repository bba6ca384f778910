"""How a checked module is compiled, and where in the source its instructions are.

The compiler inserts the calls that ``runtime/checker.cpp`` answers. What it would do to accesses before that
is turned off, so that the accesses that are checked and counted are those of the source: otherwise a load
that is not needed twice would be left out, and a float4 that is used by its members loaded in four parts.
"""

from __future__ import annotations

import bisect
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from minialex.errors import DeviceError
from minialex.integers import ceil_div

COMPILER_FLAGS = (
    "-DMINIALEX_CHECKED",
    "-O1",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-g",
    "-gdwarf-4",
    "-fno-exceptions",
    "-fsanitize=thread,alignment,bounds,integer-divide-by-zero",
    "--param=tsan-instrument-func-entry-exit=0",
    "-fno-tree-sra",
    "-fno-tree-fre",
    "-fno-tree-pre",
    "-fno-tree-dse",
    "-fno-tree-dominator-opts",
    "-fno-tree-loop-im",
    "-fno-tree-forwprop",
    "-fno-tree-sink",
    "-fno-store-merging",
)
"""Only for the user's source: the executor and the checker are compiled without -fsanitize."""

LINKER_FLAGS = ("-nodefaultlibs", "-lstdc++", "-lm", "-lc", "-lgcc_s", "-lgcc")
"""All libraries but those of the sanitizers, which g++ would add."""

_VARIABLE_SPACE = 65536
_SYMBOL = re.compile(r"([0-9a-f]+)(?: ([0-9a-f]+))? \w (.+)")
_RUNTIME = Path(__file__).parent / "runtime"


@dataclass(frozen=True)
class Place:
    """A line of a source.

    Attributes
    ----------
    file : str
    line : int
    callers : tuple of (str, int)
        The lines from which the function that holds it was called, the innermost first, as far as those
        calls were inlined.
    """

    file: str
    line: int
    callers: tuple[tuple[str, int], ...] = ()

    @property
    def is_in_runtime(self) -> bool:
        """Whether it belongs to one of the executor's headers, and to no line of the source."""
        return Path(self.file).parent == _RUNTIME


@dataclass(frozen=True)
class Variable:
    """A variable in shared, global or constant memory.

    Attributes
    ----------
    name : str
        As in the source.
    offset, bytes : int
        Where it begins, counted from the start of the library, and its size.
    limit : int
        The offset up to which nothing else follows it.
    """

    name: str
    offset: int
    bytes: int
    limit: int


@dataclass(frozen=True)
class _Symbol:
    mangled: str
    readable: str
    offset: int
    bytes: int


class Symbols:
    """What the symbol table and the debugging information of a library say.

    Parameters
    ----------
    library : Path
    """

    def __init__(self, library: Path):
        self.library = library
        self._places: dict[int, Place] = {}
        # In the file's order, which is the same with and without names made readable.
        mangled, readable = (
            [_SYMBOL.fullmatch(line) for line in _run("nm", "-p", "-S", *option, str(library)).splitlines()]
            for option in ((), ("-C",))
        )
        self._table = [
            _Symbol(first[3], second[3], int(first[1], 16), int(first[2] or "0", 16))
            for first, second in zip(mangled, readable, strict=True)
            if first and second
        ]
        self._begins = sorted(symbol.offset for symbol in self._table if symbol.bytes)

    def offset(self, name: str) -> int:
        """Where a symbol is, counted from the start of the library."""
        return next(symbol.offset for symbol in self._table if symbol.mangled == name)

    def shared_variables(self) -> list[Variable]:
        """The static shared variables of all kernels.

        They begin at a multiple of 64 KiB, as cuda_language.h demands, and are in its section, or in
        functions: in templates g++ ignores the section.
        """
        bounds = {
            symbol.mangled: symbol.offset for symbol in self._table if "minialex_shared" in symbol.mangled
        }
        section = range(bounds.get("__start_minialex_shared", 0), bounds.get("__stop_minialex_shared", 0))
        found = []
        for symbol in self._table:
            is_shared = symbol.mangled.startswith("_ZZ") or symbol.offset in section
            if symbol.bytes and is_shared and symbol.offset % _VARIABLE_SPACE == 0:
                name = symbol.readable.rpartition("::")[2]
                found.append(self.variable(name, symbol.offset, symbol.bytes))
        return found

    def variable(self, name: str, offset: int, size: int) -> Variable:
        """A variable that begins at a multiple of 64 KiB."""
        end = offset + size
        following = self._begins[bisect.bisect_left(self._begins, end) :][:1]
        limit = ceil_div(end, _VARIABLE_SPACE) * _VARIABLE_SPACE
        return Variable(name, offset, size, min([limit, *following]))

    def places(self, offsets: Iterable[int]) -> dict[int, Place]:
        """The source line of each instruction that returns to one of these offsets into the library."""
        unknown = set(offsets) - self._places.keys()
        self._places.update(places(self.library, unknown))
        return {offset: self._places[offset] for offset in offsets}


def places(library: Path, offsets: Iterable[int]) -> dict[int, Place]:
    """The source line of each instruction that returns to one of these offsets into a library."""
    known = sorted(set(offsets))
    if not known:
        return {}
    # A call's return address belongs to the next instruction.
    addresses = [f"{offset - 1:#x}" for offset in known]
    output = _run("addr2line", "-a", "-i", "-e", str(library), *addresses)
    found = re.split(r"^0x[0-9a-f]+\n", output, flags=re.MULTILINE)[1:]
    return {offset: _place(lines.splitlines()) for offset, lines in zip(known, found, strict=True)}


def _place(lines: list[str]) -> Place:
    """The innermost of the nested calls that is not in the runtime."""
    frames: list[tuple[str, int]] = []
    for text in lines:
        file, _, line = text.partition(" (discriminator")[0].rpartition(":")
        if Path(file).name.startswith("<"):
            file = Path(file).name  # a source that is no file
        frames.append((file, int(line) if line.isdecimal() else 0))
    outside = [frame for frame in frames if Path(frame[0]).parent != _RUNTIME] or frames
    file, line = outside[0]
    return Place(file, line, tuple(outside[1:]))


def _run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        raise DeviceError(f"{command[0]} is not installed: it is part of the binutils, which come with g++")
    import subprocess

    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
