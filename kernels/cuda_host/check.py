"""`check`: run a launch on the processor and report what would be wrong, or slow, with it on a GPU.

    module = ma.kernels.cuda_host.load("their.cu")
    report = ma.kernels.cuda_host.check(module["transpose"], (4, 4), (32, 8), (x, y, np.int32(100)))
    print(report)

What is found
-------------
``race``
    Two threads access the same bytes, at least one writes, not both are atomic, and nothing orders them:
    no ``__syncthreads`` (in one block), no ``__syncwarp`` (in one warp), no ``__threadfence`` with an atomic
    function after it on an address that the other block then updates, too. Lanes of a warp are not ordered
    by running in the same warp, nor by a shuffle.
``barrier``
    A ``__syncthreads`` that not all threads of a block reach, or at which they meet from different lines.
``uninitialised``
    A read of shared memory that no thread of the block has written; or of an array named in `uninitialised`
    that no thread has written.
``out-of-bounds``
    An access outside of an array or a shared variable, or an index outside of a declared dimension. The
    thread ends there.
``misaligned``
    An access at an address that is not a multiple of its size. The thread ends there.
``const-write``
    A write to an array that is passed for a pointer to const, or to constant memory.
``warp-mask``
    A shuffle, vote or ``__syncwarp`` whose mask names a lane that does not take part, or leaves out one that
    calls it.
``warp-lane``
    A shuffle that reads the value of a lane that takes no part: one that its mask does not name, that has
    ended, or that the block does not have. CUDA does not define what it gets. The launch runs again with
    other values in its place, and this is a finding if its results change.
``division``
    An integer division by zero, for which CUDA defines no result. The thread ends there.
``stack``
    More local variables and calls than a stack has room for, such as a recursion without an end. The thread
    ends there.
``heap``
    An access to memory that was freed, or a ``free`` or ``delete`` of what ``malloc`` or ``new`` has not
    given. What is taken in a checked launch ends with it; memory from other launches is in no array.
``trap``
    An assertion that does not hold, or ``__trap()``. The launch ends there, as on a GPU.

The figures per line count each access that the source has, for one warp instruction at a time, as the memory
of a GPU serves it: for global memory the 32-byte sectors that are moved, against the fewest that could hold
the bytes; for shared memory the rounds beyond the first that banks cause in which several words are wanted.
They do not know what caches or a compiler save.

What cannot be found: faults that these arguments do not provoke, and what depends on the order in which a GPU
runs threads. Blocks that are ordered in another way than above, such as by a flag that is not atomic, are
reported as a race.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from minialex.errors import KernelError
from minialex.kernels.cuda_host.compiler import Build
from minialex.kernels.cuda_host.instrumentation import Place, Symbols
from minialex.kernels.cuda_host.module import Kernel, Module

KINDS = (
    "race",
    "barrier",
    "uninitialised",
    "out-of-bounds",
    "misaligned",
    "const-write",
    "warp-mask",
    "warp-lane",
    "division",
    "stack",
    "heap",
    "trap",
)

SECTOR_BYTES = 32
_SPACES = ("global", "shared", "unknown")
_OPERATIONS = ("load", "store", "atomic")


@dataclass(frozen=True)
class Finding:
    """A fault.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    file, line : str, int
        Where it was noticed. Of a race, the line of the access that reads; of two writes, the lower line.
    message : str
    related : tuple of (str, int)
        Other lines that take part: of a race, the other access; of a barrier, the other one.
    """

    kind: str
    file: str
    line: int
    message: str
    related: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind}: {self.message}"


@dataclass(frozen=True)
class Access:
    """What the accesses of one source line have moved.

    Attributes
    ----------
    file, line : str, int
    space : str
        ``"global"`` or ``"shared"``.
    operation : str
        ``"load"``, ``"store"`` or ``"atomic"``.
    instructions : int
        Warp instructions: executions of an access by the lanes of one warp together.
    accesses : int
        Those of all threads.
    sectors, ideal_sectors : int
        Of global memory: 32-byte sectors that were moved, and the fewest that hold the bytes accessed.
    bank_conflicts : int
        Of shared memory: rounds beyond the first that each group of lanes (32 of 4 bytes, 16 of 8, 8 of 16)
        took, because a bank had several of the words. A warp with a 32-way conflict counts 31.
    """

    file: str
    line: int
    space: str
    operation: str
    instructions: int
    accesses: int
    sectors: int
    ideal_sectors: int
    bank_conflicts: int


@dataclass
class Report:
    """What a checked launch has shown.

    Attributes
    ----------
    kernel : str
    findings : list of Finding
        Each once for a line (for a race, once for two lines), by file and line.
    accesses : list of Access
        By file, line, space and operation.
    """

    kernel: str
    findings: list[Finding] = field(default_factory=list)
    accesses: list[Access] = field(default_factory=list)

    @property
    def coalescing(self) -> float:
        """Ideal sectors as a share of those moved; 1 where no global memory was accessed."""
        moved = sum(access.sectors for access in self.accesses)
        return sum(access.ideal_sectors for access in self.accesses) / moved if moved else 1.0

    @property
    def bank_conflicts(self) -> int:
        return sum(access.bank_conflicts for access in self.accesses)

    def __str__(self) -> str:
        lines = [
            f"{self.kernel}: {len(self.findings) or 'no'} finding{'s' if len(self.findings) != 1 else ''}"
        ]
        lines += [f"  {finding}" for finding in self.findings]
        if self.accesses:
            width = max(len(_position(access)) for access in self.accesses)
            lines.append(
                f"  {'line':{width}} {'space':6} {'access':6} {'warp instr.':>11} {'sectors':>10} "
                f"{'ideal':>10} {'share':>6} {'bank conflicts':>14}"
            )
            lines += [_row(access, width) for access in self.accesses]
        return "\n".join(lines)


def _position(access: Access) -> str:
    return f"{Path(access.file).name}:{access.line}"


def _row(access: Access, width: int) -> str:
    start = f"  {_position(access):{width}} {access.space:6} {access.operation:6} {access.instructions:11}"
    if access.space == "shared":
        return f"{start} {'':10} {'':10} {'':6} {access.bank_conflicts:14}"
    share = access.ideal_sectors / access.sectors
    return f"{start} {access.sectors:10} {access.ideal_sectors:10} {share:6.0%}".rstrip()


def check(
    kernel: Kernel,
    grid,
    block,
    args: tuple,
    *,
    shared_mem: int = 0,
    uninitialised: Iterable[int | str] = (),
) -> Report:
    """Run a launch under the checker.

    The kernel's source is compiled again, instrumented, unless that was done before. The blocks run one
    after another. The results are in the arrays afterwards, as after a launch; arrays of pointers to const
    are never changed.

    Parameters
    ----------
    kernel : Kernel
        ``module["name"]`` of a module that `minialex.kernels.cuda_host.load` has loaded.
    grid, block, args, shared_mem
        As for ``module["name"](grid, block, args)``.
    uninitialised : iterable of int or str
        Arguments, by position or by the parameter's name, that hold nothing yet, such as results from
        ``np.empty``: to read them before the kernel has written them is a finding. The other arrays
        may be read. (Shared memory holds nothing when a block starts, in every case.)

    Returns
    -------
    Report

    Raises
    ------
    KernelError
        If the arguments do not fit the kernel, or `uninitialised` names something that is not an array.
    DeviceError
        If the compiler is not there.
    """
    launch = _Launch(kernel, grid, block, tuple(args), shared_mem, uninitialised)
    outcome = launch.run()
    faults = [each for each in outcome.findings if each.kind != _ABSENT_LANE or launch.matters(each, outcome)]
    launch.keep(outcome)
    return launch.report(faults, outcome.traffic)


# ---- The launch ------------------------------------------------------------------------------------------


class _CheckedArray(ctypes.Structure):
    _fields_ = (
        ("bytes", ctypes.c_uint64),
        ("granule", ctypes.c_uint32),
        ("constant", ctypes.c_uint32),
        ("initialised", ctypes.c_uint32),
        ("offset", ctypes.c_uint32),
        ("data", ctypes.c_void_p),
    )


class _CheckedVariable(ctypes.Structure):
    _fields_ = (
        ("address", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("limit", ctypes.c_uint64),
        ("space", ctypes.c_uint32),
        ("constant", ctypes.c_uint32),
        ("array", ctypes.c_int32),
        ("reserved", ctypes.c_uint32),
    )


class _Finding(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_uint32),
        ("space", ctypes.c_uint32),
        ("place", ctypes.c_uint64),
        ("other_place", ctypes.c_uint64),
        ("address", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("array", ctypes.c_int32),
        ("bytes", ctypes.c_uint32),
        ("thread", ctypes.c_uint32),
        ("other_thread", ctypes.c_uint32),
        ("block", ctypes.c_uint32 * 3),
        ("other_block", ctypes.c_uint32 * 3),
        ("write", ctypes.c_uint32),
        ("other_write", ctypes.c_uint32),
        ("mask", ctypes.c_uint32),
        ("lanes", ctypes.c_uint32),
        ("reason", ctypes.c_char * 256),
        ("times", ctypes.c_uint64),
    )


class _Traffic(ctypes.Structure):
    _fields_ = (
        ("place", ctypes.c_uint64),
        ("space", ctypes.c_uint32),
        ("write", ctypes.c_uint32),
        ("instructions", ctypes.c_uint64),
        ("accesses", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("sectors", ctypes.c_uint64),
        ("ideal_sectors", ctypes.c_uint64),
        ("bank_conflicts", ctypes.c_uint64),
    )


# The order of CheckedKind in checker.h.
(
    _RACE,
    _BARRIER_MISSED,
    _BARRIER_DIVERGED,
    _UNINITIALISED,
    _OUT_OF_BOUNDS,
    _OUT_OF_DIMENSION,
    _MISALIGNED,
    _CONST_WRITE,
    _MASK_WITHOUT_CALLER,
    _MASK_NAMES_ABSENT,
    _ACCESS_FAULT,
    _DIVISION,
    _STACK_FULL,
    _TRAP,
    _ABSENT_LANE,
    _UNREACHABLE,
    _FREED,
    _BAD_FREE,
) = range(18)

_GLOBAL, _SHARED = 0, 1  # spaces
_UNKNOWN, _HEAP = -1, -2  # in the place of the number of an array

_KIND = {
    _RACE: "race",
    _BARRIER_MISSED: "barrier",
    _BARRIER_DIVERGED: "barrier",
    _UNINITIALISED: "uninitialised",
    _OUT_OF_BOUNDS: "out-of-bounds",
    _OUT_OF_DIMENSION: "out-of-bounds",
    _MISALIGNED: "misaligned",
    _CONST_WRITE: "const-write",
    _MASK_WITHOUT_CALLER: "warp-mask",
    _MASK_NAMES_ABSENT: "warp-mask",
    _ACCESS_FAULT: "out-of-bounds",
    _DIVISION: "division",
    _STACK_FULL: "stack",
    _TRAP: "trap",
    _ABSENT_LANE: "warp-lane",
    _UNREACHABLE: "trap",
    _FREED: "heap",
    _BAD_FREE: "heap",
}


@dataclass
class _Outcome:
    """What a launch under the checker has left: arrays by position, variables by name, places by offset."""

    arrays: dict[int, np.ndarray]
    variables: dict[str, np.ndarray]
    findings: list[_Finding]
    traffic: list[_Traffic]

    def is_alike(self, other: _Outcome) -> bool:
        """Whether the same bits were left, and the same findings made."""
        mine, theirs = (
            [array.tobytes() for array in (*each.arrays.values(), *each.variables.values())]
            for each in (self, other)
        )
        return mine == theirs and [(each.kind, each.place) for each in self.findings] == [
            (each.kind, each.place) for each in other.findings
        ]


# In the place of a value that CUDA does not define, which the checker first takes to be all ones, NaN or -1:
# a large number of any type, one far below zero for floats, and one for integers.
_VALUES = (0x7F7F7F7F7F7F7F7F, 0xFF7F7F7FFF7F7F7F, 0x8080808080808080)


class _Launch:
    """A launch that runs on copies of its arguments, once or again."""

    def __init__(self, kernel: Kernel, grid, block, args: tuple, shared_mem: int, uninitialised):
        self.kernel, self.grid, self.block = kernel, grid, block
        self.args, self.shared_mem = args, shared_mem
        self.checked = _checked_module(kernel.module.build)
        self.library = self.checked.library
        self.symbols = _symbols(self.checked.file)
        self.groups = _group_arrays(kernel.signature, args, _positions(uninitialised, kernel.signature, args))
        self.begin = ctypes.cast(self.library.checker_begin, ctypes.c_void_p).value - self.symbols.offset(
            "checker_begin"
        )
        self.shared = self.symbols.shared_variables()
        self.globals = [self.checked.global_variable(name) for name in self.checked.global_names]

    def run(self, *, repeat: tuple[int, int] | None = None) -> _Outcome:
        """Run it; `repeat` are the place of a shuffle and what it gives for a lane that takes no part."""
        arrays = (_CheckedArray * len(self.groups))(*(group.described() for group in self.groups))
        variables = self._described_variables()
        if self.library.checker_begin(arrays, len(arrays), variables, len(variables)):
            raise KernelError(
                "the arrays cannot be copied for the check: each may have 4 GiB, and needs 16 GiB of "
                "addresses"
            )
        try:
            if repeat:
                place, value = repeat
                self.library.checker_repeat(ctypes.c_uint64(self.begin + place), ctypes.c_uint64(value))
            copies = list(self.args)
            for group, array in zip(self.groups, arrays, strict=True):
                group.copy_to(array.data, copies)
            for name, value in _variables(self.kernel.module).items():
                self.checked.get_global(name)[...] = value
            self.checked[self.kernel.name](self.grid, self.block, tuple(copies), shared_mem=self.shared_mem)
            results = {}
            for group in self.groups:
                results.update(group.results(copies))
            return _Outcome(results, _variables(self.checked), *_read(self.library, self.begin))
        finally:
            self.library.checker_end()

    def matters(self, absent: _Finding, outcome: _Outcome) -> bool:
        """Whether what a shuffle gives for a lane that takes no part changes anything that is left.

        Much that is right reads such lanes and uses nothing of it: of a sum over half a warp by
        ``__shfl_down_sync`` only the first lane's is wanted.
        """
        return any(not outcome.is_alike(self.run(repeat=(absent.place, value))) for value in _VALUES)

    def keep(self, outcome: _Outcome) -> None:
        """Let the arguments and the variables hold the results."""
        for position, result in outcome.arrays.items():
            self.args[position][...] = result
        for name, result in outcome.variables.items():
            self.kernel.module.get_global(name)[...] = result

    def report(self, findings: list[_Finding], traffic: list[_Traffic]) -> Report:
        names = [_names(group, self.kernel.signature) for group in self.groups]
        names += [(each.name, each.element_bytes, "is constant") for each in self.globals]
        places = self.symbols.places(
            {each.place for each in traffic}
            | {place for each in findings for place in (each.place, each.other_place) if place}
        )
        # What the compiler has put before the first line has none, as where a stack is full.
        defined = Place(*self.kernel.defined)
        places = {at: defined if each.is_in_runtime else each for at, each in places.items()} | {0: defined}
        return Report(
            self.kernel.name,
            _findings(findings, places, names, [each.name for each in self.shared], self.block),
            _accesses(traffic, places),
        )

    def _described_variables(self):
        described = [
            _CheckedVariable(
                self.begin + each.offset, each.bytes, self.begin + each.limit, _SHARED, 0, number
            )
            for number, each in enumerate(self.shared)
        ]
        for number, each in enumerate(self.globals):
            limit = self.symbols.variable(each.name, each.address - self.begin, each.bytes).limit
            constant = each.constant or each.read_only
            position = len(self.groups) + number
            described.append(
                _CheckedVariable(each.address, each.bytes, self.begin + limit, _GLOBAL, constant, position)
            )
        return (_CheckedVariable * len(described))(*described)


def _variables(module: Module) -> dict[str, np.ndarray]:
    """What the variables of a module hold that can change."""
    return {
        name: np.array(module.get_global(name))
        for name in module.global_names
        if not module.global_variable(name).read_only
    }


@dataclass
class _Group:
    """Arrays that share memory, which a copy of them has to share as well; mostly a single one."""

    positions: list[int]
    arrays: list[np.ndarray]
    start: int
    end: int
    constant: bool
    initialised: bool

    def described(self) -> _CheckedArray:
        granule = min(self.arrays[0].itemsize, 8) if len(self.arrays) == 1 else 1
        return _CheckedArray(
            bytes=self.end - self.start,
            granule=granule if granule in (1, 2, 4, 8) else 1,
            constant=self.constant,
            initialised=self.initialised,
            offset=(self.start - _allocation(self.arrays[0])) % 256,
        )

    def copy_to(self, data: int, arguments: list) -> None:
        """Copy the arrays to an address, and put the copies in the place of the arguments."""
        for position, array in zip(self.positions, self.arrays, strict=True):
            buffer = (ctypes.c_char * max(array.nbytes, 1)).from_address(data + _address(array) - self.start)
            copy = np.frombuffer(buffer, array.dtype, array.size).reshape(array.shape)
            copy[...] = array
            arguments[position] = copy

    def results(self, copies: list) -> dict[int, np.ndarray]:
        """What the launch has left in the arrays that it may change, by their positions."""
        writeable = zip(self.positions, self.arrays, strict=True) if not self.constant else ()
        return {
            position: np.array(copies[position]) for position, array in writeable if array.flags.writeable
        }


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def _allocation(array: np.ndarray) -> int:
    """Where the memory begins that an array is a view of: on a GPU that is a multiple of 256 bytes."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return _address(array)


