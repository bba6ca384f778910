"""The largest block that each kernel of a cubin may be launched with: its ``__launch_bounds__``.

A cubin is an ELF file. The compiler leaves a section ``.nv.info.<kernel>`` for each kernel, which is a list
of attributes: a byte for the attribute's form, a byte for which it is, and two bytes that hold, in form 4,
how many bytes follow. Attribute 5 (EIATTR_MAX_THREADS in nvdisasm's output) holds the three dimensions.
"""

from __future__ import annotations

import math
import struct

_PREFIX = b".nv.info."
_SIZED_FORM = 4
_MAX_THREADS = 5


def launch_bounds(code: bytes) -> dict[str, int]:
    """The threads of the largest block by kernel; kernels without bounds are left out."""
    found = {}
    for name, content in _sections(code):
        if name.startswith(_PREFIX):
            for attribute, value in _attributes(content):
                if attribute == _MAX_THREADS:
                    found[name.removeprefix(_PREFIX).decode()] = math.prod(struct.unpack("<3I", value))
    return found


def _sections(code: bytes):
    """Yield the name and the content of each section of a 64-bit ELF file."""
    table, size, count, names_at = struct.unpack_from("<Q10xHHH", code, 0x28)
    headers = [struct.unpack_from("<I20xQQ", code, table + i * size) for i in range(count)]
    _, names, _ = headers[names_at]
    for name, offset, length in headers:
        end = code.index(b"\0", names + name)
        yield code[names + name : end], code[offset : offset + length]


def _attributes(content: bytes):
    """Yield the attributes of a section that have a value of their own."""
    at = 0
    while at + 4 <= len(content):
        form, attribute, length = struct.unpack_from("<BBH", content, at)
        at += 4
        if form == _SIZED_FORM:
            yield attribute, content[at : at + length]
            at += length
