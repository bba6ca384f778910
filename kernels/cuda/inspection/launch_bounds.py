"""The largest block that each kernel of a cubin may be launched with: its ``__launch_bounds__``.

A cubin is an ELF file. The compiler leaves a section ``.nv.info.<kernel>`` for each kernel, which is a list
of attributes: a byte for the attribute's form, a byte for which it is, and two bytes that hold, in form 4,
how many bytes follow. Attribute 5 (EIATTR_MAX_THREADS in nvdisasm's output) holds the three dimensions.
"""

from __future__ import annotations

import math
import struct

from minialex.kernels.cuda_host import elf

_PREFIX = ".nv.info."
_SIZED_FORM = 4
_MAX_THREADS = 5


def launch_bounds(code: bytes) -> dict[str, int]:
    """The threads of the largest block by kernel; kernels without bounds are left out."""
    found = {}
    for section in elf.sections(code):
        if section.name.startswith(_PREFIX):
            for attribute, value in _attributes(section.content):
                if attribute == _MAX_THREADS:
                    found[section.name.removeprefix(_PREFIX)] = math.prod(struct.unpack("<3I", value))
    return found


def _attributes(content: bytes):
    """Yield the attributes of a section that have a value of their own."""
    at = 0
    while at + 4 <= len(content):
        form, attribute, length = struct.unpack_from("<BBH", content, at)
        at += 4
        if form == _SIZED_FORM:
            yield attribute, content[at : at + length]
            at += length
