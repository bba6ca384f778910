"""Cases for kernels that support few calls: drawn from what they say of themselves, their `domain`.

The calls are those that `minialex.checking.testing.strategies` draws for the tests. Which ones they are
follows from a seed; and a case can be written down (`case_code`), whoever drew it.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from minialex import functional as F
from minialex import operations
from minialex.checking.kernels.cases import Case
from minialex.checking.reproduction import written
from minialex.checking.testing.values import distinct_values
from minialex.errors import KernelError
from minialex.kernels import Kernel
from minialex.random import seeded
from minialex.tensor import Tensor

if TYPE_CHECKING:
    from minialex.checking.testing.strategies import Call

# A kernel that states no domain may support only one call in a hundred.
_ROUNDS, _IN_A_ROUND = 20, 25
_ROUNDS_BEFORE_USUAL = 4
# The most elements of a small call, each of which is moved: larger calls are tried last.
_SMALL = 150


def _constant(array: np.ndarray, like: Tensor) -> Tensor:
    return Tensor(np.array(array, like.dtype), device=like.device)


def _batch_norm(arrays, parameters) -> Case:
    def normalise(x, weight, bias):
        return F.batch_norm(x, None, None, weight, bias, training=True, **parameters)

    return Case("", normalise, arrays)


def _batch_norm_evaluate(arrays, parameters) -> Case:
    *differentiated, mean, var = arrays

    def evaluate(x, weight, bias):
        return F.batch_norm(x, _constant(mean, x), _constant(var, x), weight, bias, **parameters)

    return Case("", evaluate, tuple(differentiated))


def _cross_entropy(arrays, parameters) -> Case:
    x, target = arrays
    return Case("", lambda x: F.cross_entropy(x, _constant(target, x), reduction="none"), (x,))


def _dropout(arrays, parameters) -> Case:
    def dropout(x):
        with seeded(parameters["seed"]):
            return F.dropout(x, parameters["p"])

    return Case("", dropout, arrays)


def _index_add(arrays, parameters) -> Case:
    # It is the gradient of indexing: elements that are named several times are added up.
    x = np.random.default_rng(arrays[0].size).standard_normal(parameters["shape"])
    return Case("", lambda x: x[parameters["index"]], (x,))


# Functions of tensors whose arguments are not those of the kernel.
_ADAPTED: dict[str, Callable] = {
    "batch_norm.forward": _batch_norm,
    "batch_norm.evaluate": _batch_norm_evaluate,
    "cross_entropy.forward": _cross_entropy,
    "dropout.forward": _dropout,
    "index_add.forward": _index_add,
}


def case_of(call: Call) -> Case:
    """The differentiable function that makes a kernel's call, and values for it.

    Raises
    ------
    KernelError
        If there is no function of tensors for the call's operation.
    """
    arrays = tuple(np.array(a, order="C") for a in call.arrays if a is not None)
    root, direction = call.operation.split(".")
    adapted = _ADAPTED.get(call.operation)
    function = getattr(operations, root, None) if direction == "forward" else None
    if adapted is None and function is None:
        raise KernelError(f"no function of tensors is known that calls {call.operation}")
    if adapted is None:
        case = Case("", lambda *tensors: function(*tensors, **call.parameters), arrays)
    else:
        case = adapted(arrays, call.parameters)
    shapes = ", ".join(str(a.shape) for a in case.arrays)
    return Case(f"drawn for inputs {shapes}", case.function, case.arrays)


def case_code(call: Call) -> list[str]:
    """Lines of Python that make ``case`` again, given NumPy as np."""
    lines, (arrays, parameters) = written(call.arrays, call.parameters)
    return [
        "from minialex.checking.kernels.drawn_cases import case_of",
        "from minialex.checking.testing.strategies import Call",
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
    names = [name for name in (f"{root}.forward", f"{root}.evaluate") if name in drawable()]
    if not names:
        raise KernelError(
            f"minialex.checking.testing.strategies draws no calls of {root}; register cases that it "
            "supports with minialex.checking.cases_of"
        )
    # The same domain is often stated by each direction.
    stating = {str(_domain(entry)): entry for entry in kernels if entry.domain is not None}
    large = []
    for number in range(_ROUNDS):
        if number == _ROUNDS_BEFORE_USUAL:
            yield from usual_calls(root, seed)
        for name in names:
            for entry in list(stating.values()) or [None]:
                for call in draw(name, entry, _ROUNDS * seed + number):
                    if not all(a is None or a.size for a in call.arrays):
                        continue
                    if _elements(call) <= _SMALL:
                        yield call
                    else:
                        large.append(call)
    yield from sorted(large, key=_elements)


def _domain(kernel: Kernel) -> dict:
    try:
        return dict(kernel.domain())
    except Exception as error:
        raise KernelError(f"its domain raises {type(error).__name__}: {error}") from error


def usual_calls(root: str, seed: int) -> list[Call]:
    """Convolutions and poolings as networks have them, in any order.

    What is drawn has all parameters unusual at once, so that a kernel for one kind of call may never meet it.
    """
    from minialex.checking.testing.strategies import Call

    random = np.random.default_rng(seed)
    calls = []
    if root == "conv2d":
        for window, stride, padded, dilation, groups, bias in itertools.product(
            (1, 2, 3, 4, 5, 7, 11), (1, 2, 3, 4), (False, True), (1, 2), (1, 2, 4), (False, True)
        ):
            few = 1 if window > 5 else 2
            padding = (dilation * (window - 1) // 2 if padded else 0,) * 2
            size = max(1, dilation * (window - 1) + 1 + stride - sum(padding))
            x, weight = (1, few * groups, size, size + 1), (2 * groups, few, window, window)
            arrays = (random.standard_normal(x), random.standard_normal(weight))
            arrays += (random.standard_normal(weight[0]) if bias else None,)
            parameters = {"stride": (stride,) * 2, "padding": (padding,) * 2, "dilation": (dilation,) * 2}
            calls.append(Call("conv2d.forward", arrays, parameters | {"groups": groups}))
    elif root in ("max_pool2d", "avg_pool2d"):
        own = {"dilation": ((1, 1), (2, 2))} if root == "max_pool2d" else {"count_include_pad": (True, False)}
        ((name, values),) = own.items()
        for window, stride, padded, ceil_mode, value in itertools.product(
            (2, 3, 4, 5), (1, 2, 3), (False, True), (False, True), values
        ):
            shape = 1, 2, 2 * window + 1, 2 * window
            parameters = {"kernel_size": (window,) * 2, "stride": (stride,) * 2}
            parameters |= {"padding": ((window // 2 if padded else 0,) * 2,) * 2, name: value}
            array = distinct_values(random, shape)
            calls.append(Call(f"{root}.forward", (array,), parameters | {"ceil_mode": ceil_mode}))
    random.shuffle(calls)
    return calls


def _elements(call: Call) -> int:
    return sum(a.size for a in call.arrays if a is not None)


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
