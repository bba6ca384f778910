"""The sections of an ELF file (64 bits, little-endian): an object file, a library or a cubin."""

from __future__ import annotations

import struct
from typing import NamedTuple

SYMBOL_TABLE = 2


class Section(NamedTuple):
    """A section; `link` is the number of another one, of a symbol table that of its names."""

    name: str
    type: int
    content: bytes
    link: int


def sections(code: bytes) -> list[Section]:
    """The sections of a file, by their numbers."""
    (table,) = struct.unpack_from("<Q", code, 40)
    size, count, names = struct.unpack_from("<3H", code, 58)

    def header(number: int) -> tuple[int, ...]:
        """Name, type, offset, size, link."""
        return struct.unpack_from("<2I16x2QI", code, table + number * size)

    if not count:  # more than 65,279 sections: the first one says how many
        count, link = header(0)[3:]
        names = link if names == 0xFFFF else names
    headers = [header(number) for number in range(count)]
    contents = [code[offset : offset + length] for _, _, offset, length, _ in headers]
    return [
        Section(text(contents[names], name), kind, content, link)
        for (name, kind, _, _, link), content in zip(headers, contents, strict=True)
    ]


def text(strings: bytes, at: int) -> str:
    """The string that begins there in a table of strings."""
    return strings[at : strings.index(b"\0", at)].decode(errors="replace")
