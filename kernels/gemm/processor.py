"""The processor that Numba compiles for, and the tiles that fit its registers."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

SKINNY_ROWS = 4
"""Rows of the large matrix of a skinny product that are read side by side."""


@dataclass(frozen=True)
class Processor:
    """What the tiles are shaped for.

    Attributes
    ----------
    name : str
        The instruction set.
    lanes : int
        float32 numbers in a vector.
    rows : int
        Rows of a tile.
    widest : int
        Vectors in a row of the widest tile.
    fused : bool
        Whether there is a fused multiply-add.
    register : str
        LLVM's constraint for a vector register in inline assembly; empty if that depends on the processor.
    """

    name: str
    lanes: int
    rows: int
    widest: int
    fused: bool
    register: str


_AVX512 = Processor("AVX-512", 16, 8, 3, True, "v")
_AVX2 = Processor("AVX2", 8, 4, 3, True, "x")
_NEON = Processor("NEON", 4, 8, 3, True, "w")
_PLAIN = Processor("plain", 4, 4, 2, False, "")

# Sixteen multiply-adds. What LLVM compiles them to reveals the processor: only LLVM knows which features a
# name (``NUMBA_CPU_NAME``) stands for.
_PROBE = """
define <16 x float> @probe(<16 x float> %a, <16 x float> %b, <16 x float> %c) {
  %sum = call <16 x float> @llvm.fma.v16f32(<16 x float> %a, <16 x float> %b, <16 x float> %c)
  ret <16 x float> %sum
}
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
"""
_FUSED = ((r"\tvfmadd.*%zmm", _AVX512), (r"\tvfmadd.*%ymm", _AVX2), (r"\tfmla", _NEON))


@functools.cache
def processor() -> Processor:
    """The processor that Numba compiles for."""
    from minialex.kernels.runtime import _numba_internals

    code = _numba_internals.assembly_from(_PROBE)
    return next((each for pattern, each in _FUSED if re.search(pattern, code)), _PLAIN)
