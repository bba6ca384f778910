"""The registry of kernels: the one contract that the engine, the tests and the benchmarks read.

A kernel is a plain function on arrays. It is registered under (operation, device, algorithm):

    @kernel("conv2d.forward", algo="im2col", rank=10, workspace=im2col_bytes)
    def conv2d_forward(x, weight, bias, *, call): ...

Operations are named ``<operation>.<direction>``: ``conv2d.forward``, ``conv2d.input_grad``. Each has
one kernel with the algorithm ``reference``, which is its definition, and which the engine never
chooses on its own.

How the engine chooses
----------------------
1. Where `use` names algorithms for the operation: the first of them that supports the call.
2. Otherwise: among the kernels with a rank, the highest-ranked one that supports the call.
3. Of several with the same rank: the one with the shortest predicted time
   (`minialex.kernels.contract.cost`); or, where `minialex.kernels.contract.tuning` is on, the one that
   measured fastest.

If none is left, a `KernelError` lists every candidate and why it was refused. There is no other fallback.
The choice is kept for the next call of the same kind (`minialex.kernels.contract.kept_choices`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from minialex.checks import in_words
from minialex.config import declare_others, first_setting, replace_for_process, setting, settings, using
from minialex.devices import META
from minialex.errors import DeviceError, KernelError
from minialex.kernels.contract import claims, kept_choices
from minialex.kernels.contract.call import as_taken, plain_number
from minialex.kernels.contract.claims import FLOATS, renamed
from minialex.kernels.contract.cost import Cost
from minialex.kernels.contract.fit import require_fit
from minialex.kernels.contract.results import stand_ins_of
from minialex.kernels.runtime.recording import hear_call
from minialex.kernels.runtime.threads import number_kept

Supports = Callable[..., bool | str]
Workspace = Callable[..., int]
Domain = Callable[[], Mapping[str, object]]

REFERENCE = "reference"
_CODES = {"i": "Integer", "u": "UnsignedInteger"}


@dataclass(frozen=True)
class Sizes:
    """The lengths of an axis that a kernel supports, as stated by its `domain`.

    Attributes
    ----------
    least : int
    most : int or None
    grain : int
        If above 1, the kernel takes that many at a time, and the remainder in another way.
    """

    least: int = 0
    most: int | None = None
    grain: int = 1


@dataclass(frozen=True)
class Kernel:
    """A registered function and what it says about itself.

    Attributes
    ----------
    operation : str
        Such as ``"conv2d.forward"``.
    device : str
        Whose arrays it takes: ``"cpu"``, ``"cuda"`` or ``"cuda-host"``.
    algorithm : str
        Such as ``"reference"``, ``"im2col"``, ``"one-pass"``.
    function : callable
        The kernel.
    rank : int or None
        Its place in the default choice, highest first; None if it runs only on request.
    supports : callable or None
        Called with the kernel's arguments; True, or the reason why the kernel cannot take them.
    domain : callable or None
        Called without arguments; what a supported call looks like, such as the sizes of this processor's
        tile, in the keywords with which the operation's calls are drawn (`examples.py` in its folder).
        It restricts nothing: it lets tests draw calls that `supports` accepts.
    workspace : callable or None
        Called with the kernel's arguments; the bytes it allocates beyond its results.
    dtypes : tuple of str or None
        The floating-point types it takes; None for both float32 and float64.
    kinds : str
        The kinds of dtype it takes, in NumPy's letters: "f" for floats only, "iuf" for integers, too,
        "b" for bools. They apply to its first array; others may be indices.
    records : int
        How many of its first arrays may hold other values, the others being frozen, when the compiled loops
        of a call are run again (`minialex.kernels.runtime.recording`) and do the call on these; 0 if it does
        not all of its work in compiled loops. It counts for calls on contiguous arrays.
    cost : callable or None
        Called with the kernel's arguments; a `minialex.kernels.contract.cost.Cost`.
    error : float or None
        The bound that it promises on the relative error of its results, in norm and in the worst element,
        if that exceeds the rounding of a sum in another order; None if it does not.
    """

    operation: str
    device: str
    algorithm: str
    function: Callable
    rank: int | None = None
    supports: Supports | None = None
    workspace: Workspace | None = None
    dtypes: tuple[str, ...] | None = None
    cost: Callable[..., Cost] | None = None
    error: float | None = None
    domain: Domain | None = None
    kinds: str = "f"
    records: int = 0

    @property
    def name(self) -> str:
        return f"{self.operation}[{self.device}, {self.algorithm}]"

    def __call__(self, *args, **parameters):
        """Run the kernel.

        Raises
        ------
        KernelError
            If it cannot take this call.
        ShapeError
            If an array does not fit.
        """
        parameters = as_taken(self.operation, args, parameters)
        require_fit(self.operation, args, parameters.get("call"))
        with number_kept():
            refusal = self.refusal(*args, **parameters)
            if refusal is not None:
                raise KernelError(f"{self.name} cannot do this call: {refusal}")
            return self.function(*args, **parameters)

    def refusal(self, *args, **parameters) -> str | None:
        """Why the kernel cannot take this call; None if it can."""
        dtype = getattr(args[0], "dtype", None) if args else None
        if dtype is not None and dtype not in self._taken:
            return self._refusal_of(dtype)
        if self.dtypes is not None:
            for array in args:
                if array is not None and array.dtype.kind == "f" and array.dtype not in self._taken:
                    return self._refusal_of(array.dtype)
        if self.supports is None:
            return None
        answer = self.supports(*args, **as_taken(self.operation, args, parameters))
        return None if answer is True else (answer or "not supported")

    def takes(self, dtype: np.dtype) -> bool:
        """Whether the kernel takes data of a dtype."""
        return dtype in self._taken

    @functools.cached_property
    def _taken(self) -> frozenset[np.dtype]:
        # A set, because every call asks; dtypes of the other byte order are not in it.
        codes = "".join(np.typecodes[_CODES[kind]] for kind in self.kinds if kind in _CODES)
        return frozenset(map(np.dtype, (*(self.dtypes or FLOATS), *codes, *("?" * ("b" in self.kinds)))))

    @functools.cached_property
    def _refusals(self) -> dict[np.dtype, str]:
        # Kept, because the fast kernels refuse every float64 call.
        return {}

    def _refusal_of(self, dtype: np.dtype) -> str:
        if dtype not in self._refusals:
            self._refusals[dtype] = f"{' and '.join(self._in_words())} only, not {dtype}"
        return self._refusals[dtype]

    def _in_words(self) -> list[str]:
        """The dtypes it takes."""
        others = {"i": "integers", "b": "bools"}
        return [*(self.dtypes or FLOATS), *(others[kind] for kind in self.kinds if kind in others)]

    def predicted_seconds(self, *args, **parameters) -> float:
        """The predicted time of the call; infinite for a kernel that states no cost."""
        return (
            self.cost(*args, **as_taken(self.operation, args, parameters)).seconds()
            if self.cost
            else math.inf
        )

    def workspace_bytes(self, *args, **parameters) -> int:
        """The bytes that the call allocates beyond its results, as stated by the kernel; else 0."""
        return self.workspace(*args, **as_taken(self.operation, args, parameters)) if self.workspace else 0


_kernels: dict[tuple[str, str], dict[str, Kernel]] = {}
# The kernels with a rank, in its order: kept, because every call asks for them.
_ranked: dict[tuple[str, str], list[Kernel]] = {}
# For each device whose kernels are not registered yet: what registers them.
_later: dict[str, Callable[[], None]] = {}


def kernel(
    operation: str,
    *,
    algo: str,
    device: str = "cpu",
    rank: int | None = None,
    supports: Supports | None = None,
    workspace: Workspace | None = None,
    dtypes: tuple[str, ...] | None = None,
    cost: Callable[..., Cost] | None = None,
    error: float | None = None,
    domain: Domain | None = None,
    kinds: str = "f",
    records: int = 0,
) -> Callable[[Callable], Callable]:
    """Register the decorated function as a kernel. The parameters are those of `Kernel`.

    Raises
    ------
    KernelError
        If (operation, device, algorithm) is taken, the operation is not named
        ``<operation>.<direction>``, or an argument is not what `Kernel` says.
    """
    if not isinstance(operation, str) or operation.count(".") != 1 or not all(operation.split(".")):
        raise KernelError(
            f"operation must be <operation>.<direction>, such as 'conv2d.forward', not {in_words(operation)}"
        )
    if algo == REFERENCE and rank is not None:
        raise KernelError(f"{operation}: a reference kernel has no rank; it runs only on request")
    claims.require_names(operation, algo, device)
    claims.require_figures(operation, rank, dtypes, error, kinds, records)
    claims.require_functions(operation, domain, supports=supports, workspace=workspace, cost=cost)

    def register(function: Callable) -> Callable:
        claims.require_kernel(operation, function)
        algorithms = _kernels.setdefault((operation, device), {})
        if algo in algorithms:
            raise KernelError(
                f"{algorithms[algo].name} is registered already, in "
                f"{algorithms[algo].function.__module__}; give yours another algo"
            )
        said = rank, supports, workspace, dtypes, cost, error, domain, kinds, records
        algorithms[algo] = Kernel(operation, device, algo, function, *said)
        _ranked.pop((operation, device), None)
        kept_choices.forget_all()
        return function

    return register


def register_later(names: Iterable[str], load: Callable[[], None]) -> None:
    """Have `load` register the kernels of some devices when one of them is first asked for."""
    _later.update(dict.fromkeys(names, load))


def _load(device: str | None = None) -> None:
    """Register the kernels of a device, or of all devices, if that was put off."""
    for load in {_later[name] for name in _later if device in (None, name)}:
        for name in [name for name in _later if _later[name] is load]:
            del _later[name]
        load()


def _algorithms(operation: str, device: str) -> dict[str, Kernel]:
    if device in _later:
        _load(device)
    return _kernels.get((operation, device), {})


def unregister(operation: str, *, algo: str, device: str = "cpu") -> None:
    """Remove a kernel from the registry, as a plug-in's tests need to."""
    find_kernel(operation, algo=algo, device=device)
    del _kernels[operation, device][algo]
    _ranked.pop((operation, device), None)
    kept_choices.forget_all()


