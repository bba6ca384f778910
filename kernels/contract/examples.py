"""Example calls: what the kernels of an operation are tried with, from one source.

The folder of an operation has a file ``examples.py``. A decorated function says which arrays its calls
consist of, for each direction, and the decorator which calls there are:

    @examples("relu.forward", "relu.backward", small=[case((3, 4))], drawn=...)
    def relu(x):
        yield Example("relu.forward", (distinct(x),))
        yield Example("relu.backward", (normal(x), ...))

    small     a few numbers each: the gradient checker moves every one
    blocks    few and larger: no multiple of a warp or a tile, less than a thread block and more than several;
              the race checker looks at each access
    usual     convolutions and poolings as networks have them, in all combinations
    awkward   prime lengths, a batch of one, dilation: what benchmarks time beside the layers of networks
    drawn     any, by someone who chooses (`Choices`): Hypothesis for the tests and the judge

A plug-in's own operation brings its examples in the same way.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from minialex.errors import KernelError
from minialex.kernels.contract.registry import Sizes
from minialex.kernels.contract.shapes import Shape
from minialex.kernels.contract.values import distinct_values

LENGTHS = ((1,), (777,), (3, 5, 7), (2, 3, 4, 5))
"""Less than a warp, several blocks with the last one partly empty, and more than one axis."""
PRIMES, PLANE, LONG = (3, 17, 37, 41), (7, 13, 101, 3), (1_000_003,)
"""Shapes to time: images of prime lengths, long and narrow ones, and a million elements."""


class Filling:
    """Fills the arrays of one call, from first to last.

    Attributes
    ----------
    generator : numpy.random.Generator
    dtype : float32 or float64
    arrays : list of array or None
        Those that stand before the one that is filled.
    """

    def __init__(self, generator: np.random.Generator, dtype):
        self.generator = generator
        self.dtype = np.dtype(dtype)
        self.arrays: list[np.ndarray | None] = []


Fill = Callable[[Filling, Shape], np.ndarray]


@dataclass(frozen=True)
class Operand:
    """One array of a call: its shape, and how it is filled; of a float's dtype unless another is named."""

    shape: Shape
    fill: Fill
    dtype: np.dtype | None = None


def normal(shape: Shape) -> Operand:
    """Standard normal values."""
    return Operand(shape, _normal)


def _normal(filling: Filling, shape: Shape) -> np.ndarray:
    return np.asarray(filling.generator.standard_normal(shape, filling.dtype))


def logits(shape: Shape) -> Operand:
    """Normal values with a standard deviation of 3: classes of which some are much more likely."""
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
    """Values without ties and away from 0 (`distinct_values`); no array of the call has one of another's."""

    def fill(filling: Filling, shape: Shape) -> np.ndarray:
        values = distinct_values(filling.generator, shape, filling.dtype)
        # The values of one array lie a quarter apart.
        return np.asarray(values + filling.dtype.type(len(filling.arrays) / 32))

    return Operand(shape, fill)


@dataclass(frozen=True)
class Example:
    """One call of an operation's kernels, whose arrays are yet to be filled.

    Attributes
    ----------
    operation : str
        Such as ``"conv2d.forward"``.
    operands : tuple of Operand or None
        The positional arguments.
    parameters : dict
        The keyword arguments, in the canonical form that every kernel of the operation takes.
    products : int
        The multiplications of the definition; 0 where it is not a sum of products.
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
        """The arrays, filled; given a seed, the same at every call."""
        filling = Filling(np.random.default_rng(generator), dtype)
        for operand in self.operands:
            filling.arrays.append(None if operand is None else operand.fill(filling, operand.shape))
        return tuple(filling.arrays)

    def undefined(self, dtype=np.float32) -> tuple[np.ndarray | None, ...]:
        """Arrays of the same shapes and types, not filled: the system gives them no memory."""
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
    """Who draws a call: makes one choice after the other."""

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
        """What an array of this shape can be indexed with."""
        ...

    def reject(self) -> Any:
        """Give up: what was chosen so far makes no call."""
        ...


ANY = Sizes()


def length(choose: Choices, sizes: Sizes = ANY) -> int:
    """A length in a kernel's domain: one of the least ones, or next to its grain or twice as much."""
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
    """The arguments of a function of examples."""

    arguments: tuple
    options: dict


def case(*arguments, **options) -> Arguments:
    """One case of a function of examples: the arguments that it gets."""
    return Arguments(arguments, options)


Cases = Mapping[str, Arguments] | Sequence[Arguments]


@dataclass(frozen=True)
class _Family:
    """A function of examples, with its cases of each kind."""

    build: Callable[..., Iterable[Example]]
    cases: dict[str, Cases | Callable[[], Cases]]
    drawn: Callable[..., Arguments] | None


_families: dict[str, _Family] = {}
_later: list[Callable[[], None]] = []


def register_later(load: Callable[[], None]) -> None:
    """Call `load`, which registers examples, when they are first asked for."""
    _later.append(load)


def examples(
    *operations: str,
    small: Cases | Callable[[], Cases] = (),
    blocks: Cases | Callable[[], Cases] = (),
    usual: Cases | Callable[[], Cases] = (),
    awkward: Cases | Callable[[], Cases] = (),
    drawn: Callable[..., Arguments] | None = None,
):
    """Register the decorated function as the source of examples of these operations.

    Parameters
    ----------
    *operations : str
        Such as ``"conv2d.forward"``; what the function yields examples of.
    small, blocks, usual, awkward : sequence or mapping of Arguments, or callable, optional
        The cases of that kind, by their names if they have any; or a function that makes them.
    drawn : callable, optional
        Takes someone who chooses (`Choices`), and words in which kernels state their domain; gives a case.
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
        If the operation has no examples.
    """
    family = _family(operation)
    cases = family.cases[kind]
    cases = cases() if callable(cases) else cases
    if not isinstance(cases, Mapping):
        cases = {", ".join(map(str, each.arguments)): each for each in cases}
    for name, each in cases.items():
        for example in family.build(*each.arguments, **each.options):
            if example.operation == operation:
                yield replace(example, name=name)


def changed_by(operation: str) -> tuple[int, ...]:
    """The positions of the arrays that kernels of an operation change in place; most change none."""
    return next(example_calls(operation, "small")).changes


def domain_words(operation: str) -> list[str]:
    """The words in which a kernel of the operation may state its domain."""
    drawn = _family(operation).drawn
    return [] if drawn is None else list(inspect.signature(drawn).parameters)[1:]


def drawn_example(operation: str, choose: Choices, **domain) -> Example:
    """An example of the operation that someone chooses, in a kernel's domain.

    Raises
    ------
    KernelError
        If the operation has no examples, or none that can be drawn.
    """
    family = _family(operation)
    if family.drawn is None:
        raise KernelError(f"examples of {operation} cannot be drawn: its @examples has no drawn=")
    each = family.drawn(choose, **domain)
    found = family.build(*each.arguments, **each.options)
    return next(example for example in found if example.operation == operation)


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