def _positions(uninitialised: Iterable[int | str], parameters, args: tuple) -> set[int]:
    names = [parameter.name for parameter in parameters]
    found = set()
    for given in (uninitialised,) if isinstance(uninitialised, int | str) else uninitialised:
        position = names.index(given) if given in names else given
        if not isinstance(position, int) or not 0 <= position < len(args):
            raise KernelError(
                f"uninitialised={given!r} is none of the kernel's parameters: 0 to {len(args) - 1}, "
                f"{', '.join(filter(None, names)) or 'which have no names'}"
            )
        if not isinstance(args[position], np.ndarray) or not _takes_array(parameters, position):
            raise KernelError(f"uninitialised={given!r} is not an array: {args[position]!r}")
        found.add(position)
    return found


def _takes_array(parameters, position: int) -> bool:
    """Whether an argument is memory that the kernel accesses, and no value such as that of a float3."""
    return position < len(parameters) and parameters[position].pointer


def _group_arrays(parameters, args: tuple, uninitialised: set[int]) -> list[_Group]:
    given = [
        _Group(
            [position],
            [array],
            _address(array),
            _address(array) + array.nbytes,
            parameters[position].constant,
            position not in uninitialised,
        )
        for position, array in enumerate(args)
        if isinstance(array, np.ndarray) and array.flags.c_contiguous and _takes_array(parameters, position)
    ]
    groups: list[_Group] = []
    for each in sorted(given, key=lambda group: group.start):
        last = groups[-1] if groups else None
        if last is None or each.start >= last.end or each.start == each.end:
            groups.append(each)
            continue
        last.positions += each.positions
        last.arrays += each.arrays
        last.end = max(last.end, each.end)
        last.constant &= each.constant
        last.initialised |= each.initialised
    return groups


