"""What a compiled source would run on the host: found in its object file, before anything loads it.

CUDA has no dynamic initialisation: a variable in global, constant or shared memory has an initial value that
the compiler knows, or none, and its constructor is empty. On the host, constructors and destructors of such
variables would run when the library is loaded and when the process ends, outside of any launch.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from minialex.kernels.cuda_host import tokens

_INSTRUMENTATION = re.compile(r"\.(?:init|fini)_array\.00099")
"""Where the sanitizers have one function of theirs."""

_RUNS = re.compile(r"\.(?:preinit|init|fini)_array\b.*|\.[cd]tors\b.*")
_CONSTINIT = re.compile(
    r"^(?P<place>[^\n]*?:\d+):(?P<column>\d+): error: "
    r"(?:non-local |'constinit' )?variable '(?P<name>[^\n]+?)' "
    r"(?:does not have a constant initializer|declared '(?:__thread|thread_local)' (?:needs|has) )",
    re.MULTILINE,
)
_EMPTY = "because it refers to an incompletely initialized variable"
"""Of a constructor that does nothing g++ says that."""

RULE = (
    "CUDA initialises no variable at run time: give it an initial value that the compiler knows, an empty or "
    "constexpr constructor, and no destructor; a kernel can do the rest"
)


@dataclass(frozen=True)
class ObjectFile:
    """What is of interest of an object file.

    Attributes
    ----------
    runs : bool
        Whether it has functions that run when it is loaded or unloaded.
    guards : bool
        Whether a function has static variables that are initialised when it is first called.
    needed : tuple of str
        Symbols that other libraries define.
    """

    runs: bool
    guards: bool
    needed: tuple[str, ...]


def read(path: Path, instrumented: bool) -> ObjectFile:
    """Read an object file (ELF, 64 bits, little-endian).

    Parameters
    ----------
    path : Path
    instrumented : bool
        Whether a sanitizer has put a function of its own among those that run when the library is loaded.
    """
    content = path.read_bytes()
    (headers,) = struct.unpack_from("<Q", content, 40)
    size, count, names_at = struct.unpack_from("<3H", content, 58)
    # Of each section: name, type, flags, address, offset, size, link, info, alignment, entry size.
    sections = [struct.unpack_from("<2I4Q2I2Q", content, headers + i * size) for i in range(count or 1)]
    if not count:  # more than 65,279 sections: the first one says how many
        count = sections[0][5]
        names_at = sections[0][6] if names_at == 0xFFFF else names_at
        sections = [struct.unpack_from("<2I4Q2I2Q", content, headers + i * size) for i in range(count)]

    def text(strings: tuple, at: int) -> str:
        begin = strings[4] + at
        return content[begin : content.index(b"\0", begin)].decode(errors="replace")

    runs, guards, needed = False, False, []
    for section in sections:
        name = text(sections[names_at], section[0])
        if _RUNS.fullmatch(name) and section[5]:
            runs |= not (instrumented and _INSTRUMENTATION.fullmatch(name) and section[5] == 8)
        if section[1] == 2:  # the table of symbols
            for at in range(section[4] + 24, section[4] + section[5], 24):
                name_at, _, _, where, _, _ = struct.unpack_from("<IBBHQQ", content, at)
                symbol = text(sections[section[6]], name_at)
                guards |= symbol.startswith("_ZGV")
                if where == 0:
                    needed.append(symbol)
    return ObjectFile(
        runs or bool({"__cxa_atexit", "__cxa_thread_atexit"} & set(needed)), guards, tuple(needed)
    )


def with_constant_initialisation(preprocessed: str) -> str:
    """The text with ``__constinit`` at its variables, so that g++ names the one that is none of CUDA's.

    An array in shared memory becomes its element, as g++ does not check arrays. So this text may have errors
    of its own.
    """
    pieces, copied = [], 0
    for marker in tokens.markers(preprocessed):
        if marker.text == tokens.KERNEL or marker.begin < copied:
            continue
        opening = preprocessed.index("(", marker.begin) + 1
        end = tokens.find_outside(preprocessed, ";", marker.end)
        rest = preprocessed[marker.end : tokens.find_outside(preprocessed, ";=({", marker.end)]
        words = re.findall(r"\w+", preprocessed[marker.statement : marker.begin] + " " + rest)
        pieces.append(preprocessed[copied:opening])
        # Two qualifiers of one variable need the word once.
        if "constexpr" not in words and not {tokens.DEVICE, tokens.CONSTANT} & set(
            re.findall(r"\w+", preprocessed[marker.statement : marker.begin])
        ):
            pieces.append("__constinit ")
        copied = opening
        if marker.text == tokens.SHARED and "extern" not in words:
            pieces += [
                preprocessed[opening : marker.end],
                re.sub(r"\[[^\]]*\]", "", preprocessed[marker.end : end]),
            ]
            copied = end
    return "".join([*pieces, preprocessed[copied:]])


def dynamic_initialisation(message: str) -> str | None:
    """What to say of the compiler's message; None if it is about something else."""
    for match in _CONSTINIT.finditer(message):
        here = f"{match['place']}:{match['column']}: "
        if not any(line.startswith(here) and line.endswith(_EMPTY) for line in message.splitlines()):
            return f"{match['place']}: {match['name']} would be initialised at run time. {RULE}"
    return None
