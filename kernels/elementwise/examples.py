"""Example calls of arithmetic, element by element."""

from __future__ import annotations

import math
from collections.abc import Iterator

from minialex.kernels.contract.examples import (
    LENGTHS,
    PLANE,
    Arguments,
    Choices,
    Example,
    case,
    distinct,
    divisors,
    examples,
    normal,
    positive,
)
from minialex.kernels.contract.shapes import Shape
from minialex.kernels.elementwise.shape import BINARY, UNARY, WITH_PARAMETERS

_PAIRS = (
    ((777,), (777,)),
    ((37, 21), (21,)),
    ((2, 1, 4), (3, 1)),
    ((37, 21), (37, 1)),
    ((2, 3, 4, 5), (2, 3, 4, 5)),
    ((5,), ()),
)
_VALUES = {
    "divide": (normal, divisors),
    "maximum": (distinct, distinct),
    "minimum": (distinct, distinct),
    "log": (positive,),
    "log1p": (positive,),
    "sqrt": (positive,),
    "absolute": (distinct,),
}


def draw_binary(choose: Choices, *, broadcast: bool = True) -> Arguments:
    """Two shapes that broadcast in any way, or that are the same."""
    if broadcast:
        return case(*choose.broadcasting())
    shape = choose.shape()
    return case(shape, shape)


@examples(
    *(f"{operation}.forward" for operation in BINARY),
    small={"broadcast": case((3, 1, 4), (2, 1))},
    blocks=[case(*shapes) for shapes in _PAIRS],
    awkward={"broadcast": case(PLANE, (PLANE[1], 1, 1))},
    drawn=draw_binary,
)
def binary(a: Shape, b: Shape) -> Iterator[Example]:
    """Each operation on two arrays that broadcast."""
    for operation in BINARY:
        first, second = _VALUES.get(operation, (normal, normal))
        yield Example(f"{operation}.forward", (first(a), second(b)))


@examples(
    *(f"{operation}.forward" for operation in UNARY if operation not in WITH_PARAMETERS),
    small=[case((3, 4))],
    blocks=[case(shape) for shape in LENGTHS],
    awkward={"prime lengths": case(PLANE)},
    drawn=lambda choose: case(choose.shape()),
)
def unary(x: Shape) -> Iterator[Example]:
    """Each operation on one array."""
    for operation in UNARY:
        if operation not in WITH_PARAMETERS:
            (values,) = _VALUES.get(operation, (normal,))
            yield Example(f"{operation}.forward", (values(x),))


def draw_power(choose: Choices) -> Arguments:
    """Any shape; the exponents that occur in gradients."""
    return case(choose.shape(), choose.one_of((2, 3, -1, -0.75, 0.5, 1, 0)))


@examples(
    "power.forward",
    small={f"exponent {exponent}": case((3, 4), exponent) for exponent in (2, 3, -0.75)},
    blocks=[case(shape) for shape in LENGTHS],
    awkward={"prime lengths": case(PLANE)},
    drawn=draw_power,
)
def power(x: Shape, exponent: float = -0.75) -> Iterator[Example]:
    """Positive numbers to a constant power."""
    yield Example("power.forward", (positive(x),), {"exponent": exponent})


def draw_clamp(choose: Choices) -> Arguments:
    """Any shape; limits on either side, and on both."""
    return case(choose.shape(), *choose.one_of(((-0.5, 0.5), (0.0, 6.0), (-math.inf, 0.0), (0.0, math.inf))))


@examples(
    "clamp.forward",
    small={"both limits": case((3, 4), -0.5, 0.5), "no lower limit": case((3, 4), -math.inf, 0.0)},
    blocks=[case(shape, 0.0, 6.0) for shape in LENGTHS],
    awkward={"prime lengths": case(PLANE, 0.0, 6.0)},
    drawn=draw_clamp,
)
def clamp(x: Shape, low: float, high: float) -> Iterator[Example]:
    """Values on both sides of the limits, none of which is one."""
    yield Example("clamp.forward", (distinct(x),), {"low": low, "high": high})