def _names(group: _Group, parameters) -> tuple[str, int, str]:
    """What to call the arrays in a message, their item size, and why they may not be written."""
    named = [parameters[position].name or f"argument {position}" for position in group.positions]
    return " and ".join(named), group.arrays[0].itemsize, "is passed for a pointer to const"


@functools.cache
def _checked_module(build: Build) -> Module:
    return Module(dataclasses.replace(build, checked=True, sanitize=None))


@functools.cache
def _symbols(library: Path) -> Symbols:
    return Symbols(library)


def _read(library, begin: int) -> tuple[list[_Finding], list[_Traffic]]:
    """What the checker has found, with places as offsets from the library's begin."""

    def copied(function, structure) -> list:
        pointer = ctypes.POINTER(structure)()
        count = function(ctypes.byref(pointer))
        copies = [structure.from_buffer_copy(pointer[i]) for i in range(count)]
        for each in copies:
            if each.place:
                each.place -= begin
            if structure is _Finding and each.other_place:
                each.other_place -= begin
        return copies

    return copied(library.checker_findings, _Finding), copied(library.checker_traffic, _Traffic)


# ---- The report ------------------------------------------------------------------------------------------


def _accesses(traffic: list[_Traffic], places: dict[int, Place]) -> list[Access]:
    """Add up the instructions of a line."""
    lines: dict[tuple, list[int]] = {}
    for each in traffic:
        if not each.instructions:
            continue  # the load of an atomic update, which is counted with its compare-and-swap
        place = places[each.place]
        key = (place.file, place.line, _SPACES[each.space], _OPERATIONS[each.write])
        figures = (each.instructions, each.accesses, each.sectors, each.ideal_sectors, each.bank_conflicts)
        lines[key] = [a + b for a, b in zip(lines.get(key, (0,) * 5), figures, strict=True)]
    return [Access(*key, *figures) for key, figures in sorted(lines.items())]