def list_kernels(operation: str | None = None, device: str | None = None) -> list[Kernel]:
    """The registered kernels, sorted by operation, device and algorithm.

    Parameters
    ----------
    operation : str, optional
        Keep one direction (``"conv2d.forward"``) or every direction of an operation (``"conv2d"``).
    device : str, optional
        Keep one device.
    """
    _load(device)
    return [
        entry
        for name, where in sorted(_kernels)
        if operation in (None, name, name.split(".")[0]) and device in (None, where)
        for _, entry in sorted(_kernels[name, where].items())
    ]


def devices() -> list[str]:
    """The devices for which kernels are registered."""
    return sorted({device for _, device in _kernels} | _later.keys())


def find_kernel(operation: str, *, algo: str, device: str = "cpu") -> Kernel:
    """The kernel registered under these three names; `KernelError` if there is none."""
    algorithms = _algorithms(operation, device)
    if algo not in algorithms:
        raise KernelError(
            f"no kernel {operation!r} with algorithm {algo!r} on {device!r}; {renamed(algo, algorithms)}"
            f"there are: {', '.join(sorted(algorithms)) or 'none'}"
        )
    return algorithms[algo]


def ranked(operation: str, device: str) -> list[Kernel]:
    """The kernels that the engine may choose on its own, in the order in which it tries them."""
    algorithms = _algorithms(operation, device).values()
    if (operation, device) not in _ranked:
        with_rank = (entry for entry in algorithms if entry.rank is not None)
        _ranked[operation, device] = sorted(with_rank, key=lambda entry: -(entry.rank or 0))
    return list(_ranked[operation, device])


