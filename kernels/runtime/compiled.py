"""Functions that Numba compiles at their first call, not at import.

    @compiled
    def scale(x, factor): ...            # called like any function; releases the GIL

    @compiled.parallel
    def scale_row(row, worker, x, y): ...

    scale_row.run(len(x), x, y)          # once for each row, on all threads

Both are written in the part of Python that Numba compiles, on arrays and numbers, and may call other
compiled functions and `Intrinsic` operations by their plain names. Importing this module does not import
Numba, which takes longer than all of the engine.

Numba compiles a function anew into each of its callers, so that it can be inlined. A loop's body is an
exception: the loop's launch, of which there is one for each combination of types, calls it by a symbol.

Compiled code is kept on disk (`minialex.kernels.runtime.code_cache`) and loaded by the next process. A
function of a plug-in, whose sources the cache does not watch, is compiled in each process that calls it.

The arithmetic is IEEE's, in the order written: Numba's ``fastmath`` stays off. Division by
zero gives infinity, as in NumPy.
"""

from __future__ import annotations

import functools
import importlib
import time
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from minialex.kernels.runtime import code_cache, recording, threads
from minialex.kernels.runtime.mailbox import (
    BUFFER,
    FAILED,
    IDLE,
    POSTED,
    RUNNING,
    STATE,
    TASK,
    WORD,
    buffer_words,
)


class Intrinsic:
    """A Numba intrinsic, for use in compiled functions: `name` in a module that imports Numba."""

    def __init__(self, name: str, module: str = "minialex.kernels.runtime._intrinsics"):
        self.name, self.module = name, module

    def __call__(self, *arguments):
        raise TypeError(
            f"{self.name} is an instruction of compiled functions; it cannot be called from Python"
        )

    @functools.cached_property
    def dispatcher(self):
        return getattr(importlib.import_module(self.module), self.name)


address, word = Intrinsic("address"), Intrinsic("word")


class Compiled:
    """A function that is compiled when it is first called, once for each combination of argument types."""

    def __init__(self, function: Callable):
        self.function = function
        functools.update_wrapper(self, function)

    @functools.cached_property
    def dispatcher(self):
        """Numba's compiled function, for all the types it has met, to call from Python."""
        return _compile(self.function)

    @functools.cached_property
    def for_compiled(self):
        """The same, to call only from compiled functions: without the code that unpacks Python objects."""
        return _compile(self.function, from_python=False)

    def __call__(self, *arguments):
        return self.dispatcher(*map(_writable, arguments))

    def intrinsics(self) -> set[str]:
        """The names of the intrinsics used by it and by the functions it calls."""
        return {
            value.name
            for _, values in _reached(self.function)
            for value in values
            if isinstance(value, Intrinsic)
        }


class CompiledLoop(Compiled):
    """A compiled loop body, ``body(item, worker, *arguments)``, run for many items on all threads.

    No two items may write the same memory, so that the result does not depend on the number of
    threads. ``worker`` is below `threads.num_threads` and differs between bodies that run at the
    same time: it indexes scratch memory.
    """

    def __init__(self, function: Callable):
        super().__init__(function)
        _loops.add(self)

    @functools.cached_property
    def launch(self):
        """``launch(mailboxes, buffer, patience, items, *arguments)``; whether the caller's part failed."""
        return _compile(_launch if _shares_loops() else _launch_alone, body=self)

    @property
    def serve(self):
        """``serve(mailbox, worker, patience)``, for the workers: returns the number of tasks done."""
        return serve.dispatcher

    def run(self, items: int, *arguments) -> None:
        """Call the body for 0, 1, ..., items - 1."""
        arguments = tuple(map(_writable, arguments))
        if _compiling is None:
            if items > 0:
                recording.hear_launch(self, items, arguments)
                threads.run(self, items, arguments)
        else:
            _compiling.add((self, _compile_body(self, arguments)))


_loops: weakref.WeakSet[CompiledLoop] = weakref.WeakSet()


def loops() -> list[CompiledLoop]:
    """The compiled loops of the imported modules."""
    return sorted(_loops, key=lambda loop: (loop.function.__module__, loop.function.__qualname__))


def compiled(function: Callable) -> Compiled:
    """Make a function compiled."""
    return Compiled(function)


compiled.parallel = CompiledLoop


_ATOMICS = "minialex.kernels.runtime._atomics"
call_task = Intrinsic("call_task", _ATOMICS)
load_acquire = Intrinsic("load_acquire", _ATOMICS)
pack_task = Intrinsic("pack_task", _ATOMICS)
pause = Intrinsic("pause", _ATOMICS)
yield_processor = Intrinsic("yield_processor", _ATOMICS)
replace_word = Intrinsic("replace_word", _ATOMICS)
store_release = Intrinsic("store_release", _ATOMICS)


