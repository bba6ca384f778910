"""A CUDA source file as the compilers get it: with its headers in place, as one text.

g++, NVRTC and nvcc all compile this text. The file's own headers (``#include "reduce.cuh"``) are put where
they are included, with ``#line`` directives around them, so that a compiler's message names the file and the
line that its author wrote. Nothing else is changed, and no include path is needed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from minialex.errors import KernelError
from minialex.kernels.cuda.signature import Signature, signatures

HEADERS = Path(__file__).parent / "include"
_KERNELS = Path(__file__).parents[1]
_INCLUDE = re.compile(r'[ \t]*#[ \t]*include[ \t]*"([^"]+)"')


class Source:
    """A ``.cu`` file, which is read when it is first needed.

    Parameters
    ----------
    beside : str
        A file in the same folder: ``__file__`` of the module that launches the kernels.
    name : str
        The file's name, such as ``"relu.cu"``.
    """

    def __init__(self, beside: str | Path, name: str):
        self.path = Path(beside).parent / name

    def __eq__(self, other) -> bool:
        return isinstance(other, Source) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    @cached_property
    def text(self) -> str:
        """The file with its headers in place, which is what is compiled.

        A header is taken from the folder of the file that includes it, or else from
        ``kernels/cuda/include``, and is put in place once, where it is first named, which must not be inside
        an ``#if``.

        Raises
        ------
        KernelError
            If the file or one of its headers is not there; the message has the line that names it.
        """
        if not self.path.is_file():
            raise KernelError(f"the CUDA source {self.path} is not a file")
        return _with_headers(self.path, set())

    @cached_property
    def signatures(self) -> dict[str, Signature]:
        """What each kernel of the file declares, by its name, in the file's order."""
        return signatures(self.text)

    def __getitem__(self, name: str) -> SourceKernel:
        """One of the file's kernels; `KernelError` if there is none with that name."""
        if name not in self.signatures:
            raise KernelError(
                f"{self.path.name} has no kernel {name!r}; there are: {', '.join(self.signatures) or 'none'}"
            )
        return SourceKernel(self, self.signatures[name])

    def __repr__(self) -> str:
        return f"Source({str(self.path)!r})"


@dataclass(frozen=True)
class SourceKernel:
    """A kernel of a source file: what `launch` of a device takes."""

    source: Source
    signature: Signature

    @property
    def name(self) -> str:
        return self.signature.name


def compiler_options(real: np.dtype) -> tuple[str, ...]:
    """The options that make `real` of ``real.cuh`` a type, which each compiler gets."""
    return ("-DREAL=double" if real == np.float64 else "-DREAL=float",)


def project_sources() -> list[Source]:
    """Every ``.cu`` file of the project."""
    return [Source(path, path.name) for path in sorted(_KERNELS.rglob("*.cu"))]


def _with_headers(path: Path, included: set[Path]) -> str:
    """The text of a file, and of its headers that are not in `included`, which it adds to."""
    included.add(path)
    lines = [_line_directive(1, path)]
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        match = _INCLUDE.match(line)
        if match is None:
            lines.append(line)
            continue
        header = _find_header(match[1], path, number)
        lines.append("" if header in included else _with_headers(header, included))
        lines.append(_line_directive(number + 1, path))
    return "\n".join(lines) + "\n"


def _find_header(name: str, path: Path, number: int) -> Path:
    for folder in (path.parent, HEADERS):
        if (folder / name).is_file():
            return folder / name
    raise KernelError(
        f'{path}:{number}: #include "{name}": there is no such file in {path.parent} or {HEADERS}'
    )


def _line_directive(number: int, path: Path) -> str:
    return f'#line {number} "{path.as_posix()}"'
