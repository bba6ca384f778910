"""The private parts of Numba that compiled kernels use.

Numba's public interface compiles functions and lets intrinsics emit LLVM IR. It does not offer two
things: keeping compiled code in files of one's own (its own cache watches the file of a function, but not
those of the functions it calls), and calling a function by its address, as threads that share a loop do.

The versions in `TRIED` pass the tests. With any other, nothing is kept on disk: each process compiles anew,
and says so once. There, loops are shared among threads if that passes a trial (`compiled._shares_loops`),
and otherwise run on the caller's thread. To try a version, add it to `TRIED` and run
``make test-numba NUMBA=...``.

Imported at the first compilation, because it imports Numba. What may be missing is imported where it is used.
"""

from __future__ import annotations

import functools
import pickle
import warnings
from collections.abc import Callable

import llvmlite
import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils

TRIED = ((0, 64), (0, 65), (0, 66), (0, 67), (0, 68))

_OPTIONS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "ENABLE_AVX", "BOUNDSCHECK", "DEBUGINFO_DEFAULT")


@functools.cache
def is_tried() -> bool:
    """Whether this version of Numba is one of those tried; the first call warns if it is not."""
    if numba.version_info.short in TRIED:
        return True
    oldest, newest = (".".join(map(str, version)) for version in (TRIED[0], TRIED[-1]))
    warnings.warn(
        f"compiled kernels are not kept on disk with Numba {numba.__version__}, on which MiniAlex was not "
        f"tested: each process compiles them. To keep them, install a version from {oldest} to {newest}: "
        f"pip install 'numba=={newest}.*'",
        RuntimeWarning,
        stacklevel=2,
    )
    return False


def build() -> tuple:
    """What machine code depends on besides its source, as far as Numba decides."""
    from numba.core import config

    options = [(name, str(getattr(config, name, None))) for name in _OPTIONS]
    return numba.__version__, llvmlite.__version__, _codegen().magic_tuple(), options


def keep(dispatcher, cache, before_load: Callable[[tuple], None] | None) -> None:
    """Have a dispatcher load its code from a cache, and store there what it compiles.

    Parameters
    ----------
    dispatcher : numba Dispatcher
    cache : minialex.kernels.runtime.code_cache.FunctionCache
    before_load : callable, optional
        Called with a signature before its code is looked up.
    """
    dispatcher._cache = _DispatcherCache(cache, before_load)


class _DispatcherCache:
    """Where a dispatcher looks for code, with the methods of ``numba.core.caching.FunctionCache``."""

    def __init__(self, cache, before_load: Callable[[tuple], None] | None):
        self.cache, self.before_load = cache, before_load

    @property
    def cache_path(self) -> str | None:
        return self.cache.folder

    def load_overload(self, signature, target_context):
        from numba.core.compiler import CompileResult
        from numba.core.runtime import rtsys

        if self.before_load is not None:
            self.before_load(signature)
        payload = self.cache.read(signature)
        if payload is None:
            return None
        try:
            # All that loaded code needs. Numba's own cache refreshes the context, which imports SciPy.
            rtsys.initialize(target_context)
            return CompileResult._rebuild(target_context, *pickle.loads(payload))
        except Exception as error:
            self.cache.complain(f"cannot be loaded: {type(error).__name__}: {error}")
            return None

    def save_overload(self, signature, result) -> None:
        from numba.core.serialize import dumps

        if self.cache.folder is None or result.lifted or result.library.has_dynamic_globals:
            return
        try:
            payload = dumps(result._reduce())
        except Exception as error:
            self.cache.complain(f"cannot be kept: {type(error).__name__}: {error}")
        else:
            self.cache.write(signature, payload)

    def flush(self) -> None:
        """Discard nothing: what is on disk is valid as long as its folder is."""

    def enable(self) -> None:
        """Do nothing."""

    def disable(self) -> None:
        """Do nothing."""


def assembly_of(dispatcher, parameters: tuple) -> str:
    """The assembly of a function compiled for these parameter types."""
    library = dispatcher.overloads[parameters].library
    # A copy, because code generation changes a module. (Code loaded from disk has its module, too.)
    return str(_codegen()._tm.emit_assembly(library._get_module_for_linking().clone()))


def assembly_from(text: str) -> str:
    """The assembly of LLVM IR, for Numba's processor; empty if that is not known."""
    try:
        return str(_codegen()._tm.emit_assembly(llvmlite.binding.parse_assembly(text)))
    except Exception:
        if is_tried():
            raise
        return ""


def _codegen():
    from numba.core.registry import cpu_target

    return cpu_target.target_context.codegen()


def publish(dispatcher, parameters: tuple, symbol: str) -> None:
    """Give a compiled function's code for these types a symbol by which other code may call it."""
    dispatcher.compile(parameters)
    result = dispatcher.overloads[parameters]
    address = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
    llvmlite.binding.add_symbol(symbol, address)


def emit_call(context, builder, symbol: str, parameters: tuple, arguments: list):
    """Call a published function, which returns nothing, by its symbol; whether that failed.

    Linking it instead would optimise and compile it a second time.
    """
    function_type = context.call_conv.get_function_type(types.none, parameters)
    callee = cgutils.get_or_insert_function(builder.module, function_type, symbol)
    status, _ = context.call_conv.call_function(builder, callee, types.none, parameters, arguments)
    return status.is_error


def without_owners(context, builder, tuple_type, values):
    """A tuple whose arrays do not refer to the owner of their memory.

    The caller keeps them alive as long as a task runs. Otherwise each slice of an array would update its
    owner's reference count, a word that all threads would write.
    """
    for i, each in enumerate(tuple_type.types):
        if isinstance(each, types.Array):
            array = context.make_array(each)(context, builder, builder.extract_value(values, i))
            array.meminfo = ir.Constant(array.meminfo.type, None)
            array.parent = ir.Constant(array.parent.type, None)
            values = builder.insert_value(values, array._getvalue(), i)
    return values