@compiled
def wait(looks):
    """Pass the time between two reads of a word that another thread will change."""
    if looks % 64 == 63:
        # The other thread may be waiting for this processor.
        yield_processor()
    else:
        pause()


@compiled
def share(mailboxes, task, start, patience):
    """Post a task, take part, withdraw it where no worker has begun, and wait for the others a while.

    Returns whether this thread's part failed.
    """
    for mailbox in mailboxes:
        store_release(mailbox + TASK * WORD, task)
        store_release(mailbox + BUFFER * WORD, start)
        store_release(mailbox + FAILED * WORD, 0)
        store_release(mailbox + STATE * WORD, POSTED)
    failed = call_task(task, start, 0)
    for mailbox in mailboxes:
        if not replace_word(mailbox + STATE * WORD, POSTED, IDLE):
            looks = 0
            while looks < patience and load_acquire(mailbox + STATE * WORD) != IDLE:
                wait(looks)
                looks += 1
    return failed


def _launch(mailboxes, buffer, patience, items, *arguments):
    """Run a loop; whether this thread's part failed."""
    number = mailboxes.size + 1
    grain = max(1, items // (64 * number))
    task = pack_task(body, buffer, items, grain, number, arguments)
    return share(mailboxes, task, address(buffer), patience)


def _launch_alone(mailboxes, buffer, patience, items, *arguments):
    """The same on one thread, for a Numba that cannot share loops; errors are raised from here."""
    for item in range(items):
        body(item, 0, *arguments)
    return 0


def body(item, worker, *arguments):
    """Stand in for the body in the functions above."""


@compiled
def serve(mailbox, worker, patience):
    """Do the tasks that arrive in a mailbox, until none has for a while; return how many there were."""
    tasks, looks = 0, 0
    state = mailbox + STATE * WORD
    while looks < patience:
        if load_acquire(state) == POSTED and replace_word(state, POSTED, RUNNING):
            task, buffer = load_acquire(mailbox + TASK * WORD), load_acquire(mailbox + BUFFER * WORD)
            store_release(mailbox + FAILED * WORD, call_task(task, buffer, worker))
            store_release(state, IDLE)
            tasks, looks = tasks + 1, 0
        else:
            wait(looks)
            looks += 1
    return tasks


@functools.cache
def _shares_loops() -> bool:
    """Whether a loop can be shared among threads with this version of Numba."""
    from minialex.kernels.runtime import _numba_internals

    if _numba_internals.is_tried():
        return True
    counts, buffer = np.zeros(3, np.int64), np.empty(buffer_words(1), np.int64)
    try:
        failed = _compile(_launch, body=Compiled(_count))(threads.NOBODY, buffer, 0, counts.size, counts)
    except Exception:
        return False
    return not failed and bool((counts == 1).all())


def _count(item, worker, counts):
    counts[item] += 1


@contextmanager
def on_compile(callback: Callable[[str, float | None], None]) -> Iterator[None]:
    """Call ``callback(name, seconds)`` before and after each compilation inside the ``with`` block.

    ``seconds`` is None before; after, it is the time that the function took, without that of the functions
    compiled meanwhile. A function loaded from disk causes no calls.
    """
    _callbacks.append(callback)
    try:
        yield
    finally:
        _callbacks.remove(callback)


_callbacks: list[Callable[[str, float | None], None]] = []


@contextmanager
def only_compiling() -> Iterator[set[tuple[CompiledLoop, tuple]]]:
    """Inside the ``with`` block, compile loops instead of running them.

    This is for reading their code for a processor that this machine lacks (``NUMBA_CPU_NAME``).
    What kernels return meanwhile is meaningless.

    Yields
    ------
    set of (CompiledLoop, tuple)
        Each loop that would have run, with the Numba types of its body's parameters.
    """
    global _compiling
    before, _compiling = _compiling, set()
    try:
        yield _compiling
    finally:
        _compiling = before


_compiling: set[tuple[CompiledLoop, tuple]] | None = None


def _compile_body(loop: CompiledLoop, arguments: tuple) -> tuple:
    """Compile a loop's body, as its launch does; return the types of its parameters."""
    import numba

    types = numba.int64, numba.int64, *map(numba.typeof, arguments)
    loop.for_compiled.compile(types)
    return types


_PACKAGE = __name__.removesuffix("runtime.compiled")


def _compile(function: Callable, from_python: bool = True, body: Compiled | None = None):
    """Numba's dispatcher of a function; of a body's launch, if a body is given."""
    import numba

    from minialex.kernels.runtime import _numba_internals

    _watch_compilations()
    # Numba looks names up in a function's globals, and must find its own objects there.
    names = dict(function.__globals__)
    named = function if body is None else body.function
    if body is not None:
        names["body"] = body
    used = {key: names[key] for key in function.__code__.co_names if key in names}
    names.update((key, _for_numba(value)) for key, value in used.items())
    cells = tuple(types.CellType(_for_numba(cell.cell_contents)) for cell in function.__closure__ or ())
    name = named.__qualname__ + ("" if body is None else "_launch")
    persistent, digest = _identity(function, from_python, body)
    copy = types.FunctionType(function.__code__, names, named.__name__, function.__defaults__, cells)
    # Numba makes symbols of these two: loaded code must not clash with another function's.
    copy.__module__, copy.__qualname__ = named.__module__, f"{name}_{digest[:8]}"
    copy.code_cache = cache = code_cache.FunctionCache(
        f"{named.__module__.removeprefix(_PACKAGE)}.{name}", digest, persistent
    )
    dispatcher = numba.njit(
        nogil=True,
        error_model="numpy",
        boundscheck=False,
        no_cpython_wrapper=not from_python,
        no_cfunc_wrapper=True,
    )(copy)

    def publish_body(signature: tuple) -> None:
        # The body's types, from those of launch(mailboxes, buffer, patience, items, *arguments). A loaded
        # launch refers to the body by a symbol, the same in every process.
        types = numba.int64, numba.int64, *signature[4].types
        callee = body.for_compiled  # pyright: ignore[reportOptionalMemberAccess] - only launches are published
        _numba_internals.publish(callee, types, callee.py_func.code_cache.symbol(types))

    if _numba_internals.is_tried():
        _numba_internals.keep(dispatcher, cache, None if body is None else publish_body)
    return dispatcher


def _for_numba(value):
    if isinstance(value, Compiled):
        return value.for_compiled
    return value.dispatcher if isinstance(value, Intrinsic) else value


def _identity(function: Callable, from_python: bool, body: Compiled | None) -> tuple[bool, str]:
    """Whether a function comes only from the package, and a digest of what Numba compiles into it.

    That is its code and the code of all it calls, and the values of the names and closures they
    use. (Values held by another module are constants of the sources, which the cache watches.)
    """
    import hashlib

    whole = hashlib.sha256(b"" if from_python else b"for compiled functions")
    persistent = True
    for each, values in _reached(function, *([] if body is None else [body.function])):
        persistent &= each.__module__.startswith(_PACKAGE)
        code = each.__code__
        whole.update(code.co_code + repr((each.__qualname__, code.co_names)).encode())
        for value in values:
            if isinstance(value, Intrinsic):
                persistent &= value.module.startswith(_PACKAGE)
                whole.update(f"{value.module}.{value.name}".encode())
            elif isinstance(value, np.ndarray):
                whole.update(repr((value.dtype, value.shape)).encode() + value.tobytes())
            elif isinstance(
                value, bool | int | float | complex | str | bytes | tuple | np.generic | np.dtype
            ):
                whole.update(repr(value).encode())
    return persistent, whole.hexdigest()


def _reached(*functions: Callable) -> Iterator[tuple[Callable, list]]:
    """The functions and those they call, with the constants, names and closures that each uses."""
    seen: set[Callable] = set()
    pending = list(functions)
    while pending:
        function = pending.pop()
        if function in seen:
            continue
        seen.add(function)
        code = function.__code__
        values = [*code.co_consts, *(function.__defaults__ or ())]
        values += [function.__globals__.get(key) for key in code.co_names]
        values += [cell.cell_contents for cell in function.__closure__ or ()]
        pending += [value.function for value in values if isinstance(value, Compiled)]
        yield function, values


@functools.cache
def _watch_compilations() -> None:
    """Have Numba report when it compiles one of our functions."""
    from numba.core import event

    class Watcher(event.Listener):
        def __init__(self):
            # For each compilation under way, outermost first: its start, and the time of those nested in it.
            self.under_way: list[list[float]] = []

        def on_start(self, details):
            if name := _name_of(details):
                self.under_way.append([time.perf_counter(), 0.0])
                _tell(name, None)

        def on_end(self, details):
            if name := _name_of(details):
                start, inside = self.under_way.pop()
                seconds = time.perf_counter() - start
                if self.under_way:
                    self.under_way[-1][1] += seconds
                _tell(name, seconds - inside)

    def _name_of(details) -> str | None:
        cache = getattr(details.data["dispatcher"].py_func, "code_cache", None)
        return None if cache is None else cache.name

    def _tell(name: str, seconds: float | None) -> None:
        for callback in tuple(_callbacks):
            callback(name, seconds)

    event.register("numba:compile", Watcher())


def _writable(argument):
    """A read-only array without that mark, for which Numba would compile once more.

    Compiled functions write only to results, which their callers have made.
    """
    if isinstance(argument, np.ndarray) and not argument.flags.writeable:
        return np.asarray(_Unmarked(argument))
    return argument


class _Unmarked:
    """Exposes an array's memory without marking it read-only."""

    def __init__(self, array: np.ndarray):
        self.array = array
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface
