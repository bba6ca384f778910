"""Example calls: what an operation's kernels are tested and timed with, from one source.

Each operation's folder has a file ``examples.py``. A decorated function says which arrays a call takes, for
each direction, and the decorator says which calls there are:

    @examples("relu.forward", "relu.backward", small=[case((3, 4))], drawn=...)
    def relu(x):
        yield Example("relu.forward", (distinct(x),))
        yield Example("relu.backward", (normal(x), ...))

    small     a few numbers each: the gradient checker perturbs every one
    blocks    fewer and larger: no multiples of a warp or a tile, some below one thread block, some above
              several; the race checker looks at each access
    usual     convolutions and poolings as networks have them, in all combinations
    awkward   prime lengths, a batch of one, dilation: what benchmarks time besides the layers of networks
    drawn     any, as a chooser (`Choices`) draws them: Hypothesis, in the tests and in the checking commands

A plug-in with an operation of its own brings its examples in the same way.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, Protocol

import numpy as np

from minialex.checks import in_words, is_int
from minialex.errors import KernelError
from minialex.kernels.contract.call import takes_call
from minialex.kernels.contract.registry import Sizes, list_kernels
from minialex.kernels.contract.shapes import Shape
from minialex.kernels.contract.values import distinct_values

LENGTHS = ((1,), (777,), (3, 5, 7), (2, 3, 4, 5))
"""Less than a warp, several blocks of which the last is partly empty, and more than one axis."""
PRIMES, PLANE, LONG = (3, 17, 37, 41), (7, 13, 101, 3), (1_000_003,)
"""Shapes to time: images of prime lengths, long and narrow ones, and a million elements."""


class Filling:
    """Fills the arrays of one call, in order.

    Attributes
    ----------
    generator : numpy.random.Generator
    dtype : float32 or float64
    arrays : list of array or None
        Those before the one being filled.
    """

    def __init__(self, generator: np.random.Generator, dtype):
        self.generator = generator
        self.dtype = np.dtype(dtype)
        self.arrays: list[np.ndarray | None] = []


Fill = Callable[[Filling, Shape], np.ndarray]


@dataclass(frozen=True)
class Operand:
    """One array of a call: its shape, and how it is filled; of the call's float dtype unless it names one."""

    shape: Shape
    fill: Fill
    dtype: np.dtype | None = None


def normal(shape: Shape) -> Operand:
    """Standard normal values."""
    return Operand(shape, _normal)


def _normal(filling: Filling, shape: Shape) -> np.ndarray:
    return np.asarray(filling.generator.standard_normal(shape, filling.dtype))


def logits(shape: Shape) -> Operand:
    """Normal values with a standard deviation of 3: some classes are much more likely than others."""
    return Operand(shape, lambda filling, shape: np.asarray(3 * _normal(filling, shape)))


def positive(shape: Shape) -> Operand:
    """Values from 0.5 to 2."""
    return Operand(shape, _positive)


def _positive(filling: Filling, shape: Shape) -> np.ndarray:
    return np.asarray(filling.dtype.type(0.5) + filling.dtype.type(1.5) * _uniform(filling, shape))


def _uniform(filling: Filling, shape: Shape) -> np.ndarray:
    return np.asarray(filling.generator.random(shape, filling.dtype))


def weights_of_classes(shape: Shape) -> Operand:
    """Values from 0 to 1: targets of cross-entropy, which need not add up to 1."""
    return Operand(shape, _uniform)


def divisors(shape: Shape) -> Operand:
    """Values from 0.5 to 2, some of them negative."""

    def fill(filling: Filling, shape: Shape) -> np.ndarray:
        signs = filling.generator.choice(np.array([-1, 1], filling.dtype), shape)
        return np.asarray(_positive(filling, shape) * signs)

    return Operand(shape, fill)


def distinct(shape: Shape) -> Operand:
    """Values without ties and away from 0 (`distinct_values`); no two arrays of a call share a value."""

    def fill(filling: Filling, shape: Shape) -> np.ndarray:
        values = distinct_values(filling.generator, shape, filling.dtype)
        # The values of one array lie a quarter apart.
        return np.asarray(values + filling.dtype.type(len(filling.arrays) / 32))

    return Operand(shape, fill)


