"""``runtime/checker.h`` for Python: its structures, and what the library of a checked module has noted."""

from __future__ import annotations

import ctypes
from enum import IntEnum

GLOBAL, SHARED = 0, 1
"""Memory spaces; 2 is neither."""

UNKNOWN, HEAP = -1, -2
"""In place of an array's number."""


_U32, _U64 = ctypes.c_uint32, ctypes.c_uint64


def _fields(ctype, *names: str) -> list[tuple]:
    """Fields of one type, which follow one another."""
    return [(name, ctype) for name in names]


class CheckedArray(ctypes.Structure):
    _fields_ = (
        ("bytes", _U64),
        *_fields(_U32, "granule", "constant", "initialised", "offset"),
        ("data", ctypes.c_void_p),
    )


class CheckedVariable(ctypes.Structure):
    _fields_ = (
        *_fields(_U64, "address", "bytes", "limit"),
        *_fields(_U32, "space", "constant"),
        ("array", ctypes.c_int32),
        ("reserved", _U32),
    )


class CheckedFinding(ctypes.Structure):
    _fields_ = (
        *_fields(_U32, "kind", "space"),
        *_fields(_U64, "place", "other_place", "address"),
        ("offset", ctypes.c_int64),
        ("array", ctypes.c_int32),
        *_fields(_U32, "bytes", "thread", "other_thread"),
        *_fields(_U32 * 3, "block", "other_block"),
        *_fields(_U32, "write", "other_write", "mask", "lanes"),
        ("reason", ctypes.c_char * 256),
        ("times", _U64),
    )


class CheckedTraffic(ctypes.Structure):
    _fields_ = (
        ("place", _U64),
        *_fields(_U32, "space", "write"),
        *_fields(_U64, "instructions", "accesses", "bytes", "sectors", "ideal_sectors", "bank_conflicts"),
    )


class Kind(IntEnum):
    """`CheckedKind`, in its order."""

    RACE = 0
    BARRIER_MISSED = 1
    BARRIER_DIVERGED = 2
    UNINITIALISED = 3
    OUT_OF_BOUNDS = 4
    OUT_OF_DIMENSION = 5
    MISALIGNED = 6
    CONST_WRITE = 7
    MASK_WITHOUT_CALLER = 8
    MASK_NAMES_ABSENT = 9
    ACCESS_FAULT = 10
    DIVISION = 11
    STACK_FULL = 12
    TRAP = 13
    ABSENT_LANE = 14
    UNREACHABLE = 15
    FREED = 16
    BAD_FREE = 17


def read_findings(library: ctypes.CDLL, begin: int) -> tuple[list[CheckedFinding], list[CheckedTraffic]]:
    """The findings and the traffic of the last launch, with places as offsets from the library's begin."""

    def copied(function, structure) -> list:
        pointer = ctypes.POINTER(structure)()
        count = function(ctypes.byref(pointer))
        copies = [structure.from_buffer_copy(pointer[i]) for i in range(count)]
        for each in copies:
            for place in ("place", "other_place"):
                if getattr(each, place, 0):
                    setattr(each, place, getattr(each, place) - begin)
        return copies

    return copied(library.checker_findings, CheckedFinding), copied(library.checker_traffic, CheckedTraffic)
