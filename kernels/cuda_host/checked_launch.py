"""`check`: run a launch on the processor and report what would be wrong, or slow, with it on a GPU.

    module = ma.kernels.cuda_host.load("their.cu")
    report = ma.kernels.cuda_host.check(module["transpose"], (4, 4), (32, 8), (x, y, np.int32(100)))
    print(report)

`findings.py` says what is found.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minialex.errors import KernelError
from minialex.kernels.cuda_host.checker import (
    GLOBAL,
    SHARED,
    CheckedArray,
    CheckedFinding,
    CheckedTraffic,
    CheckedVariable,
    Kind,
    read_findings,
)
from minialex.kernels.cuda_host.compiler import Build
from minialex.kernels.cuda_host.findings import Report
from minialex.kernels.cuda_host.instrumentation import Place, Symbols
from minialex.kernels.cuda_host.messages import Names, accesses_of, findings_of
from minialex.kernels.cuda_host.module import Kernel, Module


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

    The kernel's source is compiled again with instrumentation, unless that was done before. The blocks run
    one after another. The results are in the arrays afterwards, as after a launch; arrays of pointers to
    const are never changed.

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
    faults = [
        each for each in outcome.findings if each.kind != Kind.ABSENT_LANE or launch.matters(each, outcome)
    ]
    launch.keep(outcome)
    return launch.report(faults, outcome.traffic)


@dataclass
class _Outcome:
    """What a checked launch left: arrays by position, variables by name, places by offset."""

    arrays: dict[int, np.ndarray]
    variables: dict[str, np.ndarray]
    findings: list[CheckedFinding]
    traffic: list[CheckedTraffic]

    def is_alike(self, other: _Outcome) -> bool:
        """Whether the same bits were left, and the same findings made."""
        mine, theirs = (
            [array.tobytes() for array in (*each.arrays.values(), *each.variables.values())]
            for each in (self, other)
        )
        return mine == theirs and [(each.kind, each.place) for each in self.findings] == [
            (each.kind, each.place) for each in other.findings
        ]


# Tried in place of a value that CUDA does not define, and that the checker first takes to be all ones, NaN or
# -1: a large number of any type, one far below zero for floats, and one for integers.
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
        begin = ctypes.cast(self.library.checker_begin, ctypes.c_void_p).value or 0
        self.begin = begin - self.symbols.offset("checker_begin")
        self.shared = self.symbols.shared_variables()
        self.globals = [self.checked.global_variable(name) for name in self.checked.global_names]

    def run(self, *, repeat: tuple[int, int] | None = None) -> _Outcome:
        """Run it; `repeat` is the place of a shuffle and the value it gives for a lane that takes no part."""
        arrays = (CheckedArray * len(self.groups))(*(group.described() for group in self.groups))
        variables = self._described_variables()
        if self.library.checker_begin(arrays, len(arrays), variables, len(variables)):
            raise KernelError(
                "the arrays cannot be copied for the check: each may have 4 GiB, and needs 16 GiB of "
                "address space"
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
            return _Outcome(results, _variables(self.checked), *read_findings(self.library, self.begin))
        finally:
            self.library.checker_end()

    def matters(self, absent: CheckedFinding, outcome: _Outcome) -> bool:
        """Whether the value that a shuffle gives for a lane that takes no part changes any result.

        Much correct code reads such lanes and does not use the value: of a sum over half a warp by
        ``__shfl_down_sync``, only the first lane's is wanted.
        """
        return any(not outcome.is_alike(self.run(repeat=(absent.place, value))) for value in _VALUES)

    def keep(self, outcome: _Outcome) -> None:
        """Copy the results to the arguments and the variables."""
        for position, result in outcome.arrays.items():
            self.args[position][...] = result
        for name, result in outcome.variables.items():
            self.kernel.module.get_global(name)[...] = result

    def report(self, findings: list[CheckedFinding], traffic: list[CheckedTraffic]) -> Report:
        names = [_names(group, self.kernel.signature) for group in self.groups]
        names += [(each.name, each.element_bytes, "is constant") for each in self.globals]
        places = self.symbols.places(
            {each.place for each in traffic}
            | {place for each in findings for place in (each.place, each.other_place) if place}
        )
        # What the compiler puts before the first line has no place, as where a stack is full.
        defined = Place(*self.kernel.defined)
        places = {at: defined if each.is_in_runtime else each for at, each in places.items()} | {0: defined}
        block = tuple(self.block) if isinstance(self.block, tuple | list) else (self.block,)
        called = Names(names, [each.name for each in self.shared], block)
        return Report(self.kernel.name, findings_of(findings, places, called), accesses_of(traffic, places))

    def _described_variables(self):
        described = [
            CheckedVariable(self.begin + each.offset, each.bytes, self.begin + each.limit, SHARED, 0, number)
            for number, each in enumerate(self.shared)
        ]
        for number, each in enumerate(self.globals):
            limit = self.symbols.variable(each.name, each.address - self.begin, each.bytes).limit
            constant = each.constant or each.read_only
            position = len(self.groups) + number
            described.append(
                CheckedVariable(each.address, each.bytes, self.begin + limit, GLOBAL, constant, position)
            )
        return (CheckedVariable * len(described))(*described)


def _variables(module: Module) -> dict[str, np.ndarray]:
    """The values of a module's variables that can change."""
    return {
        name: np.array(module.get_global(name))
        for name in module.global_names
        if not module.global_variable(name).read_only
    }


