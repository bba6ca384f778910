"""Atomic operations, and the task of a launch, as Numba intrinsics; see `minialex.kernels.runtime.mailbox`.

Addresses are int64, of words of eight bytes. Imported at the first compilation.
"""

from __future__ import annotations

import os
import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import NumbaTypeError
from numba.extending import intrinsic

from minialex.kernels.runtime import _numba_internals
from minialex.kernels.runtime.mailbox import (
    ARGUMENTS,
    COUNTER_BYTES,
    COUNTERS,
    GRAIN,
    ITEMS,
    MOST_ARGUMENT_BYTES,
    THREADS,
)

WORD = ir.IntType(64)
# The hint to a processor that it is in a spin loop.
_PAUSE = {
    **dict.fromkeys(("x86_64", "AMD64"), ("llvm.x86.sse2.pause",)),
    **dict.fromkeys(("aarch64", "arm64"), ("llvm.aarch64.hint", ir.IntType(32)(1))),
}


def _word_at(builder, address):
    return builder.inttoptr(address, WORD.as_pointer())


@intrinsic
def load_acquire(typing_context, address):
    """Read the word at an address, and see all that the writer wrote before its `store_release`."""

    def emit(context, builder, signature, arguments):
        return builder.load_atomic(_word_at(builder, arguments[0]), "acquire", 8)

    return types.int64(types.int64), emit


@intrinsic
def store_release(typing_context, address, value):
    """Set the word at an address; see `load_acquire`."""

    def emit(context, builder, signature, arguments):
        builder.store_atomic(arguments[1], _word_at(builder, arguments[0]), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), emit


@intrinsic
def replace_word(typing_context, address, expected, value):
    """Set the word at an address if it is the expected one; whether it was."""

    def emit(context, builder, signature, arguments):
        result = builder.cmpxchg(
            _word_at(builder, arguments[0]), arguments[1], arguments[2], "acq_rel", "acquire"
        )
        return builder.extract_value(result, 1)

    return types.boolean(types.int64, types.int64, types.int64), emit


@intrinsic
def pause(typing_context):
    """Tell the processor that this thread spins."""

    def emit(context, builder, signature, arguments):
        name, *hint = _PAUSE.get(platform.machine(), (None,))
        if name is not None:
            function_type = ir.FunctionType(ir.VoidType(), [value.type for value in hint])
            builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), hint)
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def yield_processor(typing_context):
    """Yield this thread's processor to another thread, if one is waiting for it."""

    def emit(context, builder, signature, arguments):
        if os.name == "posix":
            function_type = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, function_type, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def pack_task(typing_context, body, buffer, items, grain, threads, arguments):
    """Make the task of a launch: a machine function that takes items until none is left.

    It is ``int64 task(buffer, worker)``, which calls ``body(item, worker, *arguments)`` for each item, and
    returns whether that failed. It starts on the worker's own range of items, and goes on to what is left
    of the others'.

    Parameters
    ----------
    body : compiled function
    buffer : int64 array
        Filled with everything that the task reads.
    items : int64
    grain : int64
        How many items a thread takes at a time.
    threads : int64
        The number of ranges, all of equal length; workers are below it.
    arguments : tuple

    Returns
    -------
    int64
        The task's address.
    """
    parameters = (types.int64, types.int64, *arguments.types)
    if body.get_call_type(typing_context, parameters, {}).return_type != types.none:
        raise NumbaTypeError("the body of a compiled loop must return nothing")

    def emit(context, builder, signature, values):
        packed_type = context.get_value_type(signature.args[5])
        size = context.get_abi_sizeof(packed_type)
        if size > MOST_ARGUMENT_BYTES:
            raise NumbaTypeError(
                f"the arguments of a compiled loop take {size} bytes, more than {MOST_ARGUMENT_BYTES}"
            )
        array = cgutils.create_struct_proxy(signature.args[1])(context, builder, values[1])
        start = builder.ptrtoint(array.data, WORD)
        for offset, value in zip((ITEMS, GRAIN, THREADS), values[2:5], strict=True):
            builder.store(value, _word_at(builder, builder.add(start, WORD(offset))))
        with cgutils.for_range(builder, values[4]) as ranges:
            first = _first_of_range(builder, ranges.index, values[2], values[4])
            builder.store(first, _counter(builder, start, ranges.index))
        place = builder.add(start, WORD(ARGUMENTS))
        packed = _numba_internals.without_owners(context, builder, signature.args[5], values[5])
        builder.store(packed, builder.inttoptr(place, packed_type.as_pointer()), align=8)

        dispatcher = signature.args[0].dispatcher
        symbol = dispatcher.py_func.code_cache.symbol(parameters)
        _numba_internals.publish(dispatcher, parameters, symbol)

        def call_body(builder, item, worker, arguments):
            return _numba_internals.emit_call(
                context, builder, symbol, parameters, [item, worker, *arguments]
            )

        name = builder.module.get_unique_name("task")
        task = ir.Function(builder.module, ir.FunctionType(WORD, [WORD, WORD]), name)
        task.linkage = "internal"
        _emit_task(task, call_body, packed_type, len(parameters) - 2)
        return builder.ptrtoint(task, WORD)

    return types.int64(body, buffer, types.int64, types.int64, types.int64, arguments), emit


