"""Which registered kernels a computation runs, and which calls they refuse.

That a check passes says something about a kernel only if the kernel took part in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from minialex.config import using
from minialex.errors import KernelError
from minialex.kernels import Kernel, kernel, unregister

_SUFFIX = ", watched"


class KernelRuns:
    """Hold the engine to some kernels in a ``with`` block, and keep account of them.

    Within the block each kernel stands in the registry a second time, in a form that notes what is done with
    it; the engine takes that one, and nothing else, for the kernel's operation on its device.

    Parameters
    ----------
    kernels : iterable of Kernel
        No two of the same operation.

    Attributes
    ----------
    run : Counter
        How often each operation's kernel was run to its end.
    refusals : Counter
        How often an operation's kernel refused a call, and for what reason: pairs of the two.
    failure : KernelError or None
        The last one that was raised inside a kernel that had not refused the call.
    """

    def __init__(self, kernels: Iterable[Kernel]):
        self.kernels = tuple(kernels)
        self.run: Counter[str] = Counter()
        self.refusals: Counter[tuple[str, str]] = Counter()
        self.failure: KernelError | None = None

    def __enter__(self) -> KernelRuns:
        names = {}
        for entry in self.kernels:
            names[entry.operation] = entry.algorithm + _SUFFIX
            kernel(
                entry.operation,
                algo=names[entry.operation],
                device=entry.device,
                supports=entry.supports and self._noting_refusals(entry),
                workspace=entry.workspace,
                dtypes=entry.dtypes,
                error=entry.error,
                kinds=entry.kinds,
            )(self._noting_runs(entry))
        self._use = using(names)
        self._use.__enter__()
        return self

    def __exit__(self, *_) -> None:
        self._use.__exit__()
        for entry in self.kernels:
            unregister(entry.operation, algo=entry.algorithm + _SUFFIX, device=entry.device)

    def _noting_runs(self, entry: Kernel):
        def run(*args, **parameters):
            try:
                results = entry.function(*args, **parameters)
            except KernelError as error:
                self.failure = error
                raise
            self.run[entry.operation] += 1
            return results

        return run

    def _noting_refusals(self, entry: Kernel):
        def supports(*args, **parameters):
            answer = entry.supports(*args, **parameters)
            if answer is not True:
                self.refusals[entry.operation, answer or "not supported"] += 1
            return answer

        return supports