@dataclass
class _Group:
    """Arrays that share memory, as their copies must, too; mostly a single one."""

    positions: list[int]
    arrays: list[np.ndarray]
    start: int
    end: int
    constant: bool
    initialised: bool

    def described(self) -> CheckedArray:
        granule = min(self.arrays[0].itemsize, 8) if len(self.arrays) == 1 else 1
        return CheckedArray(
            bytes=self.end - self.start,
            granule=granule if granule in (1, 2, 4, 8) else 1,
            constant=self.constant,
            initialised=self.initialised,
            offset=(self.start - _allocation(self.arrays[0])) % 256,
        )

    def copy_to(self, data: int, arguments: list) -> None:
        """Copy the arrays to an address, and put the copies in place of the arguments."""
        for position, array in zip(self.positions, self.arrays, strict=True):
            buffer = (ctypes.c_char * max(array.nbytes, 1)).from_address(data + _address(array) - self.start)
            copy = np.frombuffer(memoryview(buffer), array.dtype, array.size).reshape(array.shape)
            copy[...] = array
            arguments[position] = copy

    def results(self, copies: list) -> dict[int, np.ndarray]:
        """The results in the arrays that the launch may change, by position."""
        writeable = zip(self.positions, self.arrays, strict=True) if not self.constant else ()
        return {
            position: np.array(copies[position]) for position, array in writeable if array.flags.writeable
        }


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def _allocation(array: np.ndarray) -> int:
    """Where the memory that an array is a view of begins: on a GPU, at a multiple of 256 bytes."""
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
                f"uninitialised must be parameters of the kernel, 0 to {len(args) - 1}, "
                f"{', '.join(filter(None, names)) or 'which have no names'}, not {given!r}"
            )
        if not isinstance(args[position], np.ndarray) or not _takes_array(parameters, position):
            raise KernelError(f"uninitialised must be arrays, and {given!r} is {args[position]!r}")
        found.add(position)
    return found


def _takes_array(parameters, position: int) -> bool:
    """Whether an argument is memory that the kernel accesses, not a value such as a float3."""
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
    """What to call the arrays in a message, their item size, and why they must not be written."""
    named = [parameters[position].name or f"argument {position}" for position in group.positions]
    return " and ".join(named), group.arrays[0].itemsize, "is passed for a pointer to const"


@functools.cache
def _checked_module(build: Build) -> Module:
    return Module(dataclasses.replace(build, checked=True, sanitize=None))


@functools.cache
def _symbols(library: Path) -> Symbols:
    return Symbols(library)
