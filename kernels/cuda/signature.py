"""What the kernels of a CUDA source declare: their names and parameters, read from the text.

A compiled kernel does not say what it takes: CUDA copies the bytes it is given into the parameters. So only
the declaration can tell whether a launch is right. Kernels are declared plainly, for this reader and others:

    extern "C" __global__ void __launch_bounds__(256) scale(const real* __restrict__ x, real* y, int n)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from minialex.errors import KernelError

TYPES = {
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "int": np.dtype(np.int32),
    "unsigned int": np.dtype(np.uint32),
    "long long": np.dtype(np.int64),
    "unsigned long long": np.dtype(np.uint64),
    "unsigned char": np.dtype(np.uint8),
}
"""The types of CUDA C++ that a parameter may have, beside `real`."""

REAL = "real"


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel.

    Attributes
    ----------
    name : str
    type : str
        `real` or a name of `TYPES`; of a pointer, what it points to.
    pointer : bool
    const : bool
        Whether what a pointer points to is const.
    restrict : bool
        Whether a pointer is declared ``__restrict__``.
    """

    name: str
    type: str
    pointer: bool = False
    const: bool = False
    restrict: bool = False

    def dtype(self, real: np.dtype) -> np.dtype:
        """The dtype of the scalar, or of the array's elements, where `real` is that type."""
        return real if self.type == REAL else TYPES[self.type]

    def declared(self, real: np.dtype | None = None) -> str:
        """The type in CUDA C++, such as ``const float*``; `real` stays as it is if it is not given."""
        element = self.type
        if element == REAL and real is not None:
            element = "double" if real == np.float64 else "float"
        return f"{'const ' if self.const else ''}{element}{'*' if self.pointer else ''}"


@dataclass(frozen=True)
class Signature:
    """What a kernel declares.

    Attributes
    ----------
    name : str
    parameters : tuple of Parameter
    max_threads : int or None
        The first number of its ``__launch_bounds__``; None where it has none, or not a plain number.
    file, line : str, int
        Where it is declared.
    """

    name: str
    parameters: tuple[Parameter, ...]
    max_threads: int | None
    file: str
    line: int

    def __str__(self) -> str:
        declared = (f"{parameter.declared()} {parameter.name}" for parameter in self.parameters)
        return f"{self.name}({', '.join(declared)})"


_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_BOUNDS = r"(?:__launch_bounds__\s*\(((?:[^()]|\([^()]*\))*)\)\s*)?"
_KERNEL = re.compile(rf'extern\s+"C"\s+__global__\s+{_BOUNDS}void\s+{_BOUNDS}(\w+)\s*\(([^()]*)\)\s*\{{')
_GLOBAL = re.compile(r"\b__global__\b")
_LINE = re.compile(r'^#line (\d+) "(.*)"$', re.MULTILINE)
_PARAMETER = re.compile(
    rf"(?P<const>const\s+)?(?P<type>{'|'.join(sorted([REAL, *TYPES], key=len, reverse=True))})\b\s*"
    r"(?P<pointer>\*\s*(?:const\b\s*)?)?(?P<restrict>__restrict__\s+)?(?P<name>\w+)"
)


def signatures(text: str) -> dict[str, Signature]:
    """The kernels that a source text defines, by name, in its order.

    Raises
    ------
    KernelError
        If a kernel is not declared in the form above, a parameter has another type than `TYPES`, or two
        kernels have one name; the message has the file and the line.
    """
    # Comments keep their line breaks, so that positions still tell lines.
    code = _COMMENT.sub(lambda comment: re.sub(r"[^\n]", " ", comment[0]), text)
    found: dict[str, Signature] = {}
    starts = set()
    for match in _KERNEL.finditer(code):
        starts.add(code.index("__global__", match.start()))
        file, line = _place(text, match.start())
        name = match[3]
        if name in found:
            raise KernelError(f"{file}:{line}: the file has two kernels with the name {name!r}")
        bound = (match[1] or match[2] or "").split(",")[0].strip()
        found[name] = Signature(
            name,
            tuple(_parameters(match[4], f"{file}:{line}: {name}")),
            int(bound) if bound.isdecimal() else None,
            file,
            line,
        )
    for match in _GLOBAL.finditer(code):
        if match.start() not in starts:
            file, line = _place(text, match.start())
            raise KernelError(
                f'{file}:{line}: a kernel must be declared as extern "C" __global__ void '
                "[__launch_bounds__(N)] name(parameters) {, with no macro in between, and defined at once"
            )
    return found


def _parameters(declarations: str, where: str):
    if not declarations.strip():
        return
    for declaration in declarations.split(","):
        written = " ".join(declaration.split())
        match = _PARAMETER.fullmatch(written.replace(" *", "*"))
        if match is None or (match["restrict"] and not match["pointer"]):
            raise KernelError(
                f"{where}: the parameter {written!r} is not a [const] T or [const] T* [__restrict__] with T "
                f"one of {', '.join([REAL, *TYPES])}"
            )
        pointer = match["pointer"] is not None
        yield Parameter(
            match["name"],
            match["type"],
            pointer,
            pointer and match["const"] is not None,
            match["restrict"] is not None,
        )


def _place(text: str, position: int) -> tuple[str, int]:
    """The file and line of a position, by the ``#line`` directive before it."""
    directives = list(_LINE.finditer(text, 0, position))
    if not directives:
        return "the source", text.count("\n", 0, position) + 1
    last = directives[-1]
    return last[2], int(last[1]) + text.count("\n", last.end() + 1, position)
