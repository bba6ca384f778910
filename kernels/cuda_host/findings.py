"""What the checker says of a launch: its findings, and what each line has moved.

What is found
-------------
``race``
    Two threads access the same bytes, at least one writes, not both are atomic, and nothing orders them:
    no ``__syncthreads`` (in one block), no ``__syncwarp`` (in one warp), no ``__threadfence`` with an atomic
    function after it on an address that the other block then updates, too. Lanes of a warp are not ordered
    by running in the same warp, or by a shuffle.
``barrier``
    A ``__syncthreads`` that some threads of a block do not reach, or at which they meet from different lines.
``uninitialised``
    A read of shared memory that no thread of the block has written; or of an array named in `uninitialised`
    that no thread has written.
``out-of-bounds``
    An access outside an array or a shared variable, or an index outside a declared dimension. The thread
    ends there.
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
    other values in its place, and this is a finding if the results change.
``division``
    An integer division by zero, for which CUDA defines no result. The thread ends there.
``stack``
    More local variables and calls than a stack has room for, such as an endless recursion. The thread
    ends there.
``heap``
    An access to memory that was freed, or a ``free`` or ``delete`` of what ``malloc`` or ``new`` did not
    give. What is taken in a checked launch ends with it; memory from other launches is in no array.
``trap``
    An assertion that does not hold, or ``__trap()``. The launch ends there, as on a GPU.

The figures per line count each access that the source has, for one warp instruction at a time, as the memory
of a GPU serves it: for global memory the 32-byte sectors that are moved, against the fewest that could hold
the bytes; for shared memory the rounds beyond the first, for banks of which several words are wanted.
They do not know what caches or a compiler save.

What cannot be found: faults that these arguments do not provoke, and whatever depends on the order in which a
GPU runs threads. Blocks that are ordered in any other way, such as by a flag that is not atomic, are reported
as a race.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

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
    """What the accesses of one source line moved.

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
    """What a checked launch showed.

    Attributes
    ----------
    kernel : str
    findings : list of Finding
        Each once for a line (a race, once for two lines), by file and line.
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
