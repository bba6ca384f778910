"""The loop in which a kernel spends its time, and what its instructions are.

The hottest loop is taken to be the one with the most multiply-adds (or tensor-core instructions) of its own,
not counting those in loops inside it; where there are none, the one that asks for the most bytes of global
memory. Of equals it is the shortest: a kernel may have one loop for whole tiles and another for those at an
edge. A kernel without loops is looked at as a whole.

An instruction is issued for a warp, 32 threads. A scheduler issues one a cycle: whatever is not a
multiply-add in the loop of a matrix product takes a multiply-add's place. Hence the *density*, the share of
the loop's instructions that multiply and add: an upper bound on the share of the arithmetic peak that the
loop can reach where a scheduler has 32 lanes, from sm_86 on (sm_75 and sm_80 have 16, and half of the density
would do).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from minialex.kernels.cuda.inspection.disassemble import Instruction
from minialex.kernels.runtime.control_flow import natural_loops

WARP = 32

# Multiply-adds of each thread in one instruction. Blackwell's FFMA2 does two.
_MULTIPLY_ADDS = {"FFMA": 1, "FFMA2": 2, "DFMA": 1}
_OTHER_ARITHMETIC = ("FADD", "FMUL", "DADD", "DMUL")

# The m, n and k of a warp's tensor-core instruction, by the digits in its name.
_TENSOR_SHAPES = {
    "1684": (16, 8, 4),
    "1688": (16, 8, 8),
    "16816": (16, 8, 16),
    "16832": (16, 8, 32),
    "884": (8, 8, 4),
    "8x8x4": (8, 8, 4),
    "16x8x4": (16, 8, 4),
    "16x8x8": (16, 8, 8),
    "16x8x16": (16, 8, 16),
}
_TENSOR = ("HMMA", "DMMA")

_BYTES = {"U8": 1, "S8": 1, "U16": 2, "S16": 2, "64": 8, "128": 16, "256": 32}
_LOADS = {"LDG": "global", "LDS": "shared", "LDSM": "shared", "LDL": "local", "LDGSTS": "global"}
_STORES = {"STG": "global", "STS": "shared", "STL": "local", "LDGSTS": "shared"}


@dataclass(frozen=True)
class Mix:
    """What the instructions of a loop are, counted once each.

    Attributes
    ----------
    instructions : int
    multiply_adds, tensor : int
        The FFMA (DFMA, FFMA2) and the tensor-core instructions.
    fused_flop : int
        The floating-point operations of these, of a warp: 64 for each FFMA, 2 m n k for each tensor
        instruction.
    flop : int
        The same with those of other additions and multiplications, 32 each.
    loads, stores : dict from (space, bytes a thread) to how many instructions
        Space is ``"global"``, ``"shared"`` or ``"local"``. A copy from global to shared memory (LDGSTS)
        is one of each.
    """

    instructions: int
    multiply_adds: int
    tensor: int
    fused_flop: int
    flop: int
    loads: dict[tuple[str, int], int] = field(default_factory=dict)
    stores: dict[tuple[str, int], int] = field(default_factory=dict)

    @property
    def density(self) -> float:
        """The share of multiply-add and tensor instructions."""
        return (self.multiply_adds + self.tensor) / self.instructions if self.instructions else 0.0

    def moved(self, space: str) -> int:
        """The bytes that a warp asks of a memory, loads and stores: broadcasts count once a thread."""
        both = Counter(self.loads) + Counter(self.stores)
        return WARP * sum(width * count for (where, width), count in both.items() if where == space)

    def intensity(self, space: str) -> float:
        """The floating-point operations for each byte asked of a memory; infinite if it asks for none."""
        moved = self.moved(space)
        return self.flop / moved if moved else math.inf


@dataclass(frozen=True)
class Loop:
    """A part of a kernel.

    Attributes
    ----------
    first, last : int
        The addresses of its first and its last instruction.
    is_loop : bool
        Whether it is repeated; False for a kernel without loops, as a whole.
    mix : Mix
    """

    first: int
    last: int
    is_loop: bool
    mix: Mix


def mix_of(instructions: Sequence[Instruction]) -> Mix:
    """Count the instructions; the padding after a kernel's end (NOP) is left out."""
    counted = [each for each in instructions if each.name != "NOP"]
    loads, stores = Counter(), Counter()
    for each in counted:
        for spaces, found in ((_LOADS, loads), (_STORES, stores)):
            if each.name in spaces:
                found[spaces[each.name], _width(each)] += 1
    fused = sum(map(_fused_flop, counted))
    return Mix(
        len(counted),
        sum(each.name in _MULTIPLY_ADDS for each in counted),
        sum(each.name in _TENSOR for each in counted),
        fused,
        fused + WARP * sum(each.name in _OTHER_ARITHMETIC for each in counted),
        dict(sorted(loads.items())),
        dict(sorted(stores.items())),
    )


def hottest_loop(instructions: Sequence[Instruction]) -> Loop:
    """The loop by the rule above; the whole kernel if it has none."""
    found = natural_loops(instructions)
    if not found:
        # After its end a kernel is padded with a branch to itself.
        return _loop([each for each in instructions if each.target != each.address], False)

    def heat(body: list[Instruction]) -> tuple[int, int, int]:
        addresses = {each.address for each in body}
        inner = [{each.address for each in other} for other in found]
        nested = set().union(*(other for other in inner if other < addresses))
        own = mix_of([each for each in body if each.address not in nested])
        return own.fused_flop, own.moved("global"), -own.instructions

    return _loop(max(found, key=heat), True)


def _loop(body: Sequence[Instruction], is_loop: bool) -> Loop:
    first, last = (body[0].address, body[-1].address) if body else (0, 0)
    return Loop(first, last, is_loop, mix_of(body))


def _width(instruction: Instruction) -> int:
    """The bytes that each thread loads or stores."""
    if instruction.name == "LDSM":
        # 1, 2 or 4 matrices of 8 x 8 numbers of 16 bits, which the threads of a warp share.
        return {"2": 8, "4": 16}.get(instruction.modifiers[-1], 4)
    return next((_BYTES[each] for each in instruction.modifiers if each in _BYTES), 4)


def _fused_flop(instruction: Instruction) -> int:
    if instruction.name in _TENSOR:
        shape = next((_TENSOR_SHAPES[each] for each in instruction.modifiers if each in _TENSOR_SHAPES), (0,))
        return 2 * math.prod(shape)
    return 2 * WARP * _MULTIPLY_ADDS.get(instruction.name, 0)
