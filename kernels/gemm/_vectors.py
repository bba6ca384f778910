"""Vectors of float32 in LLVM IR: what the emitters of machine code share.

Imported at the first compilation, because it imports Numba. Addresses are int64 values, strides are in bytes.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils

from minialex.kernels.gemm.processor import processor

I64, I32, F32, BOOL = ir.IntType(64), ir.IntType(32), ir.FloatType(), ir.IntType(1)
LANES = processor().lanes
VECTOR = ir.VectorType(F32, LANES)


def constant(value: int) -> ir.Constant:
    return ir.Constant(I64, value)


def pointer(builder, addr, byte_offset=None, to=F32):
    if byte_offset is not None:
        addr = builder.add(addr, byte_offset)
    return builder.inttoptr(addr, to.as_pointer())


def load_vector(builder, addr, byte_offset=None):
    return builder.load(pointer(builder, addr, byte_offset, VECTOR), align=4)


def store_vector(builder, value, addr, byte_offset=None):
    builder.store(value, pointer(builder, addr, byte_offset, VECTOR), align=4)


def broadcast(builder, scalar):
    vector = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), scalar, ir.Constant(I32, 0))
    zeros = ir.Constant(ir.VectorType(I32, LANES), [0] * LANES)
    return builder.shuffle_vector(vector, ir.Constant(VECTOR, ir.Undefined), zeros)


def multiply_add(builder, a, b, c):
    """Compute a * b + c, with one rounding if the processor has the instruction, else with two."""
    name = f"llvm.{'fma' if processor().fused else 'fmuladd'}.v{LANES}f32"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(VECTOR, [VECTOR] * 3), name)
    return builder.call(function, [a, b, c])


def fence(builder, vectors):
    """Have the vectors computed, and in registers, before anything after it is loaded.

    Inline assembly without instructions, so it costs nothing. Without it LLVM is free to hoist the loads of
    all unrolled steps to the top, and spills what does not fit the registers.
    """
    place = processor().register
    if not place:
        return vectors
    outputs = VECTOR if len(vectors) == 1 else ir.LiteralStructType([VECTOR] * len(vectors))
    constraints = [f"={place}"] * len(vectors) + [str(i) for i in range(len(vectors))] + ["~{memory}"]
    function_type = ir.FunctionType(outputs, [VECTOR] * len(vectors))
    held = builder.asm(function_type, "", ",".join(constraints), vectors, side_effect=True)
    return [held] if len(vectors) == 1 else [builder.extract_value(held, i) for i in range(len(vectors))]
