"""The machine code of `minialex.kernels.gemm.tile`, as Numba intrinsics that emit LLVM IR.

Imported at the first compilation. What the operations do, and why, is in `minialex.kernels.gemm.tile`.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minialex.kernels.gemm._vectors import (
    F32,
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
from minialex.kernels.gemm.processor import SKINNY_ROWS, processor

# Steps of k in one iteration of the loop.
UNROLLED = 4


def _tile(rows: int, vectors: int):
    """The intrinsic for a tile of rows x vectors accumulators."""

    def emit(context, builder, signature, arguments):
        a, row_offsets, steps, depth, b, b_stride, c, c_stride, accumulate = arguments
        offsets = builder.inttoptr(row_offsets, I64.as_pointer())
        origin = builder.inttoptr(a, F32.as_pointer())
        row_pointer = [
            builder.gep(origin, [builder.load(builder.gep(offsets, [constant(m)]))]) for m in range(rows)
        ]
        step_table = builder.inttoptr(steps, I32.as_pointer())

        zero = ir.Constant(VECTOR, [0.0] * LANES)
        zeros = [[zero] * vectors for _ in range(rows)]

        def step(k, b_address, acc, apart):
            offset = builder.sext(builder.load(builder.gep(step_table, [k])), I64)
            panel = [load_vector(builder, b_address, constant(v * LANES * 4)) for v in range(vectors)]
            result = []
            for m in range(rows):
                scalar = broadcast(builder, builder.load(builder.gep(row_pointer[m], [offset])))
                row = [multiply_add(builder, scalar, panel[v], acc[m][v]) for v in range(vectors)]
                result.append(fence(builder, row) if apart else row)
            return result

        def loop(first_k, last_k, by, b_address, acc):
            before = builder.block
            body = builder.append_basic_block("depth")
            after = builder.append_basic_block("after")
            builder.cbranch(builder.icmp_signed("<", first_k, last_k), body, after)
            builder.position_at_end(body)
            k = builder.phi(I64)
            at = builder.phi(I64)
            phis = [[builder.phi(VECTOR) for _ in range(vectors)] for _ in range(rows)]
            now, at_now, k_now = phis, at, k
            for _ in range(by):
                now = step(k_now, at_now, now, apart=by > 1)
                k_now = builder.add(k_now, constant(1))
                at_now = builder.add(at_now, b_stride)
            builder.cbranch(builder.icmp_signed("<", k_now, last_k), body, after)
            k.add_incoming(first_k, before)
            k.add_incoming(k_now, body)
            at.add_incoming(b_address, before)
            at.add_incoming(at_now, body)
            builder.position_at_end(after)
            at_out = builder.phi(I64)
            at_out.add_incoming(b_address, before)
            at_out.add_incoming(at_now, body)
            out = []
            for m in range(rows):
                out.append([])
                for v in range(vectors):
                    phis[m][v].add_incoming(acc[m][v], before)
                    phis[m][v].add_incoming(now[m][v], body)
                    phi = builder.phi(VECTOR)
                    phi.add_incoming(acc[m][v], before)
                    phi.add_incoming(now[m][v], body)
                    out[m].append(phi)
            return at_out, out

        whole = builder.and_(depth, constant(-UNROLLED))
        b_now, acc = loop(constant(0), whole, UNROLLED, b, zeros)
        _, acc = loop(whole, depth, 1, b_now, acc)

        # Sums start at zero and are added to c at the end: many short sums round less than a long one.
        def store(also_add):
            for m in range(rows):
                line = builder.add(c, builder.mul(c_stride, constant(m)))
                for v in range(vectors):
                    offset = constant(v * LANES * 4)
                    total = acc[m][v]
                    if also_add:
                        total = builder.fadd(load_vector(builder, line, offset), total)
                    store_vector(builder, total, line, offset)

        with builder.if_else(builder.icmp_signed("!=", accumulate, constant(0))) as (then, otherwise):
            with then:
                store(also_add=True)
            with otherwise:
                store(also_add=False)
        return context.get_dummy_value()

    def typed(typing_context, a, row_offsets, steps, depth, b, b_stride, c, c_stride, accumulate):
        return types.void(*[types.int64] * 9), emit

    typed.__name__ = f"tile_{rows}x{vectors}"
    return intrinsic(typed)


tile_narrow = _tile(processor().rows, 1)
tile_medium = _tile(processor().rows, 2)
tile_wide = _tile(processor().rows, 3)


def _dot_tile(columns: int):
    """The intrinsic for the products of four rows of a matrix with a few of another, a vector at a time."""

    def emit(context, builder, signature, arguments):
        w, row_stride, x, column_stride, vectors, sums, accumulate = arguments
        starts = [builder.add(w, builder.mul(row_stride, constant(m))) for m in range(SKINNY_ROWS)]
        others = [builder.add(x, builder.mul(column_stride, constant(n))) for n in range(columns)]
        zero = ir.Constant(VECTOR, [0.0] * LANES)
        before = builder.block
        body, after = builder.append_basic_block("depth"), builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed("<", constant(0), vectors), body, after)
        builder.position_at_end(body)
        k = builder.phi(I64)
        totals = [[builder.phi(VECTOR) for _ in starts] for _ in others]
        offset = builder.mul(k, constant(LANES * 4))
        shared = [load_vector(builder, other, offset) for other in others]
        now = [[] for _ in others]
        for m, start in enumerate(starts):
            row = load_vector(builder, start, offset)
            for n in range(columns):
                now[n].append(multiply_add(builder, row, shared[n], totals[n][m]))
        following = builder.add(k, constant(1))
        builder.cbranch(builder.icmp_signed("<", following, vectors), body, after)
        k.add_incoming(constant(0), before)
        k.add_incoming(following, body)
        builder.position_at_end(after)
        results = []
        for n in range(columns):
            for m in range(SKINNY_ROWS):
                totals[n][m].add_incoming(zero, before)
                totals[n][m].add_incoming(now[n][m], body)
                result = builder.phi(VECTOR)
                result.add_incoming(zero, before)
                result.add_incoming(now[n][m], body)
                results.append(result)
        with builder.if_else(builder.icmp_signed("!=", accumulate, constant(0))) as (add, keep):
            for also_add, block in ((True, add), (False, keep)):
                with block:
                    for i, result in enumerate(results):
                        place = constant(i * LANES * 4)
                        total = (
                            builder.fadd(load_vector(builder, sums, place), result) if also_add else result
                        )
                        store_vector(builder, total, sums, place)
        return context.get_dummy_value()

    def typed(typing_context, w, row_stride, x, column_stride, vectors, sums, accumulate):
        return types.void(*[types.int64] * 7), emit

    typed.__name__ = f"dot_tile_{columns}"
    return intrinsic(typed)


def _add_tile(columns: int):
    """The intrinsic that adds four rows of a matrix, each times a factor, to a few sums."""

    def emit(context, builder, signature, arguments):
        w, row_stride, factors, vectors, sums, sum_stride, accumulate = arguments
        starts = [builder.add(w, builder.mul(row_stride, constant(m))) for m in range(SKINNY_ROWS)]
        places = [builder.add(sums, builder.mul(sum_stride, constant(n))) for n in range(columns)]
        numbers = builder.inttoptr(factors, F32.as_pointer())
        factor = [
            [
                broadcast(builder, builder.load(builder.gep(numbers, [constant(n * SKINNY_ROWS + m)])))
                for m in range(SKINNY_ROWS)
            ]
            for n in range(columns)
        ]
        zero = ir.Constant(VECTOR, [0.0] * LANES)

        def loop(also_add):
            with cgutils.for_range(builder, vectors) as each:
                offset = builder.mul(each.index, constant(LANES * 4))
                total = [load_vector(builder, place, offset) if also_add else zero for place in places]
                for m, start in enumerate(starts):
                    row = load_vector(builder, start, offset)
                    total = [multiply_add(builder, row, factor[n][m], total[n]) for n in range(columns)]
                # LLVM may unroll the loop, but the registers hold only one step: twelve factors, three sums.
                total = fence(builder, total)
                for n in range(columns):
                    store_vector(builder, total[n], places[n], offset)

        with builder.if_else(builder.icmp_signed("!=", accumulate, constant(0))) as (add, keep):
            with add:
                loop(also_add=True)
            with keep:
                loop(also_add=False)
        return context.get_dummy_value()

    def typed(typing_context, w, row_stride, factors, vectors, sums, sum_stride, accumulate):
        return types.void(*[types.int64] * 7), emit

    typed.__name__ = f"add_tile_{columns}"
    return intrinsic(typed)


dot_tile_1, dot_tile_2, dot_tile_3 = (_dot_tile(columns) for columns in (1, 2, 3))
add_tile_1, add_tile_2, add_tile_3 = (_add_tile(columns) for columns in (1, 2, 3))


@intrinsic
def fill_run(typing_context, number, target, vectors):
    """Fill whole vectors with the number at an address."""

    def emit(context, builder, signature, arguments):
        number, target, vectors = arguments
        vector = broadcast(builder, builder.load(pointer(builder, number)))
        with cgutils.for_range(builder, vectors) as loop:
            store_vector(builder, vector, target, builder.mul(loop.index, constant(LANES * 4)))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), emit


@intrinsic
def copy_vectors(typing_context, source, target, vectors):
    """Copy whole vectors."""

    def emit(context, builder, signature, arguments):
        source, target, vectors = arguments
        with cgutils.for_range(builder, vectors) as loop:
            offset = builder.mul(loop.index, constant(LANES * 4))
            store_vector(builder, load_vector(builder, source, offset), target, offset)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), emit


def _run(emit_vector, emit_number):
    """The intrinsic for a run of numbers: `vectors` whole vectors, then the numbers that are left."""

    def emit(context, builder, signature, arguments):
        *places, count, vectors = arguments
        with cgutils.for_range(builder, vectors) as loop:
            emit_vector(builder, places, loop.index)
        done = builder.mul(vectors, constant(LANES))
        with cgutils.for_range(builder, count, start=done) as loop:
            emit_number(builder, places, loop.index)
        return context.get_dummy_value()

    return emit


def _number(builder, addr, index, step: int = 1):
    return pointer(builder, addr, builder.mul(index, constant(4 * step)))


def _copy_vector(builder, places, index):
    source, target = places
    offset = builder.mul(index, constant(LANES * 4))
    store_vector(builder, load_vector(builder, source, offset), target, offset)


def _copy_number(builder, places, index):
    builder.store(builder.load(_number(builder, places[0], index)), _number(builder, places[1], index))


def _zero_vector(builder, places, index):
    zero = ir.Constant(VECTOR, [0.0] * LANES)
    store_vector(builder, zero, places[0], builder.mul(index, constant(LANES * 4)))


def _zero_number(builder, places, index):
    builder.store(ir.Constant(F32, 0.0), _number(builder, places[0], index))


def _gather_vector(builder, places, index):
    source, target = places
    first = builder.mul(index, constant(2 * LANES * 4))
    pair = [load_vector(builder, source, builder.add(first, constant(i * LANES * 4))) for i in (0, 1)]
    even = ir.Constant(ir.VectorType(I32, LANES), list(range(0, 2 * LANES, 2)))
    offset = builder.mul(index, constant(LANES * 4))
    store_vector(builder, builder.shuffle_vector(*pair, even), target, offset)


def _gather_number(builder, places, index):
    builder.store(builder.load(_number(builder, places[0], index, 2)), _number(builder, places[1], index))


@intrinsic
def copy_run(typing_context, source, target, count, vectors):
    """Copy a run of numbers."""
    return types.void(*[types.int64] * 4), _run(_copy_vector, _copy_number)


@intrinsic
def zero_run(typing_context, target, count, vectors):
    """Set a run of numbers to zero."""
    return types.void(*[types.int64] * 3), _run(_zero_vector, _zero_number)


@intrinsic
def gather_pairs(typing_context, source, target, count, vectors):
    """Copy each second number, as a run: a vector of them is the even numbers of two."""
    return types.void(*[types.int64] * 4), _run(_gather_vector, _gather_number)


@intrinsic
def copy_apart(typing_context, source, source_step, target, target_step, count):
    """Copy numbers that are some bytes apart."""

    def emit(context, builder, signature, arguments):
        source, source_step, target, target_step, count = arguments
        with cgutils.for_range(builder, count) as loop:
            number = builder.load(pointer(builder, source, builder.mul(loop.index, source_step)))
            builder.store(number, pointer(builder, target, builder.mul(loop.index, target_step)))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), emit


@intrinsic
def transpose_block(typing_context, source, source_stride, target, target_stride):
    """Transpose lanes x lanes numbers: target[i, j] = source[j, i]."""

    def emit(context, builder, signature, arguments):
        source, source_stride, target, target_stride = arguments
        rows = _transposed(builder, _load_rows(builder, source, source_stride))
        for i, row in enumerate(rows):
            store_vector(builder, row, target, builder.mul(target_stride, constant(i)))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), emit


@intrinsic
def transpose_block_add(typing_context, source, source_stride, target, target_stride, shift):
    """Transpose lanes x lanes numbers and add: target[i, j] = source[j, i] + shift[i]."""

    def emit(context, builder, signature, arguments):
        source, source_stride, target, target_stride, shift = arguments
        rows = _transposed(builder, _load_rows(builder, source, source_stride))
        shifts = builder.inttoptr(shift, F32.as_pointer())
        for i, row in enumerate(rows):
            added = broadcast(builder, builder.load(builder.gep(shifts, [constant(i)])))
            store_vector(builder, builder.fadd(row, added), target, builder.mul(target_stride, constant(i)))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), emit


def _load_rows(builder, source, stride):
    return [load_vector(builder, source, builder.mul(stride, constant(i))) for i in range(LANES)]


def _transposed(builder, rows):
    """Swap halves, quarters, ... off the diagonal, down to single numbers."""
    mask = ir.VectorType(I32, LANES)
    size = LANES // 2
    while size:
        upper = ir.Constant(mask, [c if not c & size else LANES + c - size for c in range(LANES)])
        lower = ir.Constant(mask, [c + size if not c & size else LANES + c for c in range(LANES)])
        for i in range(LANES):
            if not i & size:
                a, b = rows[i], rows[i + size]
                rows[i] = builder.shuffle_vector(a, b, upper)
                rows[i + size] = builder.shuffle_vector(a, b, lower)
        size //= 2
    return rows


@intrinsic
def bytes_of(typing_context, numbers):
    """The bytes of this many float32 numbers."""

    def emit(context, builder, signature, arguments):
        return builder.mul(arguments[0], constant(4), flags=("nsw",))

    return types.int64(types.int64), emit


def processor_constant(number: int):
    def emit(context, builder, signature, arguments):
        return constant(number)

    def typed(typing_context):
        return types.int64(), emit

    return intrinsic(typed)


lanes = processor_constant(LANES)
tile_rows = processor_constant(processor().rows)
widest = processor_constant(processor().widest)
