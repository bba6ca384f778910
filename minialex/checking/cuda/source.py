"""The source of a pair of CUDA kernels, and the floating-point type that it is compiled for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minialex.checking.cuda.arguments import CudaKernel, signature
from minialex.checking.gradients.vjp import require_dtype
from minialex.checks import in_words
from minialex.errors import MiniAlexError

_C_TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


class Source:
    """A CUDA source that is compiled for float or double.

    Parameters
    ----------
    given : str or path
        The file, or its text, which has more than one line.
    flags : tuple of str
        For the compiler.
    real : str or None
        The macro that is its type.
    kernels : sequence of str
        The names of the kernels that are wanted.

    Attributes
    ----------
    options : tuple of str
        What the compiler gets.
    instances : tuple of str
        The kernels that are instances of templates.
    """

    def __init__(self, given, flags: tuple[str, ...], real: str | None, kernels: Sequence[str]):
        if not isinstance(given, str | Path):
            raise MiniAlexError(f"source must be the path of a .cu file, or its text, not {in_words(given)}")
        if real is not None and not (isinstance(real, str) and real.isidentifier()):
            raise MiniAlexError(f"real must be the name of a macro, such as 'T', not {in_words(real)}")
        self.path = None if "\n" in str(given) else Path(given)
        self.given, self.flags, self.real = given, flags, real
        self.instances = tuple(name for name in kernels if "<" in name)

    def text(self, dtype: np.dtype | None) -> str:
        """The source for a type. It defines the macro: as a flag it would hold for all headers, too."""
        if self.path is None:
            text = str(self.given)
        else:
            try:
                text = self.path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or error
                raise MiniAlexError(f"source={in_words(str(self.path))} cannot be read: {reason}") from None
        if self.real is None:
            return text
        name = "<source>" if self.path is None else self.path.absolute().as_posix()
        return f'#define {self.real} {_C_TYPES[dtype]}\n#line 1 "{name}"\n{text}'

    @property
    def options(self) -> tuple[str, ...]:
        folder = () if self.path is None else (f"-I{self.path.absolute().parent}",)
        return (*self.flags, *folder)

    def module(self, dtype: np.dtype | None):
        from minialex.kernels import cuda_host

        text = self.text(dtype)
        where = {"path": self.path} if self.real is None and self.path is not None else {"source_text": text}
        return cuda_host.load(**where, options=self.options, instances=self.instances)

    def dtype(self, asked, launches: Sequence[CudaKernel]) -> np.dtype:
        """The type to check in: what the kernels declare, or double where a macro is the type."""
        if self.real is not None:
            return require_dtype(np.float64 if asked is None else asked)
        module = self.module(None)
        declared = {
            parameter.dtype
            for launch in launches
            for parameter in module[launch.name].signature
            if parameter.pointer and parameter.dtype in (np.float32, np.float64)
        }
        kernels = ", ".join(signature(module[launch.name]) for launch in launches)
        if len(declared) != 1:
            types = " and ".join(sorted(map(str, declared))) or "neither float nor double"
            raise MiniAlexError(
                f"{kernels}: the arrays must all be of float or all of double; they are {types}"
            )
        (found,) = declared
        if asked is not None and require_dtype(asked) != found:
            raise MiniAlexError(
                f"dtype={require_dtype(asked)}, and the arrays of {kernels} are {found}; if the source has a "
                'macro for its type, name it: real="T"'
            )
        return found
