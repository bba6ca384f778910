"""The loops in machine code: natural loops, as compilers define them.

An instruction *dominates* another if every path from the start to the other passes through it. A branch back
to an instruction that dominates it closes a loop; its body is whatever leads to that branch without passing
the loop's first instruction (Aho, Lam, Sethi, Ullman, "Compilers", section 9.6). Not every branch to a lower
address closes a loop: code for rare cases is placed after a kernel's end, and branches back into it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Protocol, TypeVar


class Instruction(Protocol):
    """What must be known about an instruction, whatever the processor.

    Attributes
    ----------
    address : int
        Later instructions have larger ones.
    target : int or None
        The address that a branch goes to; None if it is not a branch, or is an indirect one.
    leaves : bool
        Whether an instruction other than the next may follow.
    goes_on : bool
        Whether the next instruction may follow.
    """

    @property
    def address(self) -> int: ...

    @property
    def target(self) -> int | None: ...

    @property
    def leaves(self) -> bool: ...

    @property
    def goes_on(self) -> bool: ...


_I = TypeVar("_I", bound=Instruction)


def natural_loops(instructions: Sequence[_I]) -> list[list[_I]]:
    """The instructions of each loop, by their addresses; loops with the same first instruction are one."""
    blocks = _basic_blocks(instructions)
    following = _successors(blocks)
    dominators = _dominators(following)
    before: dict[int, set[int]] = {start: set() for start in blocks}
    for start, ends in following.items():
        for end in ends:
            before[end].add(start)
    bodies: dict[int, set[int]] = {}
    for start, doms in dominators.items():
        for head in following[start] & doms:
            body = bodies.setdefault(head, {head})
            waiting = [start]
            while waiting:
                block = waiting.pop()
                if block not in body and block in dominators:
                    body.add(block)
                    waiting += before[block]
    return [[each for start in sorted(body) for each in blocks[start]] for _, body in sorted(bodies.items())]


def _basic_blocks(instructions: Sequence[_I]) -> dict[int, list[_I]]:
    """Runs of instructions that are entered at the first and left at the last, by address."""
    starts = {each.target for each in instructions if each.target is not None}
    blocks: dict[int, list[_I]] = {}
    block: list[_I] | None = None
    for each in instructions:
        if block is None or each.address in starts:
            block = blocks[each.address] = []
        block.append(each)
        if each.leaves:
            block = None
    return blocks


def _successors(blocks: Mapping[int, Sequence[Instruction]]) -> dict[int, set[int]]:
    """The blocks that may run after each."""
    starts = list(blocks)
    found: dict[int, set[int]] = {}
    for start, after in zip_longest(starts, starts[1:]):
        last = blocks[start][-1]
        ends = (last.target, after if last.goes_on else None)
        found[start] = {each for each in ends if each is not None and each in blocks}
    return found


def _dominators(following: dict[int, set[int]]) -> dict[int, set[int]]:
    """The blocks that dominate each reachable block, itself included."""
    if not following:
        return {}
    entry = next(iter(following))
    found = {entry: {entry}}
    changed = True
    while changed:
        changed = False
        for start in list(found):
            for end in following[start]:
                reduced = (found[end] & found[start] if end in found else set(found[start])) | {end}
                if end == entry:
                    reduced = {entry}
                if found.get(end) != reduced:
                    found[end] = reduced
                    changed = True
    return found
