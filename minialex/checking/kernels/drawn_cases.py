"""Cases for kernels that support few calls: drawn from what they say of themselves, their `domain`.

The calls are those that `minialex.checking.testing.strategies` draws for the tests. Which ones they are
follows from a seed; and a case can be written down (`case_code`), whoever drew it.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from minialex.checking.kernels.cases import called_first
from minialex.checking.reproduction import written
from minialex.checking.testing.calls import Call, kernel_calls
from minialex.errors import KernelError
from minialex.kernels import Kernel

# A kernel that states no domain may support only one call in a hundred.
_ROUNDS, _IN_A_ROUND = 20, 25
_ROUNDS_BEFORE_USUAL = 4
# The most elements of a small call, each of which is moved: larger calls are tried last.
_SMALL = 150


def case_code(call: Call) -> list[str]:
    """Lines of Python that make ``case`` again, given NumPy as np."""
    lines, (arrays, parameters) = written(call.arrays, call.parameters)
    return [
        "from minialex.checking.kernels.cases import case_of",
        "from minialex.checking.testing.calls import Call",
        *lines,
        f"case = case_of(Call({call.operation!r}, {arrays}, {parameters}))",
    ]


def drawn_calls(root: str, kernels: list[Kernel], seed: int) -> Iterator[Call]:
    """Calls of an operation that some of its kernels, of one algorithm, are likely to support.

    Parameters
    ----------
    root : str
        The operation, such as ``"conv2d"``.
    kernels : list of Kernel
        Its directions. The calls are drawn from the domains that they state.
    seed : int

    Yields
    ------
    Call
        Small ones as they are drawn, usual ones among them, then the others, from small to large; none has
        empty arrays.

    Raises
    ------
    KernelError
        If calls of the operation cannot be drawn; the message says why.
    """
    try:
        from minialex.checking.testing.strategies import operations as drawable
    except ImportError:
        raise KernelError("others are drawn by Hypothesis: pip install hypothesis") from None
    names = [name for name in called_first(root) if name in drawable()]
    # In the calls of another direction a kernel may have no part; gradients have one in all of them.
    names = [name for name in names if name in {entry.operation for entry in kernels}] or names
    if not names:
        raise KernelError(
            f"{root} has no examples to draw; register cases that it supports with minialex.checking.cases_of"
        )
    # The same domain is often stated by each direction.
    stating = {str(_domain(entry)): entry for entry in kernels if entry.domain is not None}
    large = []
    for number in range(_ROUNDS):
        if number == _ROUNDS_BEFORE_USUAL:
            yield from _in_turns(usual_calls(name, seed) for name in names)
        for entry in list(stating.values()) or [None]:
            for call in _in_turns(draw(name, entry, _ROUNDS * seed + number) for name in names):
                if not all(a is None or a.size for a in call.arrays):
                    continue
                if call.elements <= _SMALL:
                    yield call
                else:
                    large.append(call)
    yield from sorted(large, key=lambda call: call.elements)


def _in_turns(lists: Iterable[list[Call]]) -> Iterator[Call]:
    """The first call of each list, then the second of each, and so on."""
    return filter(None, itertools.chain.from_iterable(itertools.zip_longest(*lists)))


def _domain(kernel: Kernel) -> dict:
    try:
        return dict(kernel.domain())
    except Exception as error:
        raise KernelError(f"its domain raises {type(error).__name__}: {error}") from error


def usual_calls(operation: str, seed: int) -> list[Call]:
    """Convolutions and poolings as networks have them, in any order.

    What is drawn has all parameters unusual at once, so that a kernel for one kind of call may never meet it.
    """
    calls = list(kernel_calls(operation, "usual", np.float64, seed))
    np.random.default_rng(seed).shuffle(calls)
    return calls


def draw(operation: str, kernel: Kernel | None, seed: int, dtype=np.float64) -> list[Call]:
    """Some two dozen calls of an operation, from a kernel's domain if it states one.

    Raises
    ------
    KernelError
        If its domain cannot be understood.
    """
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as from_seed

    from minialex.checking.testing.strategies import call

    found: list[Call] = []
    try:
        strategy = call(operation, dtype, kernel)
    except ValueError as error:
        raise KernelError(str(error)) from None

    @from_seed(seed)
    @settings(
        max_examples=_IN_A_ROUND,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(drawn):
        found.append(drawn)

    with _storage_elsewhere():
        collect()
    # The first is the smallest possible, in which few mistakes show.
    return found[1:]


@contextmanager
def _storage_elsewhere() -> Iterator[None]:
    """Let Hypothesis put its folder ``.hypothesis`` elsewhere than in the user's folder."""
    from hypothesis.configuration import set_hypothesis_home_dir

    with tempfile.TemporaryDirectory() as folder:
        set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            # Back to its default, or to what its environment variable says.
            set_hypothesis_home_dir(None)
