"""What the checker has noted, in words and by source lines."""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

from minialex.kernels.cuda_host.checker import (
    GLOBAL,
    HEAP,
    SHARED,
    UNKNOWN,
    CheckedFinding,
    CheckedTraffic,
    Kind,
)
from minialex.kernels.cuda_host.findings import Access, Finding
from minialex.kernels.cuda_host.instrumentation import Place

_SPACES = ("global", "shared", "unknown")
_OPERATIONS = ("load", "store", "atomic")
_VERBS = ("reads", "writes", "updates atomically")

_KIND = {
    Kind.RACE: "race",
    Kind.BARRIER_MISSED: "barrier",
    Kind.BARRIER_DIVERGED: "barrier",
    Kind.UNINITIALISED: "uninitialised",
    Kind.OUT_OF_BOUNDS: "out-of-bounds",
    Kind.OUT_OF_DIMENSION: "out-of-bounds",
    Kind.MISALIGNED: "misaligned",
    Kind.CONST_WRITE: "const-write",
    Kind.MASK_WITHOUT_CALLER: "warp-mask",
    Kind.MASK_NAMES_ABSENT: "warp-mask",
    Kind.ACCESS_FAULT: "out-of-bounds",
    Kind.DIVISION: "division",
    Kind.STACK_FULL: "stack",
    Kind.TRAP: "trap",
    Kind.ABSENT_LANE: "warp-lane",
    Kind.UNREACHABLE: "trap",
    Kind.FREED: "heap",
    Kind.BAD_FREE: "heap",
}


class Names(NamedTuple):
    """What messages need to know of a launch.

    Attributes
    ----------
    arrays : list of (str, int, str)
        Of each array: what to call it, its item size, and why it may not be written.
    shared : list of str
        The names of the shared variables.
    block : tuple of int
    """

    arrays: list[tuple[str, int, str]]
    shared: list[str]
    block: tuple[int, ...]


def accesses_of(traffic: list[CheckedTraffic], places: dict[int, Place]) -> list[Access]:
    """The traffic of each line, its instructions added up."""
    lines: dict[tuple, list[int]] = {}
    for each in traffic:
        if not each.instructions:
            continue  # the load of an atomic update, which is counted with its compare-and-swap
        place = places[each.place]
        key = (place.file, place.line, _SPACES[each.space], _OPERATIONS[each.write])
        figures = (each.instructions, each.accesses, each.sectors, each.ideal_sectors, each.bank_conflicts)
        lines[key] = [a + b for a, b in zip(lines.get(key, (0,) * 5), figures, strict=True)]
    return [Access(*key, *figures) for key, figures in sorted(lines.items())]


def findings_of(findings: list[CheckedFinding], places: dict[int, Place], names: Names) -> list[Finding]:
    """Each fault once for a line (a race once for two lines), by file and line."""
    found: dict[tuple, Finding] = {}
    racing = set()
    for each in findings:
        if each.kind == Kind.RACE:
            _put_reading_first(each, places)
        place = places[each.place]
        other = places[each.other_place] if each.other_place else None
        if each.kind == Kind.BARRIER_DIVERGED and other == place:
            continue  # the compiler has made several calls of one barrier
        lines = frozenset((at.file, at.line) for at in (place, other) if at is not None)
        message = _Message(each, place, other, names)
        if each.kind == Kind.RACE:
            racing |= {(message.where(), line) for line in lines}
        key = (_KIND[each.kind], lines, message.where())
        if key not in found:
            related = () if other is None else ((other.file, other.line),)
            found[key] = Finding(_KIND[each.kind], place.file, place.line, str(message), related)
    return sorted(
        (
            finding
            for (kind, lines, where), finding in found.items()
            # A read that races with a write can come before it, and a lane be read that the mask should not
            # name. That is one fault, not two.
            if not (kind == "uninitialised" and any((where, line) in racing for line in lines))
            and not (kind == "warp-lane" and ("warp-mask", lines, where) in found)
        ),
        key=lambda finding: (finding.file, finding.line, finding.kind),
    )


def _put_reading_first(race: CheckedFinding, places: dict[int, Place]) -> None:
    """Report the race at the access that reads, whichever ran first; of two writes, at the lower line.

    Which of the two comes first is chance: the order in which the executor runs threads that nothing orders.
    """
    mine = (race.write, -places[race.place].line)
    theirs = (race.other_write, -places[race.other_place].line)
    if mine <= theirs:
        return
    race.place, race.other_place = race.other_place, race.place
    race.thread, race.other_thread = race.other_thread, race.thread
    race.write, race.other_write = race.other_write, race.write
    race.block[:], race.other_block[:] = list(race.other_block), list(race.block)