def select(operation: str, device: str, *args, **parameters) -> Kernel:
    """The kernel that the engine runs for this call, by the rule stated above.

    Raises
    ------
    KernelError
        If no candidate supports the call; the message has a reason for each.
    DeviceError
        If the operation has no kernel at all on this device.
    """
    parameters = as_taken(operation, args, parameters)
    key = kept_choices.key_of(operation, device, args, parameters)
    return kept_choices.find(key) or kept_choices.keep(key, _select(operation, device, args, parameters))


def _select(operation: str, device: str, args: tuple, parameters: dict) -> Kernel:
    algorithms = _algorithms(operation, device)
    if not algorithms:
        raise DeviceError(f"{operation} has no kernel on device {device!r}")
    wanted = first_setting(operation, operation.partition(".")[0])
    if wanted:
        candidates = [algorithms[name] for name in wanted if name in algorithms]
    else:
        candidates = ranked(operation, device)
    refusals, equals = [], []
    for candidate in candidates:
        if equals and candidate.rank != equals[0].rank:
            break
        refusal = candidate.refusal(*args, **parameters)
        if refusal is not None:
            refusals.append(f"{candidate.algorithm}: {refusal}")
        elif wanted:
            return candidate
        else:
            equals.append(candidate)
    if len(equals) > 1:
        choose = _by_measurement if setting("tuning") else least_predicted
        return choose(equals, args, parameters)
    if equals:
        return equals[0]
    dtype = getattr(args[0], "dtype", None) if args else None
    if dtype is not None and not any(entry.takes(dtype) for entry in algorithms.values()):
        taken = dict.fromkeys(name for entry in algorithms.values() for name in entry._in_words())
        raise KernelError(
            f"{operation} takes {' or '.join(taken)} on {device!r}, not {dtype}; "
            "convert the data with .astype('float32')"
        )
    asked = f"asked for: {', '.join(wanted)}; " if wanted else ""
    raise KernelError(
        f"no kernel for {operation} on {device!r} ({asked}"
        f"registered: {', '.join(sorted(algorithms))})" + "".join(f"; {r}" for r in refusals)
    )


