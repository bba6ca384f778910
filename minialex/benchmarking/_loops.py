"""The loop that measures the multiply-add peak, as Numba intrinsics. Imported when it is compiled.

Twelve accumulators in registers, each a vector: c = a * c + b over and over. A multiply-add takes four
cycles and a core starts at most two in each, so eight independent ones keep it busy; twelve and the two
operands fit the sixteen vector registers of AVX2. Nothing is loaded or stored.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

ACCUMULATORS = 12
_I64 = ir.IntType(64)


def _multiply_add_loop(lanes: int):
    """An intrinsic (steps, a, b) -> sum of the accumulators, for vectors of `lanes` float32."""
    vector = ir.VectorType(ir.FloatType(), lanes)

    def broadcast(builder, value):
        first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(_I64, 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)

    def emit(context, builder, signature, arguments):
        steps, *operands = arguments
        a, b = (broadcast(builder, operand) for operand in operands)
        # A fused multiply-add where the processor has one, else a product and a sum.
        name = f"llvm.fmuladd.v{lanes}f32"
        multiply_add = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), name
        )
        before = builder.block
        body, after = builder.append_basic_block("body"), builder.append_basic_block("after")
        builder.branch(body)
        builder.position_at_end(body)
        step = builder.phi(_I64)
        accumulators = [builder.phi(vector) for _ in range(ACCUMULATORS)]
        results = [builder.call(multiply_add, [a, c, b]) for c in accumulators]
        following = builder.add(step, ir.Constant(_I64, 1))
        builder.cbranch(builder.icmp_signed("<", following, steps), body, after)
        step.add_incoming(ir.Constant(_I64, 0), before)
        step.add_incoming(following, body)
        for i, (accumulator, result) in enumerate(zip(accumulators, results, strict=True)):
            # They start from different values: equal ones would be computed once.
            accumulator.add_incoming(ir.Constant(vector, [float(i + 1)] * lanes), before)
            accumulator.add_incoming(result, body)
        builder.position_at_end(after)
        total = results[0]
        for result in results[1:]:
            total = builder.fadd(total, result)
        return builder.extract_element(total, ir.Constant(_I64, 0))

    def typed(typing_context, steps, a, b):
        return types.float32(types.int64, types.float32, types.float32), emit

    typed.__name__ = f"multiply_add_{lanes}"
    return intrinsic(typed)


multiply_add_4, multiply_add_8, multiply_add_16 = (_multiply_add_loop(lanes) for lanes in (4, 8, 16))
