"""The little of C++ that must be understood in a preprocessed source: brackets, namespaces, lines."""

from __future__ import annotations

# The patterns of this file are met wherever they are looked for: the preprocessor has written the text.
# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false
import re
from collections.abc import Iterator
from dataclasses import dataclass

KERNEL = "__attribute__((__minialex_kernel__))"
SHARED, DEVICE, CONSTANT = "minialex_shared", "minialex_device", "minialex_constant"
"""What the qualifiers of CUDA become (``runtime/cuda_language.h``)."""

_LINE_MARKER = re.compile(r'^# (\d+) "((?:[^"\\]|\\.)*)"[^\n]*$', re.MULTILINE)
_REGION = re.compile(r'^# \d+ "[^"\n]*"(?P<flags>[ \d]*)$', re.MULTILINE)
_TOKEN = re.compile(
    r'\bextern\s*"C(?:\+\+)?"\s*(?P<linkage>\{)'
    r'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    r"|\bnamespace\b(?P<namespace>[\w:\s]*)\{"
    r"|(?P<template>\btemplate\s*<)"
    rf"|(?P<marker>{re.escape(KERNEL)}|\b(?:{SHARED}|{DEVICE}|{CONSTANT})(?=\())"
    r"|[{};]"
)
_BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


@dataclass(frozen=True)
class Marker:
    """A qualifier of CUDA in the text.

    Attributes
    ----------
    text : str
    begin, end : int
        Where it is, with its brackets.
    words : str
        What stands in its brackets, for g++.
    statement : int
        Where the statement around it begins.
    namespaces : tuple of str, or None
        The namespaces around it, ``""`` for one without a name; None in a function or a class.
    template : bool
        Whether it belongs to a template.
    """

    text: str
    begin: int
    end: int
    words: str
    statement: int
    namespaces: tuple[str, ...] | None
    template: bool


def markers(text: str) -> Iterator[Marker]:
    """The qualifiers of a preprocessed text, in its order."""
    # For each open brace: the names of a namespace; () for extern "C"; None for anything else.
    scopes: list[tuple[str, ...] | None] = []
    template, statement = False, 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if match["marker"]:
            names = None if None in scopes else tuple(name for scope in scopes for name in scope or ())
            end = match.end() if token == KERNEL else closing(text, match.end())
            words = text[match.end() + 1 : end - 1]
            yield Marker(token, match.start(), end, words, statement, names, template)
        elif match["template"]:
            template = True
        elif token[-1] in "{};":
            if match["namespace"] is not None:
                scopes.append(tuple(part.strip() for part in match["namespace"].strip().split("::")))
            elif match["linkage"]:
                scopes.append(())
            elif token == "{":
                scopes.append(None)
            elif token == "}" and scopes:
                scopes.pop()
            template, statement = False, match.end()


def own_regions(text: str) -> Iterator[tuple[int, int]]:
    """The beginning and end of each part that is not from the system's headers."""
    begin, is_own = 0, True
    for marker in _REGION.finditer(text):
        if is_own:
            yield begin, marker.start()
        begin, is_own = marker.end(), "3" not in marker["flags"].split()
    if is_own:
        yield begin, len(text)


def closing(text: str, opening: int) -> int:
    """The position after the bracket that closes the one at `opening`."""
    depth = 0
    for position in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return position + 1
    return len(text)


def find_outside(text: str, wanted: str, begin: int = 0) -> int:
    """Where one of the characters stands outside brackets and quotes; the text's length if nowhere."""
    depth, position = 0, begin
    while position < len(text):
        character = text[position]
        if depth == 0 and character in wanted:
            return position
        if character in "\"'":
            quoted = re.compile(rf"{character}(?:\\.|[^\\])*?{character}", re.DOTALL).match(text, position)
            position = quoted.end() if quoted else position + 1
            continue
        depth += _BRACKETS.get(character, 0)
        position += 1
    return len(text)


def split(text: str) -> list[str]:
    """The parts between commas outside brackets, angle brackets included."""
    parts, depth, begin = [], 0, 0
    for position, character in enumerate(text):
        depth += {"<": 1, ">": -1}.get(character, _BRACKETS.get(character, 0))
        if character == "," and depth == 0:
            parts.append(text[begin:position])
            begin = position + 1
    return [*parts, text[begin:]]


def place(text: str, position: int) -> tuple[str, int]:
    """The file and the line of a position, by the preprocessor's last marker before it."""
    start = text.rfind("\n# ", 0, position) + 1
    while start > 0 and not _LINE_MARKER.match(text, start):
        start = text.rfind("\n# ", 0, start - 1) + 1
    marker = _LINE_MARKER.match(text, start)
    return marker[2], int(marker[1]) + text.count("\n", marker.end() + 1, position)
