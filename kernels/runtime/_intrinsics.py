"""Machine operations that Python cannot express, as Numba intrinsics.

This module imports Numba, and is itself imported at the first compilation: compiled functions refer to its
operations through `minialex.kernels.runtime.compiled.Intrinsic`.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def address(typing_context, array, offset=0):
    """The address of an array's first element, or of the one `offset` elements after it in memory."""

    def emit(context, builder, signature, arguments):
        value = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0])
        start = builder.ptrtoint(value.data, ir.IntType(64))
        size = context.get_abi_sizeof(context.get_data_type(signature.args[0].dtype))
        distance = builder.mul(arguments[1], start.type(size), flags=("nsw",))
        return builder.add(start, distance, flags=("nsw",))

    return types.int64(array, types.int64), emit


@intrinsic
def word(typing_context, address, index):
    """The int64 at an address, `index` words on."""

    def emit(context, builder, signature, arguments):
        words = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.load(builder.gep(words, [arguments[1]]))

    return types.int64(types.int64, types.int64), emit
