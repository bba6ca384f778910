"""What a compiled source would run on the host: found in its object file, before anything loads it.

CUDA has no dynamic initialisation: a variable in global, constant or shared memory has an initial value that
the compiler knows, or none, and an empty constructor. On the host, constructors and destructors of such
variables would run when the library is loaded and when the process ends, outside any launch.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from minialex.kernels.cuda_host import elf, tokens

_INSTRUMENTATION = re.compile(r"\.(?:init|fini)_array\.00099")
"""Where the sanitizers put one function of their own."""

_RUNS = re.compile(r"\.(?:preinit|init|fini)_array\b.*|\.[cd]tors\b.*")
_CONSTINIT = re.compile(
    r"^(?P<place>[^\n]*?:\d+):(?P<column>\d+): error: "
    r"(?:non-local |'constinit' )?variable '(?P<name>[^\n]+?)' "
    r"(?:does not have a constant initializer|declared '(?:__thread|thread_local)' (?:needs|has) )",
    re.MULTILINE,
)
_EMPTY = "because it refers to an incompletely initialized variable"
"""What g++ says of a constructor that does nothing."""

RULE = (
    "CUDA initialises no variable at run time: give it an initial value that the compiler knows, an empty or "
    "constexpr constructor, and no destructor; a kernel can do the rest"
)


@dataclass(frozen=True)
class ObjectFile:
    """What matters about an object file.

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
    """Read an object file.

    Parameters
    ----------
    path : Path
    instrumented : bool
        Whether a sanitizer has put a function of its own among those that run when the library is loaded.
    """
    runs, guards, needed = False, False, []
    found = elf.sections(path.read_bytes())
    for section in found:
        if _RUNS.fullmatch(section.name) and section.content:
            is_instrumentation = _INSTRUMENTATION.fullmatch(section.name) and len(section.content) == 8
            runs |= not (instrumented and is_instrumentation)
        if section.type == elf.SYMBOL_TABLE:
            names = found[section.link].content
            for name, defined_in in struct.iter_unpack("<I2xH16x", section.content[24:]):
                symbol = elf.text(names, name)
                guards |= symbol.startswith("_ZGV")
                if defined_in == 0:
                    needed.append(symbol)
    return ObjectFile(
        runs or bool({"__cxa_atexit", "__cxa_thread_atexit"} & set(needed)), guards, tuple(needed)
    )


def with_constant_initialisation(preprocessed: str) -> str:
    """The text with ``__constinit`` at its variables, so that g++ names the one that CUDA would not take.

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
    """What to say about the compiler's message; None if it is about something else."""
    for match in _CONSTINIT.finditer(message):
        here = f"{match['place']}:{match['column']}: "
        if not any(line.startswith(here) and line.endswith(_EMPTY) for line in message.splitlines()):
            return f"{match['place']}: {match['name']} would be initialised at run time. {RULE}"
    return None
