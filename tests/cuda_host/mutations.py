"""Faults put into the project's own CUDA sources, by patterns: they follow the sources as these change.

All faults of one source are compiled together: a copy of the source for each, in a namespace of its own.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minialex.checking.kernels.races import supported_calls
from minialex.checking.testing.calls import Call
from minialex.kernels import Kernel, cuda_host, list_kernels
from minialex.kernels.cuda.checking_device import CheckingDevice, few_blocks
from minialex.kernels.cuda.host import HostDevice
from minialex.kernels.cuda.launcher import Launch
from minialex.kernels.cuda.source import Source, SourceKernel, compiler_options, project_sources
from minialex.kernels.cuda_host import Finding

_LINE = re.compile(r'#line (\d+) "(.*)"')
_SHARED = re.compile(r"__shared__\s+(?:__align__\(\w+\)\s+)?\w+\s+([^;]*);")


@dataclass(frozen=True)
class Fault:
    """One change of one line.

    Attributes
    ----------
    source : Source
    kind : str
        What was done, such as ``"barrier deleted"``.
    file, line : str, int
    position : int
        The line in the source's text, which has its headers in place.
    before, after : str
    kernel : str or None
        The CUDA kernel whose code it is in; None for a function that several may call.
    """

    source: Source
    kind: str
    file: str
    line: int
    position: int
    before: str
    after: str
    kernel: str | None

    def __str__(self) -> str:
        return f"{self.file.rpartition('/')[2]}:{self.line} {self.kind}"


def _barrier_deleted(code: str, shared: set[str]) -> Iterator[str]:
    for match in re.finditer(r"__sync(threads|warp)\([^)]*\);", code):
        yield code[: match.start()] + ";" + code[match.end() :]


def _store_to_shared_memory_deleted(code: str, shared: set[str]) -> Iterator[str]:
    match = re.fullmatch(r"(\s*)(\w+)(\[.*\])? = [^=].*;", code)
    if match and match[2] in shared:
        yield f"{match[1]};"


def _index_transposed(code: str, shared: set[str]) -> Iterator[str]:
    # Of a store: a load from another place need not be a fault of memory.
    for match in re.finditer(r"\[(\w+) \* (\w+) \+ (\w+)\](?= \+?= )", code):
        yield code[: match.start()] + f"[{match[3]} * {match[2]} + {match[1]}]" + code[match.end() :]


def _loop_one_too_far(code: str, shared: set[str]) -> Iterator[str]:
    match = re.search(r"for \(int (\w+) = [^;]*threadIdx[^;]*; \1 < ", code)
    if match:
        yield code[: match.end() - 1] + "= " + code[match.end() :]


def _guard_weakened(code: str, shared: set[str]) -> Iterator[str]:
    match = re.search(r"\bif \(", code)
    if match:
        for less in re.finditer(r"(?<=[\w)]) < (?=[a-z]\w*\b(?!\())", code[match.end() :]):
            start = match.end() + less.start()
            yield code[:start] + " <= " + code[start + 3 :]


def _mask_halved(code: str, shared: set[str]) -> Iterator[str]:
    if "0xffffffff" in code:
        yield code.replace("0xffffffff", "0x0000ffff", 1)


_CHANGES = {
    "barrier deleted": _barrier_deleted,
    "store to shared memory deleted": _store_to_shared_memory_deleted,
    "index transposed": _index_transposed,
    "loop one too far": _loop_one_too_far,
    "guard weakened": _guard_weakened,
    "mask halved": _mask_halved,
}


def faults(source: Source) -> list[Fault]:
    """The faults that the patterns give in a source and its headers."""
    found, kernel, depth, file, number = [], None, 0, "", 0
    shared: set[str] = set()
    started = {(each.file, each.line): each.name for each in source.signatures.values()}
    for position, line in enumerate(source.text.splitlines()):
        directive = _LINE.fullmatch(line)
        if directive:
            file, number = directive[2], int(directive[1]) - 1
            continue
        number += 1
        code = line.partition("//")[0]
        declared = _SHARED.search(code)
        if declared:
            shared |= set(re.findall(r"(\w+)(?:\s*\[|\s*,|\s*$)", declared[1]))
        kernel = started.get((file, number), kernel)
        inside = depth > 0
        depth += code.count("{") - code.count("}")
        if inside:
            for kind, change in _CHANGES.items():
                for after in change(code, shared):
                    found.append(Fault(source, kind, file, number, position, line, after, kernel))
        if depth == 0 and "}" in code:
            kernel, shared = None, set()
    return found


@functools.cache
def faulty_module(chosen: tuple[Fault, ...], real: np.dtype):
    """A module with a copy of the source for each fault, in ``fault_0``, ``fault_1``, ..."""
    copies = []
    for number, fault in enumerate(chosen):
        lines = fault.source.text.splitlines()
        assert lines[fault.position] == fault.before
        lines[fault.position] = fault.after
        text = "\n".join(lines).replace('extern "C" __global__', "__global__").replace("#pragma once", "")
        copies.append(f"namespace fault_{number} {{\n{text}\n}}")
    return cuda_host.load(source_text="\n".join(copies), options=compiler_options(real), checked=True)


class _DryDevice(HostDevice):
    """Notes what would be launched, and runs nothing."""

    def __init__(self):
        self.launches: set[tuple[Source, str]] = set()

    def run(self, kernel: SourceKernel, launch: Launch) -> None:
        self.launches.add((kernel.source, kernel.name))


@functools.cache
def _calls(kernel: Kernel) -> tuple[tuple[Call, frozenset[tuple[Source, str]]], ...]:
    """The calls of a registered kernel, with the CUDA kernels that each launches; the largest call first."""
    found = []
    for call in reversed(supported_calls(kernel)):
        device = _DryDevice()
        device.call(kernel, *_copies(call), **call.parameters)
        found.append((call, frozenset(device.launches)))
    return tuple(found)


def _copies(call: Call) -> list[np.ndarray | None]:
    return [None if array is None else array.copy() for array in call.arrays]


def _with_fault(fault: Fault, chosen: tuple[Fault, ...]):
    """How a `CheckingDevice` compiles, so that the fault is in its source."""

    def compile(kernel: SourceKernel, real: np.dtype):
        if kernel.source != fault.source:
            return CheckingDevice.instrumented(kernel, real)
        return faulty_module(chosen, real)[f"fault_{chosen.index(fault)}::{kernel.name}"]

    return compile


def is_harmless(fault: Fault, chosen: tuple[Fault, ...]) -> bool:
    """Whether all results are what they are without the fault, which then is none."""
    outcomes = []
    for compile in (None, _with_fault(fault, chosen)):
        results = []
        for kernel, call in _runs(fault):
            arrays = _copies(call)
            given = CheckingDevice(compile).call(kernel, *arrays, **call.parameters)
            results += [*arrays, *(given if isinstance(given, tuple) else (given,))]
        outcomes.append(results)
    pairs = zip(*outcomes, strict=True)
    return all(a is None if b is None else np.array_equal(a, b, equal_nan=True) for a, b in pairs)


def findings(fault: Fault, chosen: tuple[Fault, ...]) -> list[Finding]:
    """What the checker finds in the first call of a registered kernel that shows the fault.

    Parameters
    ----------
    fault : Fault
    chosen : tuple of Fault
        Those that are compiled together, of which it is one.
    """
    compile = _with_fault(fault, chosen)
    for kernel, call in _runs(fault):
        device = CheckingDevice(compile)
        device.call(kernel, *_copies(call), **call.parameters)
        with few_blocks():
            device.call(kernel, *_copies(call), **call.parameters)
        found = [finding for launch in device.launches for finding in launch.report.findings]
        if found:
            return found
    return []


def _runs(fault: Fault) -> Iterator[tuple[Kernel, Call]]:
    """The calls that run the code with the fault."""
    for kernel in list_kernels(device="cuda-host"):
        for call, launched in _calls(kernel):
            run = {name for source, name in launched if source == fault.source}
            if run and fault.kernel in (None, *run):
                yield kernel, call


def project_faults() -> dict[Source, tuple[Fault, ...]]:
    """The faults of each source of the project; those of a header once, with the first source that has it.

    Those of ``reduce.cuh`` are left out: it has barriers for the sake of a next reduction, which not every
    source makes.
    """
    seen: set[tuple] = set()
    found = {}
    for source in project_sources():
        chosen = []
        for fault in faults(source):
            place = fault.file, fault.line, fault.kind, fault.after
            if place not in seen and not fault.file.endswith("/reduce.cuh"):
                seen.add(place)
                chosen.append(fault)
        if chosen:
            found[source] = tuple(chosen)
    return found