def _first_of_range(builder, index, items, threads):
    return builder.sdiv(builder.mul(items, index), threads)


def _counter(builder, start, index):
    return _word_at(
        builder, builder.add(start, builder.add(WORD(COUNTERS), builder.mul(index, WORD(COUNTER_BYTES))))
    )


def _emit_task(task, call_body, packed_type, arguments: int):
    start, worker = task.args
    entry, choose, take, work, body, stop, leave, ended = (
        task.append_basic_block(name)
        for name in ("entry", "choose", "take", "work", "body", "stop", "leave", "ended")
    )
    builder = ir.IRBuilder(entry)
    items, grain, threads = (
        builder.load(_word_at(builder, builder.add(start, WORD(offset))))
        for offset in (ITEMS, GRAIN, THREADS)
    )
    place = builder.inttoptr(builder.add(start, WORD(ARGUMENTS)), packed_type.as_pointer())
    values = cgutils.unpack_tuple(builder, builder.load(place, align=8), arguments)
    builder.branch(choose)

    # A range: the worker's own, then those of the others in turn.
    builder.position_at_end(choose)
    turn = builder.phi(WORD)
    turn.add_incoming(WORD(0), entry)
    index = builder.srem(builder.add(worker, turn), threads)
    counter = _counter(builder, start, index)
    end = _first_of_range(builder, builder.add(index, WORD(1)), items, threads)
    builder.branch(take)

    builder.position_at_end(take)
    first = builder.atomic_rmw("add", counter, grain, "monotonic")
    last = builder.add(first, grain)
    last = builder.select(builder.icmp_signed("<", last, end), last, end)
    builder.branch(work)

    builder.position_at_end(work)
    item = builder.phi(WORD)
    item.add_incoming(first, take)
    builder.cbranch(builder.icmp_signed("<", item, last), body, stop)

    builder.position_at_end(body)
    has_failed = call_body(builder, item, worker, values)
    failed, done = builder.append_basic_block("failed"), builder.append_basic_block("done")
    builder.cbranch(has_failed, failed, done)
    builder.position_at_end(done)
    item.add_incoming(builder.add(item, WORD(1)), done)
    builder.branch(work)
    builder.position_at_end(failed)
    builder.ret(WORD(1))

    # All of a grain are done, or none was left.
    builder.position_at_end(stop)
    builder.cbranch(builder.icmp_signed("<", last, end), take, leave)

    builder.position_at_end(leave)
    following = builder.add(turn, WORD(1))
    turn.add_incoming(following, leave)
    builder.cbranch(builder.icmp_signed("<", following, threads), choose, ended)

    builder.position_at_end(ended)
    builder.ret(WORD(0))


@intrinsic
def call_task(typing_context, task, buffer, worker):
    """Call a task made by `pack_task`, with the address of its buffer; whether it failed."""

    def emit(context, builder, signature, arguments):
        function_type = ir.FunctionType(WORD, [WORD, WORD])
        function = builder.inttoptr(arguments[0], function_type.as_pointer())
        return builder.call(function, arguments[1:])

    return types.int64(types.int64, types.int64, types.int64), emit
