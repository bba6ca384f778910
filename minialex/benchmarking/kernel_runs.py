"""Every kernel of an operation: validated against its definition, then timed beside the others.

The same arrays are used again at every call: what fits into a cache is in it. On the processor the limit
takes its turn, too: a share of it compares what the machine gave to both in the same minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from minialex.benchmarking.agreement import Error, error_of
from minialex.benchmarking.limits import Limits
from minialex.benchmarking.timing import Timing, Turns, interleave
from minialex.devices import copy_to_device, to_device_array, to_numpy
from minialex.errors import KernelError
from minialex.kernels import Kernel, find_kernel, list_kernels
from minialex.kernels.contract.call import as_taken
from minialex.kernels.contract.claims import renamed
from minialex.kernels.contract.examples import Example
from minialex.kernels.contract.registry import REFERENCE

TOLERANCE = {"float32": Error(1e-4, 1e-3), "float64": Error(1e-11, 1e-10)}
"""Beyond these a kernel is wrong and is not timed. They leave room for sums of a million terms in any order;
what each kernel reaches is in its row."""

_REFERENCE_STEPS = 200_000
"""Up to this many products or elements the reference, a Python loop, judges: some seconds."""

_JUDGES = ("im2col", "blas", "plain")
"""Beyond it one of these does, in float64; the tests hold them to the reference on small shapes."""

_LIMIT = "the machine's limit"
"""What takes its turn among the kernels."""


@dataclass(frozen=True)
class KernelResult:
    """What became of one kernel on one workload."""

    workload: Example
    algorithm: str
    # "timed", "wrong", "failed" (it raised) or "refused" (it does not support the call), and why not timed.
    status: str
    reason: str = ""
    # The algorithm that it was compared with, in float64.
    judge: str = ""
    error: Error | None = None
    # The bytes beyond its results, where it tells.
    workspace: int | None = None
    # The bytes of its arguments and results: what any kernel must move at least once.
    moved: int = 0
    timing: Timing | None = None
    # The median seconds of the machine's limit for as much work, where it was timed in turns with the kernel.
    limit: float | None = None

    def to_dict(self, limits: Limits, dtype: str) -> dict:
        """Everything, and the rates that follow, in types that JSON has."""
        answer = {
            "operation": self.workload.operation,
            "workload": self.workload.name,
            "shapes": [None if shape is None else list(shape) for shape in self.workload.shapes],
            "parameters": {key: repr(value) for key, value in self.workload.parameters.items()},
            "algorithm": self.algorithm,
            "status": self.status,
            "reason": self.reason,
            "judge": self.judge,
            "error": self.error and self.error.to_dict(),
            "workspace_bytes": self.workspace,
            "operations": 2 * self.workload.products,
            "moved_bytes": self.moved,
            "timing": self.timing and self.timing.to_dict(),
        }
        if self.timing is not None:
            seconds = self.timing.median
            answer["gflops"] = 2 * self.workload.products / seconds / 1e9
            answer["gb_per_s"] = self.moved / seconds / 1e9
            limit = self.limit
            if limit is None:
                limit = limits.seconds(2 * self.workload.products, self.moved, dtype)
            answer["limit_seconds"], answer["share_of_limit"] = limit, limit / seconds
        return answer


def choose_kernels(
    operation: str, algorithms: Sequence[str], with_reference: bool, device: str = "cpu"
) -> list[Kernel]:
    """The kernels of one direction to run on a device: all, or those with the names given.

    Raises
    ------
    KernelError
        If no kernel of the operation, in any direction, has one of the names.
    """
    known = {entry.algorithm for entry in list_kernels(operation.split(".")[0], device)}
    for name in algorithms:
        if name not in known:
            raise KernelError(
                f"{operation.split('.')[0]} has no algorithm {name!r}; {renamed(name, known)}"
                f"there are: {', '.join(sorted(known))}"
            )
    return [
        entry
        for entry in list_kernels(operation, device)
        if (entry.algorithm in algorithms if algorithms else with_reference or entry.algorithm != REFERENCE)
    ]


def run_workload(
    workload: Example, kernels: Sequence[Kernel], dtype: str, turns: Turns, limits: Limits | None = None
) -> list[KernelResult]:
    """Validate some kernels on one workload and time those that are right, in turns.

    Each gets arrays on its own device. With the `limits` of the processor, the one that binds takes its turn.
    """
    arrays = workload.arrays(np.dtype(dtype))
    judge, expected = _truth(workload, arrays)
    # The truth is wider than what a kernel gives.
    given = [each.size * _kept_dtype(each, dtype).itemsize for each in expected]
    moved = sum(given) + sum(a.nbytes for a in arrays if a is not None)
    results: dict[str, KernelResult] = {}
    ready: dict[str, Callable[[], object]] = {}
    for entry in kernels:
        name, workspace = entry.algorithm, None
        status, reason, error = _validated(entry, workload, arrays, expected, dtype)
        if status == "timed":
            ready[name] = _call(entry, workload, arrays)
            if entry.workspace is not None:
                workspace = int(entry.workspace_bytes(*arrays, **workload.parameters))
        results[name] = KernelResult(workload, name, status, reason, judge, error, workspace, moved)
    del expected
    roof = limits.roof(2 * workload.products, moved, dtype) if limits is not None and ready else None
    if roof is not None:
        ready[_LIMIT] = roof.run
    timings = interleave(ready, turns)
    limit = timings.pop(_LIMIT).median * roof.calls if roof is not None else None
    for name, timing in timings.items():
        results[name] = replace(results[name], timing=timing, limit=limit)
    return list(results.values())


def _truth(workload: Example, arrays) -> tuple[str, list[np.ndarray]]:
    """What a kernel should give, computed in float64, and by whom."""
    small = max(workload.elements, workload.products) <= _REFERENCE_STEPS
    # Its loops are quadratic in the elements of a feature.
    if workload.operation == "batch_norm.backward":
        small = small and workload.elements <= _REFERENCE_STEPS // 100
    known = {entry.algorithm for entry in list_kernels(workload.operation, "cpu")}
    judge = REFERENCE if small else next((name for name in _JUDGES if name in known), REFERENCE)
    wide = [a.astype(np.float64) if a is not None and a.dtype.kind == "f" else a for a in arrays]
    return judge, _outcome(find_kernel(workload.operation, algo=judge), workload, wide)


def _outcome(entry: Kernel, workload: Example, arrays) -> list[np.ndarray]:
    """The arrays that a call gives: its results and, of the inputs, those that it changes."""
    results = entry(*arrays, **workload.parameters)
    results = results if isinstance(results, tuple) else (results,)
    changed = (arrays[i] for i in workload.changes)
    return [to_numpy(each) for each in (*results, *changed) if each is not None]


def _kept_dtype(right: np.ndarray, dtype: str) -> np.dtype:
    """The dtype in which a kernel gives a result."""
    return np.dtype(dtype) if right.dtype.kind == "f" else right.dtype


def _validated(
    entry: Kernel, workload: Example, arrays, expected, dtype: str
) -> tuple[str, str, Error | None]:
    """The status, the reason and the error of a kernel that was called once."""
    refusal = entry.refusal(*arrays, **workload.parameters)
    if refusal is not None:
        return "refused", refusal, None
    given = [None if a is None else copy_to_device(a, entry.device) for a in arrays]
    try:
        actual = _outcome(entry, workload, given)
    except Exception as error:
        # The kernel may be anybody's; its row says what it raised.
        return "failed", f"{type(error).__name__}: {error}".splitlines()[0], None
    for i, (array, before) in enumerate(zip(given, arrays, strict=True)):
        if array is None or i in workload.changes:
            continue
        if not np.array_equal(to_numpy(array), before):
            return "wrong", f"it changes its argument {i}", None
    return _compared(actual, expected, dtype)


def _compared(actual, expected, dtype: str) -> tuple[str, str, Error | None]:
    """The status, the reason and the error of what a kernel gave."""
    if len(actual) != len(expected):
        return "wrong", f"it gives {len(actual)} results instead of {len(expected)}", None
    largest = Error(0.0, 0.0)
    for i, (mine, right) in enumerate(zip(actual, expected, strict=True)):
        kept = _kept_dtype(right, dtype)
        if mine.dtype != kept or mine.shape != right.shape:
            return "wrong", f"result {i} is {mine.dtype} {mine.shape}, not {kept} {right.shape}", None
        if right.dtype.kind != "f":
            if not np.array_equal(mine, right):
                differing = int((mine != right).sum())
                return "wrong", f"{differing:,} of {right.size:,} elements of result {i} differ", None
            continue
        if not np.isfinite(mine).all():
            return "wrong", f"result {i} holds NaN or infinity", Error(np.inf, np.inf)
        error = error_of(mine, right)
        largest = Error(max(largest.norm, error.norm), max(largest.worst, error.worst))
    allowed = TOLERANCE[dtype]
    if not largest.within(allowed.norm, allowed.worst):
        text = (
            f"error {largest.norm:.1e} by norm, {largest.worst:.1e} worst element "
            f"(allowed: {allowed.norm:.0e}, {allowed.worst:.0e})"
        )
        return "wrong", text, largest
    return "timed", "", largest


def _call(entry: Kernel, workload: Example, arrays) -> Callable[[], object]:
    """The call that is timed, on arrays of its own where it changes them or is on another device."""
    own = [
        None if a is None else (copy_to_device if i in workload.changes else to_device_array)(a, entry.device)
        for i, a in enumerate(arrays)
    ]
    # As the engine does: it makes the object for a call once.
    taken = as_taken(workload.operation, tuple(own), workload.parameters)
    return lambda: entry(*own, **taken)
