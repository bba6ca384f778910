"""How many blocks of a kernel fit on a multiprocessor at once, and the share of its warps that they are.

The limits are those of the table "Technical Specifications per Compute Capability" in NVIDIA's CUDA C++
Programming Guide, the rules of allocation those of ``cuda_occupancy.h``, a header of the CUDA toolkit:

- registers are given to each warp, in units of 256, from the quarter of the multiprocessor that runs it;
- shared memory is given to each block, in units of 128 bytes (sm_75: 256); from sm_80 on the system takes
  another 1024 bytes of each block's.

Shared memory and the first-level cache share one memory; all of it that shared memory may have is counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from minialex.errors import KernelError
from minialex.integers import ceil_div
from minialex.kernels.cuda.inspection.compile import check_architecture

_WARP = 32
_QUARTERS = 4
_REGISTERS = 65536
_REGISTER_UNIT = 256
MAX_REGISTERS = 255


@dataclass(frozen=True)
class Multiprocessor:
    """What a multiprocessor holds at once, and how it is given out.

    Attributes
    ----------
    blocks, warps : int
    shared : int
        Bytes, of all blocks together.
    shared_unit, shared_reserved : int
        Bytes: what a block's shared memory is rounded up to, and what the system takes of it before.
    """

    blocks: int
    warps: int
    shared: int
    shared_unit: int = 128
    shared_reserved: int = 1024


MULTIPROCESSORS = {
    "sm_75": Multiprocessor(blocks=16, warps=32, shared=64 * 1024, shared_unit=256, shared_reserved=0),
    "sm_80": Multiprocessor(blocks=32, warps=64, shared=164 * 1024),
    "sm_86": Multiprocessor(blocks=16, warps=48, shared=100 * 1024),
    "sm_89": Multiprocessor(blocks=24, warps=48, shared=100 * 1024),
    "sm_90": Multiprocessor(blocks=32, warps=64, shared=228 * 1024),
    "sm_100": Multiprocessor(blocks=32, warps=64, shared=228 * 1024),
    "sm_120": Multiprocessor(blocks=24, warps=48, shared=100 * 1024),
}


@dataclass(frozen=True)
class Occupancy:
    """How a multiprocessor is filled.

    Attributes
    ----------
    blocks : int
        Blocks that fit at once.
    share : float
        The share of the warps that it could hold.
    limit : str
        What rules out another block: ``"registers"``, ``"shared memory"``, ``"warps"`` or ``"blocks"``.
    """

    blocks: int
    share: float
    limit: str


def occupancy(architecture: str, threads: int, registers: int, shared: int) -> Occupancy:
    """The occupancy of a kernel.

    Parameters
    ----------
    architecture : str
        Such as ``"sm_80"``.
    threads : int
        Of a block, 1 to 1024.
    registers : int
        Of a thread.
    shared : int
        Bytes of a block.

    Raises
    ------
    KernelError
        If the architecture is unknown or the block has too many threads or too few.
    """
    machine = MULTIPROCESSORS[check_architecture(architecture)]
    if not 1 <= threads <= 1024:
        raise KernelError(f"the threads of a block must be 1 to 1024, not {threads}")
    warps = ceil_div(threads, _WARP)
    fits = {
        "registers": _by_registers(warps, registers),
        "shared memory": _by_shared(machine, shared),
        "warps": machine.warps // warps,
        "blocks": machine.blocks,
    }
    limit = min(fits, key=fits.__getitem__)
    return Occupancy(fits[limit], fits[limit] * warps / machine.warps, limit)


def _by_registers(warps: int, registers: int) -> int:
    if registers > MAX_REGISTERS:
        return 0
    of_warp = _round_up(max(registers, 1) * _WARP, _REGISTER_UNIT)
    # The launch is refused by a sum in which every quarter gets as many warps as the fullest.
    if of_warp * _round_up(warps, _QUARTERS) > _REGISTERS:
        return 0
    return _REGISTERS // _QUARTERS // of_warp * _QUARTERS // warps


def _by_shared(machine: Multiprocessor, shared: int) -> int:
    of_block = _round_up(shared + machine.shared_reserved, machine.shared_unit)
    return machine.shared // of_block if of_block else machine.blocks


def _round_up(value: int, unit: int) -> int:
    return ceil_div(value, unit) * unit