def least_predicted(candidates: list[Kernel], args: tuple, parameters: dict) -> Kernel:
    """The kernel with the shortest predicted time for the call, the first of equals."""
    return min(candidates, key=lambda entry: entry.predicted_seconds(*args, **parameters))


Chooser = Callable[[list[Kernel], tuple, dict], Kernel]
_by_measurement: Chooser = least_predicted


def set_measured_choice(choose: Chooser) -> None:
    """Set who chooses among kernels of the same rank while the setting ``tuning`` is on."""
    global _by_measurement
    _by_measurement = choose


def run(operation: str, device: str, *args, **parameters):
    """Select a kernel for the call and run it; on ``meta``, where there are none, describe its results."""
    parameters = {name: plain_number(value) for name, value in as_taken(operation, args, parameters).items()}
    if device == META:
        return stand_ins_of(operation, args, parameters)
    with number_kept():
        chosen = select(operation, device, *args, **parameters)
        result = chosen.function(*args, **parameters)
        hear_call(chosen, args, result)
        return result


class use(using):
    """Choose algorithms by name, from now on or for a ``with`` block: `minialex.using` for kernels only.

    ``use(conv2d="reference")`` holds for every direction of the operation, and
    ``use({"conv2d.forward": "reference"})`` for one. Several names are tried in order:
    ``use(conv2d=("winograd", "im2col"))``. None restores the default choice. Without a ``with``
    it holds for the process.

    Raises
    ------
    KernelError
        If no kernel of the operation, on any device, has one of the names.
    """

    def __init__(self, choice: Mapping[str, str | Iterable[str] | None] | None = None, /, **choices):
        given = {name: _algorithms_of(name, names) for name, names in {**(choice or {}), **choices}.items()}
        super().__init__(given)
        self._replaced = replace_for_process(self._given)

    def __enter__(self) -> use:
        replace_for_process(self._replaced)
        super().__enter__()
        return self

    def __call__(self, function: Callable):
        # The decorated function runs in a block; nothing holds for the process.
        replace_for_process(self._replaced)
        return using(self._given)(function)


def _algorithms_of(operation: str, names: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """Check a choice of algorithms for an operation or one of its directions."""
    if names is None:
        return None
    known = {entry.algorithm for entry in list_kernels(operation)}
    if not known:
        raise KernelError(
            f"using: unknown operation {operation!r}; there are: {', '.join(_operations())}; "
            f"and the settings {', '.join(settings())}"
        )
    names = (names,) if isinstance(names, str) else names
    if not isinstance(names, tuple | list) or not names or not all(isinstance(name, str) for name in names):
        raise KernelError(
            f"using: {operation} must be an algorithm, or several in a tuple, not {in_words(names)}; "
            f"there are: {', '.join(sorted(known))}"
        )
    for name in names:
        if name not in known:
            raise KernelError(
                f"using: {operation} has no algorithm {name!r}; {renamed(name, known)}"
                f"there are: {', '.join(sorted(known))}"
            )
    return tuple(names)


declare_others(_algorithms_of)


def _operations() -> list[str]:
    return sorted({operation.split(".")[0] for operation, _ in _kernels})
