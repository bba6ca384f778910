"""The words of a mask in LLVM IR: comparing 32 numbers gives 32 bits at once, which Numba's loops do not say.

Imported at the first compilation, because it imports Numba.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minialex.kernels.relu.shape import WORD

_BITS = ir.IntType(WORD)
_FLAGS = ir.VectorType(ir.IntType(1), WORD)


def _numbers(context, builder, array_type, array, start):
    """A pointer to WORD numbers of an array as a vector, the type of the vector, and how they are aligned."""
    number = context.get_data_type(array_type.dtype)
    vector = ir.VectorType(number, WORD)
    data = cgutils.create_struct_proxy(array_type)(context, builder, array).data
    place = builder.bitcast(builder.gep(data, [start]), vector.as_pointer())
    return place, vector, context.get_abi_sizeof(number)


@intrinsic
def word_of(typing_context, y, start):
    """A bit for each of the WORD numbers from `start` on: whether it is above 0."""

    def emit(context, builder, signature, arguments):
        place, vector, align = _numbers(context, builder, signature.args[0], *arguments)
        zeros = ir.Constant(vector, None)
        above = builder.fcmp_ordered(">", builder.load(place, align=align), zeros)
        return builder.bitcast(above, _BITS)

    return types.uint32(y, types.int64), emit


@intrinsic
def select_by(typing_context, word, g, gx, start):
    """Copy WORD numbers from `start` on, those whose bit is 1; the others become 0."""

    def emit(context, builder, signature, arguments):
        word, g, gx, start = arguments
        source, vector, align = _numbers(context, builder, signature.args[1], g, start)
        target, _, _ = _numbers(context, builder, signature.args[2], gx, start)
        chosen = builder.select(
            builder.bitcast(word, _FLAGS), builder.load(source, align=align), ir.Constant(vector, None)
        )
        builder.store(chosen, target, align=align)
        return context.get_dummy_value()

    return types.void(types.uint32, g, gx, types.int64), emit