@dataclass(frozen=True)
class Example:
    """One call of an operation's kernels, its arrays not yet filled.

    Attributes
    ----------
    operation : str
        Such as ``"conv2d.forward"``.
    operands : tuple of Operand or None
        The positional arguments.
    parameters : dict
        The keyword arguments, in the canonical form that the operation's kernels take.
    products : int
        The multiplications in the definition; 0 if it is not a sum of products.
    changes : tuple of int
        The positions of the arrays that kernels of the operation change in place.
    name : str
        What is particular about it, or the layer that makes the call.
    """

    operation: str
    operands: tuple[Operand | None, ...]
    parameters: dict = field(default_factory=dict)
    products: int = 0
    changes: tuple[int, ...] = ()
    name: str = ""

    def arrays(self, dtype, generator: np.random.Generator | int = 0) -> tuple[np.ndarray | None, ...]:
        """The arrays, filled; the same for the same seed."""
        filling = Filling(np.random.default_rng(generator), dtype)
        for operand in self.operands:
            filling.arrays.append(None if operand is None else operand.fill(filling, operand.shape))
        return tuple(filling.arrays)

    def undefined(self, dtype=np.float32) -> tuple[np.ndarray | None, ...]:
        """Arrays of the same shapes and types, uninitialised, so that no memory is touched."""
        return tuple(None if o is None else np.empty(o.shape, o.dtype or dtype) for o in self.operands)

    @property
    def shapes(self) -> tuple[Shape | None, ...]:
        """The shapes of the arguments."""
        return tuple(None if operand is None else operand.shape for operand in self.operands)

    @property
    def elements(self) -> int:
        """The elements of the arguments."""
        return sum(math.prod(shape) for shape in self.shapes if shape is not None)

    def __str__(self) -> str:
        return f"{self.operation}({', '.join(map(str, self.shapes))})"


class Choices(Protocol):
    """Who draws a call, one choice after another."""

    def one_of(self, values: Sequence) -> Any:
        """One of these; the first is the simplest."""
        ...

    def between(self, low: int, high: int) -> int:
        """An int from `low` to `high`, both included."""
        ...

    def shape(self, min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4) -> Shape:
        """A shape of any rank."""
        ...

    def broadcasting(self) -> tuple[Shape, Shape]:
        """Two shapes that broadcast, in any of NumPy's ways."""
        ...

    def index(self, shape: Shape) -> Any:
        """An index that fits an array of this shape."""
        ...

    def reject(self) -> Any:
        """Give up: the choices so far lead to no valid call."""
        ...


ANY = Sizes()


def length(choose: Choices, sizes: Sizes = ANY) -> int:
    """A length in a kernel's domain: one of the shortest, or close to its grain or to twice its grain."""
    drawn = [n + max(0, sizes.least - 1) for n in (1, 2, 3, 1, 2, 3, 4)] + [sizes.least]
    if sizes.grain > 1:
        drawn += [n for i in (1, 2) for n in (i * sizes.grain - 1, i * sizes.grain, i * sizes.grain + 1)]
    most = max(drawn) if sizes.most is None else sizes.most
    return choose.one_of([n for n in drawn if sizes.least <= n <= most])


def two(choose: Choices, low: int, high: int) -> tuple[int, int]:
    """Two ints from `low` to `high`."""
    return choose.between(low, high), choose.between(low, high)


@dataclass(frozen=True)
class Arguments:
    """The arguments of an example function."""

    arguments: tuple
    options: dict


def case(*arguments, **options) -> Arguments:
    """One case of an example function: its arguments."""
    return Arguments(arguments, options)


Cases = Mapping[str, Arguments] | Sequence[Arguments]


@dataclass(frozen=True)
class _Family:
    """An example function, with its cases of each kind."""

    build: Callable[..., Iterable[Example]]
    cases: dict[str, Cases | Callable[[], Cases]]
    drawn: Callable[..., Arguments] | None


_families: dict[str, _Family] = {}
_later: list[Callable[[], None]] = []


def register_later(load: Callable[[], None]) -> None:
    """Call `load`, which registers examples, when examples are first asked for."""
    _later.append(load)


def examples(
    *operations: str,
    small: Cases | Callable[[], Cases] = (),
    blocks: Cases | Callable[[], Cases] = (),
    usual: Cases | Callable[[], Cases] = (),
    awkward: Cases | Callable[[], Cases] = (),
    drawn: Callable[..., Arguments] | None = None,
):
    """Register the decorated function as the source of these operations' examples.

    Parameters
    ----------
    *operations : str
        What the function yields examples of, such as ``"conv2d.forward"``.
    small, blocks, usual, awkward : sequence or mapping of Arguments, or callable, optional
        The cases of that kind, by name if they have names; or a function that makes them.
    drawn : callable, optional
        Takes a chooser (`Choices`), and as keywords what kernels state as their domain; returns a case.
    """
    cases = {"small": small, "blocks": blocks, "usual": usual, "awkward": awkward}

    def register(build: Callable[..., Iterable[Example]]) -> Callable[..., Iterable[Example]]:
        _families.update(dict.fromkeys(operations, _Family(build, cases, drawn)))
        return build

    return register


def operations_with_examples() -> list[str]:
    """The operations that have examples, such as ``"conv2d.forward"``."""
    _load()
    return sorted(_families)


def example_calls(operation: str, kind: str) -> Iterator[Example]:
    """The examples of one operation, such as ``"conv2d.forward"``, of one kind, such as ``"small"``.

    Raises
    ------
    KernelError
        If the operation has no examples, or one is not as it must be.
    """
    family = _family(operation)
    cases = family.cases[kind]
    cases = cases() if callable(cases) else cases
    if isinstance(cases, str) or not isinstance(cases, Mapping | Sequence):
        raise KernelError(
            f"examples of {operation}: {kind} must be a sequence of case(...), or a mapping of them by name, "
            f"not {in_words(cases)}"
        )
    if not isinstance(cases, Mapping):
        cases = {_default_name(each): each for each in cases}
    for name, each in cases.items():
        for example in _built(operation, f"case {name!r}", family, each):
            yield replace(example, name=name)


