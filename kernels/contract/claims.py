"""What a kernel says of itself, checked when it is registered; and what algorithms were called formerly.

What is wrong would be found by the next call of the operation otherwise, whoever makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from minialex.checks import in_words, is_int, require_choice, require_number
from minialex.errors import KernelError
from minialex.kernels.contract.call import require_call

DEVICES = ("cpu", "cuda", "cuda-host")
FLOATS = ("float32", "float64")
# From when algorithms were named after libraries.
_FORMER_NAMES = {
    "numpy": ("plain",),
    "numba": ("one-pass",),
    "cuda": ("one-pass", "block-reduction", "thread-per-cell"),
}


def require_names(operation: str, algo: object, device: object) -> None:
    """Raise `KernelError` unless a kernel's algorithm has a name and its device is one that there is."""
    if not isinstance(algo, str) or not algo.strip():
        raise KernelError(f"{operation}: algo must be a name, such as 'mine', not {in_words(algo)}")
    require_choice(f"{operation}: device", device, DEVICES, error=KernelError)


def require_figures(
    operation: str, rank: object, dtypes: object, error: object, kinds: object, records: object
) -> None:
    """Raise `KernelError` unless they are as `minialex.kernels.contract.registry.Kernel` says."""
    if not is_int(records, 0):
        raise KernelError(f"{operation}: records must be an integer 0 or more, not {in_words(records)}")
    if rank is not None and not is_int(rank):
        raise KernelError(f"{operation}: rank must be an integer or None, not {in_words(rank)}")
    if dtypes is not None and not (isinstance(dtypes, tuple) and dtypes and all(d in FLOATS for d in dtypes)):
        raise KernelError(
            f"{operation}: dtypes must be a tuple of 'float32' and 'float64', such as ('float32',), or None, "
            f"not {in_words(dtypes)}"
        )
    if error is not None:
        require_number(f"{operation}: error", error, 0, bounds="[)", error=KernelError)
    if not isinstance(kinds, str) or "f" not in kinds or not set(kinds) <= set("biuf"):
        raise KernelError(
            f"{operation}: kinds must be 'f', alone or with 'i', 'u' and 'b', such as 'iuf', "
            f"not {in_words(kinds)}"
        )


def require_functions(operation: str, domain: object, **of_calls: Callable | None) -> None:
    """Raise `KernelError` unless they are functions or None, and those of calls take what kernels take."""
    for name, said in {**of_calls, "domain": domain}.items():
        if said is not None and not callable(said):
            raise KernelError(f"{operation}: {name} must be a function or None, not {in_words(said)}")
    for name, said in of_calls.items():
        if said is not None:
            require_call(operation, said, f"{name}= of a kernel")


def require_kernel(operation: str, function: Callable) -> None:
    """Raise `KernelError` unless it is a function that takes what the operation's kernels take."""
    if not callable(function):
        raise KernelError(f"{operation}: a kernel must be a function, not {in_words(function)}")
    require_call(operation, function)


def renamed(algorithm: str, known: Iterable[str]) -> str:
    """For a message: what a renamed algorithm is called now, of the names that are known; else ""."""
    present = tuple(known)
    now = [repr(name) for name in _FORMER_NAMES.get(algorithm, ()) if name in present]
    return f"{algorithm!r} is called {' or '.join(now)} now; " if now else ""
