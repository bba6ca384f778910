"""The machine code of `minialex.kernels.conv2d.depthwise`, as Numba intrinsics that emit LLVM IR.

Imported at the first compilation. What the operations do, and why, is in `minialex.kernels.conv2d.depthwise`.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minialex.kernels.gemm._tile_code import processor_constant
from minialex.kernels.gemm._vectors import (
    I32,
    I64,
    LANES,
    VECTOR,
    broadcast,
    constant,
    fence,
    load_vector,
    multiply_add,
    pointer,
    store_vector,
)
from minialex.kernels.gemm.processor import processor

_MASK = ir.VectorType(I32, LANES)
_ZERO = ir.Constant(VECTOR, [0.0] * LANES)
_VECTOR_BYTES = LANES * 4


def _lines(builder, start, stride, count: int):
    """The addresses of `count` lines, `stride` bytes apart."""
    return [builder.add(start, builder.mul(stride, constant(i))) for i in range(count)]


def _loop(builder, length, sums, step):
    """Run ``sums = step(k, sums)`` for k = 0 .. length - 1, with the sums in registers."""
    before = builder.block
    body, after = builder.append_basic_block("step"), builder.append_basic_block("after")
    builder.cbranch(builder.icmp_signed("<", constant(0), length), body, after)
    builder.position_at_end(body)
    k = builder.phi(I64)
    phis = [builder.phi(VECTOR) for _ in sums]
    now = step(k, phis)
    following = builder.add(k, constant(1))
    builder.cbranch(builder.icmp_signed("<", following, length), body, after)
    k.add_incoming(constant(0), before)
    k.add_incoming(following, body)
    builder.position_at_end(after)
    results = []
    for start, phi, end in zip(sums, phis, now, strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(end, body)
        result = builder.phi(VECTOR)
        result.add_incoming(start, before)
        result.add_incoming(end, body)
        results.append(result)
    return results


def _plane_tile(rows: int, vectors: int):
    """The intrinsic for `rows` planes at a run of positions, `vectors` long."""

    def emit(context, builder, signature, arguments):
        weights, weight_stride, bias, image, offsets, taps, sums, sum_stride = arguments
        lines = _lines(builder, weights, weight_stride, rows)
        table = builder.inttoptr(offsets, I32.as_pointer())

        def step(k, acc):
            at = builder.mul(k, constant(4))
            offset = builder.sext(builder.load(builder.gep(table, [k])), I64)
            cells = builder.add(image, builder.mul(offset, constant(4)))

            def factor(m):
                return broadcast(builder, builder.load(pointer(builder, lines[m], at)))

            def vector(v):
                return load_vector(builder, cells, constant(v * _VECTOR_BYTES))

            # The fewer operands stay in registers, the others pass through one.
            acc = list(acc)
            if rows < vectors:
                factors = [factor(m) for m in range(rows)]
                for v in range(vectors):
                    number = vector(v)
                    for m in range(rows):
                        i = m * vectors + v
                        acc[i] = multiply_add(builder, number, factors[m], acc[i])
            else:
                numbers = [vector(v) for v in range(vectors)]
                for m in range(rows):
                    number = factor(m)
                    for v in range(vectors):
                        i = m * vectors + v
                        acc[i] = multiply_add(builder, numbers[v], number, acc[i])
            return acc

        shifts = [
            broadcast(builder, builder.load(pointer(builder, bias, constant(m * 4)))) for m in range(rows)
        ]
        results = _loop(builder, taps, [shift for shift in shifts for _ in range(vectors)], step)
        for m, line in enumerate(_lines(builder, sums, sum_stride, rows)):
            for v in range(vectors):
                store_vector(builder, results[m * vectors + v], line, constant(v * _VECTOR_BYTES))
        return context.get_dummy_value()

    def typed(typing_context, weights, weight_stride, bias, image, offsets, taps, sums, sum_stride):
        return types.void(*[types.int64] * 8), emit

    typed.__name__ = f"plane_tile_{rows}"
    return intrinsic(typed)


def _tap_tile(rows: int, taps: int):
    """The intrinsic for the products of `rows` planes of g with the image at `taps` offsets."""

    def emit(context, builder, signature, arguments):
        g, g_stride, mask, image, offsets, vectors, sums, sum_stride = arguments
        lines = _lines(builder, g, g_stride, rows)
        table = builder.inttoptr(offsets, I32.as_pointer())
        cells = []
        for t in range(taps):
            offset = builder.sext(builder.load(builder.gep(table, [constant(t)])), I64)
            cells.append(builder.add(image, builder.mul(offset, constant(4))))

        def step(k, acc):
            at = builder.mul(k, constant(_VECTOR_BYTES))
            kept = builder.load(pointer(builder, mask, at, _MASK), align=4)
            upstream = [load_vector(builder, line, at) for line in lines]
            acc = list(acc)
            for t in range(taps):
                bits = builder.bitcast(load_vector(builder, cells[t], at), _MASK)
                vector = builder.bitcast(builder.and_(bits, kept), VECTOR)
                for m in range(rows):
                    i = m * taps + t
                    acc[i] = multiply_add(builder, upstream[m], vector, acc[i])
                if rows == 1 and processor().fused:
                    # The vector outlives the product, which is added to the sum in the sum's own register.
                    acc[t], _ = fence(builder, [acc[t], vector])
            return acc

        results = _loop(builder, vectors, [_ZERO] * (rows * taps), step)
        for m, line in enumerate(_lines(builder, sums, sum_stride, rows)):
            for t in range(taps):
                place = constant(t * _VECTOR_BYTES)
                total = builder.fadd(load_vector(builder, line, place), results[m * taps + t])
                store_vector(builder, total, line, place)
        return context.get_dummy_value()

    def typed(typing_context, g, g_stride, mask, image, offsets, vectors, sums, sum_stride):
        return types.void(*[types.int64] * 8), emit

    typed.__name__ = f"tap_tile_{rows}"
    return intrinsic(typed)


# Sums, operands and one more vector fit sixteen registers, and at least eight sums are in flight. A product
# that is not fused with its sum takes a register, too.
_VECTORS_4 = 3 if processor().fused else 2
plane_vectors_4 = processor_constant(_VECTORS_4)
plane_tile_1, plane_tile_2, plane_tile_4 = _plane_tile(1, 8), _plane_tile(2, 6), _plane_tile(4, _VECTORS_4)
tap_tile_1, tap_tile_2, tap_tile_4 = _tap_tile(1, 9), _tap_tile(2, 5), _tap_tile(4, 2)
