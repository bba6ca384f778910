"""The machine code of compiled loops on x86, read from the assembly that LLVM writes.

LLVM decides how a loop is unrolled, how its instructions are ordered and what stays in registers, and does
so anew for each function that the loop is inlined into. So the code to read is that of a loop as it is
launched. What matters are the innermost loops: there the sums of a tile should stay in registers, because
vectors that go to the stack and back (*spills*) take the place of multiply-adds.

    with only_compiling() as compiled:
        ...                                        # call kernels
    for loop, types in compiled:
        for inner in multiply_loops(assembly(loop, types)):
            print(loop.__qualname__, len(inner.instructions), inner.multiply_adds, inner.spills)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from minialex.kernels.runtime.compiled import CompiledLoop
from minialex.kernels.runtime.control_flow import natural_loops

_FUNCTION = re.compile(r"([^\s.#][^\s:]*):")
_LABEL = re.compile(r"(\.L\w+):")
_INSTRUCTION = re.compile(r"\s+([a-z]\w*)\s*([^#]*)")
_VECTOR = re.compile(r"%[xyz]mm\d")
_STACK = {False: re.compile(r"\(%rsp"), True: re.compile(r"\(%r[sb]p")}
# Without a fused instruction, a multiply-add is a multiplication and an addition.
_MULTIPLY_ADD = re.compile(r"vfn?madd\d*ps|mulps")


@dataclass(frozen=True)
class Instruction:
    """One instruction, in AT&T syntax: its last operand is its target.

    Attributes
    ----------
    address : int
        Its number in the function.
    opcode, operands : str
    target : int or None
        The number of the instruction that a branch goes to; None if it is not a branch, or leaves the
        function.
    """

    address: int
    opcode: str
    operands: str = ""
    target: int | None = None

    @property
    def leaves(self) -> bool:
        """Whether an instruction other than the next may follow."""
        return self.opcode.startswith("j") or self.opcode in ("ret", "retq", "ud2")

    @property
    def goes_on(self) -> bool:
        """Whether the next instruction may follow."""
        return not self.leaves or self.opcode not in ("jmp", "jmpq", "ret", "retq", "ud2")

    def __str__(self) -> str:
        return f"{self.opcode} {self.operands}".rstrip()


@dataclass(frozen=True)
class MultiplyLoop:
    """A loop whose own instructions, not counting those of inner loops, multiply and add vectors.

    Attributes
    ----------
    instructions : tuple of Instruction
        Its own.
    has_frame_pointer : bool
        Whether the function also addresses its stack by rbp, which is otherwise a register like any other.
    """

    instructions: tuple[Instruction, ...]
    has_frame_pointer: bool

    @cached_property
    def multiply_adds(self) -> int:
        """The number of instructions that multiply and add vectors."""
        return sum(map(_multiplies, self.instructions))

    @cached_property
    def spills(self) -> tuple[Instruction, ...]:
        """The instructions that store vectors on the stack, or load them from there."""
        stack = _STACK[self.has_frame_pointer]
        return tuple(
            each
            for each in self.instructions
            if stack.search(each.operands) and _VECTOR.search(each.operands)
        )


def assembly(loop: CompiledLoop, types: tuple) -> str:
    """The assembly of a loop compiled for these types of its body's parameters."""
    from minialex.kernels.runtime import _numba_internals

    return _numba_internals.assembly_of(loop.for_compiled, types)


def multiply_loops(text: str) -> list[MultiplyLoop]:
    """The loops in assembly whose own instructions multiply and add vectors."""
    found = []
    for instructions in read_assembly(text).values():
        frame = any(each.opcode == "movq" and each.operands == "%rsp, %rbp" for each in instructions)
        bodies = [(body, {each.address for each in body}) for body in natural_loops(instructions)]
        for body, addresses in bodies:
            inside = set().union(*(other for _, other in bodies if other < addresses))
            own = tuple(each for each in body if each.address not in inside)
            if any(map(_multiplies, own)):
                found.append(MultiplyLoop(own, frame))
    return found


def read_assembly(text: str) -> dict[str, list[Instruction]]:
    """The instructions of each function."""
    functions: dict[str, list[tuple[str, str]]] = {}
    labels: dict[str, int] = {}
    lines: list[tuple[str, str]] = []
    for line in text.splitlines():
        if match := _FUNCTION.match(line):
            lines = functions[match[1]] = []
        elif match := _LABEL.match(line):
            labels[match[1]] = len(lines)
        elif match := _INSTRUCTION.match(line):
            lines.append((match[1], match[2].strip()))
    return {
        name: [
            Instruction(i, opcode, operands, labels.get(operands) if opcode.startswith("j") else None)
            for i, (opcode, operands) in enumerate(lines)
        ]
        for name, lines in functions.items()
        if lines
    }


def _multiplies(instruction: Instruction) -> bool:
    return _MULTIPLY_ADD.fullmatch(instruction.opcode) is not None
