"""The transforms of `minialex.kernels.conv2d.winograd`, as Numba intrinsics that emit LLVM IR.

Imported at the first compilation. ``input_5_3`` is the input transform of F(5 x 5, 3 x 3), and so on.
"""

from __future__ import annotations

import functools

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minialex.kernels.conv2d.winograd_matrices import (
    Matrix,
    evaluation,
    input_transform,
    scaled_evaluation,
    transposed,
)
from minialex.kernels.gemm._vectors import LANES, VECTOR, constant, load_vector, multiply_add, store_vector


def __getattr__(name: str):
    kind, *sizes = name.split("_")
    if kind not in _MATRICES or len(sizes) != 2 or not all(size.isdecimal() for size in sizes):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _intrinsic(kind, *map(int, sizes))


_MATRICES = {
    "input": lambda m, r: input_transform(m + r - 1),
    "weight": lambda m, r: scaled_evaluation(m + r - 1, r),
    "output": lambda m, r: transposed(evaluation(m + r - 1, m)),
    # For the weight gradient, F(r x r, m x m).
    "gradient": lambda m, r: scaled_evaluation(m + r - 1, m),
    "taps": lambda m, r: transposed(evaluation(m + r - 1, r)),
}


@functools.cache
def _intrinsic(kind: str, m: int, r: int):
    return intrinsic(_both_sides(_MATRICES[kind](m, r)))


def _both_sides(matrix: Matrix):
    """T @ X @ T.T, where each element of X stands for a vector: the same place in several channels."""

    def emit(context, builder, signature, arguments):
        source, source_row, source_column, target, target_row, target_column = arguments
        size = len(matrix[0])
        half = []  # the columns of T @ X
        for j in range(size):
            start = builder.add(source, builder.mul(source_column, constant(j)))
            column = [load_vector(builder, start, builder.mul(source_row, constant(i))) for i in range(size)]
            half.append([_combine(builder, row, column) for row in matrix])
        for i in range(len(matrix)):
            line = [column[i] for column in half]
            start = builder.add(target, builder.mul(target_row, constant(i)))
            for j, row in enumerate(matrix):
                offset = builder.mul(target_column, constant(j))
                store_vector(builder, _combine(builder, row, line), start, offset)
        return context.get_dummy_value()

    def typed(typing_context, source, source_row, source_column, target, target_row, target_column):
        return types.void(*[types.int64] * 6), emit

    return typed


def _combine(builder, factors, vectors):
    """The sum of factors times vectors, without the operations that a factor of 0, 1 or -1 saves."""
    # A factor of 1 goes first: the sum then starts without a multiplication.
    terms = sorted(
        ((f, v) for f, v in zip(factors, vectors, strict=True) if f), key=lambda term: term[0] != 1
    )
    total = None
    for factor, vector in terms:
        if total is None:
            total = vector if factor == 1 else builder.fmul(_repeated(factor), vector)
        elif factor == 1:
            total = builder.fadd(total, vector)
        elif factor == -1:
            total = builder.fsub(total, vector)
        else:
            total = multiply_add(builder, _repeated(factor), vector, total)
    return total


def _repeated(number) -> ir.Constant:
    return ir.Constant(VECTOR, [float(number)] * LANES)