def _findings(
    findings: list[_Finding],
    places: dict[int, Place],
    arrays: list[tuple[str, int, str]],
    variables: list[str],
    block,
) -> list[Finding]:
    found: dict[tuple, Finding] = {}
    racing = set()
    for each in findings:
        if each.kind == _RACE:
            _put_reading_first(each, places)
        place = places[each.place]
        other = places[each.other_place] if each.other_place else None
        if each.kind == _BARRIER_DIVERGED and other == place:
            continue  # the compiler has made several calls of one barrier
        lines = frozenset((at.file, at.line) for at in (place, other) if at is not None)
        message = _Message(each, place, other, arrays, variables, block)
        if each.kind == _RACE:
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


def _put_reading_first(race: _Finding, places: dict[int, Place]) -> None:
    """Let the finding be at the access that reads, wherever it ran first; of two writes, at the lower line.

    Which of the two comes first is chance: the order in which the executor runs threads that nothing orders.
    """
    mine = (race.write, -places[race.place].line)
    theirs = (race.other_write, -places[race.other_place].line)
    if mine <= theirs:
        return
    for name in ("place", "thread", "block", "write"):
        first, second = (getattr(race, each) for each in (name, f"other_{name}"))
        if name == "block":
            first, second = list(first), list(second)
            race.block[:], race.other_block[:] = second, first
        else:
            setattr(race, name, second)
            setattr(race, f"other_{name}", first)


