"""Machine code as text, by NVIDIA's nvdisasm, and that text as instructions.

nvdisasm comes with the CUDA toolkit, and on its own as the wheel ``nvidia-cuda-nvdisasm``. What it prints
for each kernel with ``-c``:

    .text.relu_forward:
            /*0050*/               @P0 EXIT ;
    .L_x_0:
            /*0090*/                   LDG.E.CONSTANT R2, [R2.64] ;
            /*0100*/              @!P0 BRA `(.L_x_0) ;
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from minialex.errors import DeviceError, KernelError

_WHEEL = "nvidia-cuda-nvdisasm"

_BRANCHES = ("BRA", "JMP")
_ENDS = ("EXIT", "RET", "BRX", "JMX", "BPT")


@dataclass(frozen=True)
class Instruction:
    """One instruction of a warp.

    Attributes
    ----------
    address : int
        In bytes, from the kernel's first.
    opcode : str
        With its modifiers, such as ``"LDG.E.128.CONSTANT"``.
    operands : str
        As they are printed.
    target : int or None
        The address that a branch goes to; None if it is no branch, or goes where a register says.
    conditional : bool
        Whether it runs under a predicate (``@P0``, or ``BRA.U UP0, ...``).
    """

    address: int
    opcode: str
    operands: str = ""
    target: int | None = None
    conditional: bool = False

    @property
    def name(self) -> str:
        """The opcode without modifiers: ``"LDG"``."""
        return self.opcode.partition(".")[0]

    @property
    def modifiers(self) -> tuple[str, ...]:
        return tuple(self.opcode.split(".")[1:])

    @property
    def leaves(self) -> bool:
        """Whether another instruction than the next may follow."""
        return self.name in _BRANCHES or self.name in _ENDS

    @property
    def goes_on(self) -> bool:
        """Whether the next instruction may follow."""
        return self.conditional or not self.leaves


def find_disassembler() -> str:
    """The path of nvdisasm: the one in PATH, or else that of the wheel.

    Raises
    ------
    DeviceError
        If there is none: what to install.
    """
    found = shutil.which("nvdisasm")
    if found:
        return found
    try:
        files = importlib.metadata.files(_WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.stem == "nvdisasm":
            return str(file.locate())
    raise DeviceError(f"nvdisasm, which reads compiled kernels, is not installed: pip install {_WHEEL}")


def disassemble(code: bytes) -> dict[str, list[Instruction]]:
    """The instructions of each kernel in a cubin.

    Raises
    ------
    DeviceError
        If nvdisasm is missing.
    KernelError
        If it cannot read the code: an older nvdisasm does not know a newer architecture.
    """
    program = find_disassembler()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "code.cubin")
        path.write_bytes(code)
        done = subprocess.run([program, "-c", path], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it says nothing").splitlines()[0]
        raise KernelError(
            f"nvdisasm cannot read the compiled code: {said}; a newer one: pip install {_WHEEL}"
        )
    return read_disassembly(done.stdout)


_KERNEL = re.compile(r"^\.text\.(\w+):")
_LABEL = re.compile(r"^(\.L\w+):")
_INSTRUCTION = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(@!?\w+\s+)?([A-Z][\w.]*)\s*([^;]*);")
_TARGET = re.compile(r"(.*)`\((\.L\w+)\)")


def read_disassembly(text: str) -> dict[str, list[Instruction]]:
    """The instructions of each kernel, by name, from what ``nvdisasm -c`` prints."""
    kernels: dict[str, list[re.Match]] = {}
    labels: dict[str, int] = {}
    waiting: list[str] = []
    for line in text.splitlines():
        if kernel := _KERNEL.match(line):
            current = kernels.setdefault(kernel[1], [])
            waiting.clear()
        elif label := _LABEL.match(line):
            waiting.append(label[1])
        elif kernels and (found := _INSTRUCTION.match(line)):
            labels.update(dict.fromkeys(waiting, int(found[1], 16)))
            waiting.clear()
            current.append(found)
    return {name: [_instruction(match, labels) for match in matches] for name, matches in kernels.items()}


def _instruction(match: re.Match, labels: dict[str, int]) -> Instruction:
    address, predicate, opcode, operands = match.groups()
    target, conditional = None, predicate is not None
    if opcode.partition(".")[0] in _BRANCHES and (label := _TARGET.match(operands)):
        target = labels.get(label[2])
        conditional = conditional or bool(label[1].strip())
    return Instruction(int(address, 16), opcode, operands.strip(), target, conditional)