class _Message:
    """A finding in words."""

    def __init__(self, finding: CheckedFinding, place: Place, other: Place | None, names: Names):
        self.finding, self.place, self.other, self.names = finding, place, other, names

    def __str__(self) -> str:
        finding = self.finding
        thread, does = self.thread(finding.thread, finding.block), _VERBS[finding.write]
        match finding.kind:
            case Kind.RACE:
                return self.race(thread, does)
            case Kind.BARRIER_MISSED:
                absent = "has ended" if finding.other_write else "waits elsewhere"
                return (
                    f"{finding.lanes} threads of block {_triple(finding.block)} wait here, {finding.mask} do "
                    f"not come: thread {self.index(finding.other_thread)} {absent}"
                )
            case Kind.BARRIER_DIVERGED:
                other = self.index(finding.other_thread)
                return f"{thread} waits here, thread {other} at {self.related()}"
            case Kind.UNINITIALISED:
                return f"{thread} reads {self.element()}, which no thread has written"
            case Kind.OUT_OF_BOUNDS if finding.array == UNKNOWN and finding.space != SHARED:
                where = f"at the address {finding.address:#x}, in no array"
                return f"{thread} {does} {finding.bytes} bytes {where}"
            case Kind.OUT_OF_BOUNDS:
                return f"{thread} {does} {self.element()}, {finding.bytes} bytes that are not in it"
            case Kind.OUT_OF_DIMENSION:
                return f"{thread} uses the index {finding.offset}, which the array is not declared to have"
            case Kind.MISALIGNED:
                size = f"{finding.bytes} bytes" if finding.bytes else "a vector"
                return f"{thread} accesses {size} at {self.element()}, which is not aligned to that size"
            case Kind.CONST_WRITE:
                return f"{thread} {does} {self.element()}, which {self.names.arrays[finding.array][2]}"
            case Kind.MASK_WITHOUT_CALLER:
                lane, mask = finding.thread % 32, finding.mask
                return f"{thread} is lane {lane}, which its mask {mask:#010x} does not name"
            case Kind.MASK_NAMES_ABSENT:
                absent = _lanes(finding.mask & ~finding.lanes)
                return (
                    f"the mask {finding.mask:#010x} of {thread} names lanes that do not take part: {absent}"
                )
            case Kind.ACCESS_FAULT:
                return f"{thread} accesses the address {finding.address:#x}, in no array"
            case Kind.DIVISION:
                what = "divides an integer by zero, or the least integer by -1: CUDA defines no result"
                return f"{thread} {what}"
            case Kind.STACK_FULL:
                return f"{thread} has no room on its stack: is there a recursion that does not end?"
            case Kind.TRAP:
                return f"{thread}: {finding.reason.decode(errors='replace')}"
            case Kind.ABSENT_LANE:
                return (
                    f"{thread} reads lane {finding.offset} of its warp, which takes no part (the mask is "
                    f"{finding.mask:#010x}): CUDA does not define the value, and results depend on it"
                )
            case Kind.UNREACHABLE:
                return (
                    f"{thread} comes to a place that the compiler took to be out of reach, such as the end "
                    "of a function that returns no value, or a vector that is not aligned"
                )
            case Kind.FREED:
                return f"{thread} {does} {self.element()}, which was freed"
            case Kind.BAD_FREE:
                why = "was freed before" if finding.array == HEAP else "malloc() or new did not give"
                return f"{thread} frees the address {finding.address:#x}, which {why}"
        raise AssertionError(finding.kind)

    def race(self, thread: str, does: str) -> str:
        finding = self.finding
        other_does = _VERBS[finding.other_write]
        if tuple(finding.block) == tuple(finding.other_block):
            by = f"thread {self.index(finding.other_thread)}"
            why = "nothing orders the two: no __syncthreads() stands between them"
            if finding.thread // 32 == finding.other_thread // 32:
                why += ", nor __syncwarp()"
        else:
            by = self.thread(finding.other_thread, finding.other_block)
            why = "blocks are not ordered"
        return f"{thread} {does} {self.element()}, which {by} {other_does} at {self.related()}; {why}"

    def thread(self, number: int, block) -> str:
        return f"thread {self.index(number)} of block {_triple(block)}"

    def index(self, number: int) -> str:
        width, height = (*self.names.block, 1, 1)[:2]
        return _triple((number % width, number // width % height, number // (width * height)))

    def related(self) -> str:
        other = self.other or self.place
        return f"line {other.line}" if other.file == self.place.file else f"{other.file}:{other.line}"

    def where(self) -> str:
        """The array or the shared variable."""
        finding = self.finding
        if finding.array == HEAP:
            return "memory from malloc()"
        if finding.array == UNKNOWN:
            return "dynamic shared memory" if finding.space == SHARED else "memory"
        is_global = finding.space == GLOBAL
        return self.names.arrays[finding.array][0] if is_global else self.names.shared[finding.array]

    def element(self) -> str:
        finding = self.finding
        if finding.space == GLOBAL and finding.array >= 0:
            itemsize = self.names.arrays[finding.array][1]
            if finding.offset % itemsize == 0:
                return f"{self.where()}[{finding.offset // itemsize}]"
        return f"{self.where()} at byte {finding.offset}"


def _triple(values) -> str:
    return f"({', '.join(map(str, values))})"


def _lanes(mask: int) -> str:
    """Lanes as ranges, such as ``16-31``."""
    lanes = [lane for lane in range(32) if mask >> lane & 1]
    runs = [
        [lane for _, lane in run] for _, run in groupby(enumerate(lanes), key=lambda pair: pair[1] - pair[0])
    ]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