_VERBS = ("reads", "writes", "updates atomically")


class _Message:
    """A finding in words."""

    def __init__(self, finding, place: Place, other: Place | None, arrays, variables, block):
        self.finding, self.place, self.other = finding, place, other
        self.arrays, self.variables = arrays, variables
        self.block = block if isinstance(block, tuple | list) else (block,)

    def __str__(self) -> str:
        finding = self.finding
        thread = self.thread(finding.thread, finding.block)
        does = _VERBS[finding.write]
        if finding.kind == _RACE:
            return self.race(thread, does)
        if finding.kind == _BARRIER_MISSED:
            absent = "has ended" if finding.other_write else "waits elsewhere"
            block = _triple(finding.block)
            return (
                f"{finding.lanes} threads of block {block} wait here, {finding.mask} do not come: "
                f"thread {self.index(finding.other_thread)} {absent}"
            )
        if finding.kind == _BARRIER_DIVERGED:
            return (
                f"thread {self.index(finding.thread)} of block {_triple(finding.block)} waits here, "
                f"thread {self.index(finding.other_thread)} at {self.related()}"
            )
        if finding.kind == _UNINITIALISED:
            return f"{thread} reads {self.element()}, which no thread has written"
        if finding.kind == _OUT_OF_BOUNDS:
            if finding.array == _UNKNOWN and finding.space != _SHARED:
                return (
                    f"{thread} {does} {finding.bytes} bytes at the address {finding.address:#x}, in no array"
                )
            return f"{thread} {does} {self.element()}, {finding.bytes} bytes that are not in it"
        if finding.kind == _OUT_OF_DIMENSION:
            return f"{thread} uses the index {finding.offset}, which the array is not declared to have"
        if finding.kind == _ACCESS_FAULT:
            return f"{thread} accesses the address {finding.address:#x}, in no array"
        if finding.kind == _DIVISION:
            return f"{thread} divides an integer by zero, or the least integer by -1: CUDA defines no result"
        if finding.kind == _STACK_FULL:
            return f"{thread} has no room on its stack: is there a recursion that does not end?"
        if finding.kind == _ABSENT_LANE:
            return (
                f"{thread} reads lane {finding.offset} of its warp, which takes no part (the mask is "
                f"{finding.mask:#010x}): CUDA does not define the value, and results depend on it"
            )
        if finding.kind == _TRAP:
            return f"{thread}: {finding.reason.decode(errors='replace')}"
        if finding.kind == _UNREACHABLE:
            return (
                f"{thread} comes to a place that the compiler took to be out of reach, such as the end of a "
                "function that returns no value, or a vector that is not aligned"
            )
        if finding.kind == _FREED:
            return f"{thread} {does} {self.element()}, which was freed"
        if finding.kind == _BAD_FREE:
            why = "was freed before" if finding.array == _HEAP else "malloc() or new has not given"
            return f"{thread} frees the address {finding.address:#x}, which {why}"
        if finding.kind == _MISALIGNED:
            size = f"{finding.bytes} bytes" if finding.bytes else "a vector"
            return f"{thread} accesses {size} at {self.element()}, which is not aligned to that size"
        if finding.kind == _CONST_WRITE:
            why = self.arrays[finding.array][2]
            return f"{thread} {does} {self.element()}, which {why}"
        if finding.kind == _MASK_WITHOUT_CALLER:
            return (
                f"{thread} is lane {finding.thread % 32}, which its mask {finding.mask:#010x} does not name"
            )
        absent = finding.mask & ~finding.lanes
        return (
            f"the mask {finding.mask:#010x} of {thread} names lanes that do not take part: {_lanes(absent)}"
        )

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
        width, height = (*self.block, 1, 1)[:2]
        return _triple((number % width, number // width % height, number // (width * height)))

    def related(self) -> str:
        same = self.other.file == self.place.file
        return f"line {self.other.line}" if same else f"{self.other.file}:{self.other.line}"

    def where(self) -> str:
        """The array or the shared variable."""
        finding = self.finding
        if finding.array == _HEAP:
            return "memory from malloc()"
        if finding.array == _UNKNOWN:
            return "dynamic shared memory" if finding.space == _SHARED else "memory"
        return self.arrays[finding.array][0] if finding.space == 0 else self.variables[finding.array]

    def element(self) -> str:
        finding = self.finding
        if finding.space == 0 and finding.array >= 0:
            itemsize = self.arrays[finding.array][1]
            if finding.offset % itemsize == 0:
                return f"{self.where()}[{finding.offset // itemsize}]"
        return f"{self.where()} at byte {finding.offset}"


def _triple(values) -> str:
    return f"({', '.join(map(str, values))})"


def _lanes(mask: int) -> str:
    """Lanes as ranges, such as ``16-31``."""
    ranges, lane = [], 0
    while lane < 32:
        if mask >> lane & 1:
            first = lane
            while lane < 31 and mask >> (lane + 1) & 1:
                lane += 1
            ranges.append(str(first) if first == lane else f"{first}-{lane}")
        lane += 1
    return ", ".join(ranges)