def _default_name(each: object) -> str:
    return ", ".join(map(str, each.arguments)) if isinstance(each, Arguments) else str(each)


def _built(operation: str, where: str, family: _Family, each: object) -> list[Example]:
    """The examples of an operation that a case makes, checked.

    Raises
    ------
    KernelError
        If there are none or they are not as they must be; the message names the operation and the case.
    """

    def refuse(what: str) -> NoReturn:
        raise KernelError(f"examples of {operation}, {where}: {what}")

    if not isinstance(each, Arguments):
        refuse(f"it must be case(...), not {in_words(each)}")
    if (reason := _misfit(family.build, each.arguments, each.options)) is not None:
        refuse(f"{_name_of(family.build)} does not take its arguments: {reason}")
    found = family.build(*each.arguments, **each.options)
    if not isinstance(found, Iterable):
        refuse(f"{_name_of(family.build)} must yield examples, not return {in_words(found)}")
    kernels = list_kernels(operation, "cpu")
    chosen = []
    for example in found:
        if not isinstance(example, Example):
            refuse(f"{_name_of(family.build)} must yield Example(...), not {in_words(example)}")
        if example.operation != operation:
            continue
        _require_operands(example, refuse)
        if kernels:
            _require_fit(example, kernels[0].function, refuse)
        chosen.append(example)
    if not chosen:
        refuse(f"{_name_of(family.build)} yields no Example of {operation}")
    return chosen


def _require_operands(example: Example, refuse: Callable[[str], NoReturn]) -> None:
    if not isinstance(example.operands, tuple):
        given = "an Operand" if isinstance(example.operands, Operand) else in_words(example.operands)
        refuse(f"operands must be a tuple, such as (normal((3, 4)),), not {given}")
    for operand in example.operands:
        if operand is None:
            continue
        if not isinstance(operand, Operand):
            refuse(f"an operand must be an Operand, such as normal((3, 4)), or None, not {in_words(operand)}")
        if not isinstance(operand.shape, tuple) or not all(is_int(n, 0) for n in operand.shape):
            refuse(f"the shape of an operand must be a tuple of integers, not {in_words(operand.shape)}")
    if not isinstance(example.parameters, Mapping):
        refuse(f"parameters must be a mapping by name, not {in_words(example.parameters)}")


def _require_fit(example: Example, kernel: Callable, refuse: Callable[[str], NoReturn]) -> None:
    """Refuse an example whose operands and parameters are not those of the operation's kernels."""
    # Where kernels take a call, it is made from the parameters, which it checks itself.
    parameters = {"call": None} if takes_call(example.operation) else example.parameters
    if (reason := _misfit(kernel, example.operands, parameters)) is not None:
        refuse(f"its kernel {_name_of(kernel)} does not take the call: {reason}")


def _misfit(function: Callable, arguments: Sequence, options: Mapping) -> str | None:
    """Why a function does not take these arguments; None if it does, or has no signature."""
    signature = _signature(function)
    if signature is None:
        return None
    try:
        signature.bind(*arguments, **options)
    except TypeError as error:
        return f"{error}; it takes {signature}"
    return None


@functools.lru_cache(maxsize=1024)
def _signature(function: Callable) -> inspect.Signature | None:
    """What a function takes; Hypothesis draws thousands of examples, and each asks."""
    try:
        return inspect.signature(function)
    except ValueError:
        return None  # NumPy's functions, some of which are kernels as they are.


def _name_of(function: Callable) -> str:
    return getattr(function, "__name__", "the function")


def changed_by(operation: str) -> tuple[int, ...]:
    """The positions of the arrays that an operation's kernels change in place; most change none."""
    example = next(example_calls(operation, "small"), None)
    if example is None:
        raise KernelError(f"examples of {operation}: there is no small case; its @examples needs small=")
    return example.changes


def domain_words(operation: str) -> list[str]:
    """The keywords with which a kernel of the operation may state its domain."""
    drawn = _family(operation).drawn
    return [] if drawn is None else list(inspect.signature(drawn).parameters)[1:]


def drawn_example(operation: str, choose: Choices, **domain) -> Example:
    """An example of the operation, drawn by a chooser within a kernel's domain.

    Raises
    ------
    KernelError
        If the operation has no examples, none that can be drawn, or one is not as it must be.
    """
    family = _family(operation)
    if family.drawn is None:
        raise KernelError(f"examples of {operation} cannot be drawn: its @examples has no drawn=")
    each = family.drawn(choose, **domain)
    return _built(operation, f"drawn by {_name_of(family.drawn)}", family, each)[0]


def _family(operation: str) -> _Family:
    _load()
    if operation not in _families:
        raise KernelError(
            f"operation {operation!r} has no example calls; there are: {', '.join(sorted(_families))}. "
            "Register others with minialex.kernels.contract.examples.examples"
        )
    return _families[operation]


def _load() -> None:
    while _later:
        _later.pop()()
