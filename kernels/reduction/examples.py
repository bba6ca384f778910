"""Example calls of sums and maxima over axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from minialex.kernels.contract.examples import (
    ANY,
    PLANE,
    Arguments,
    Choices,
    Example,
    Operand,
    case,
    distinct,
    examples,
    length,
    normal,
)
from minialex.kernels.contract.registry import Sizes
from minialex.kernels.contract.shapes import Shape
from minialex.kernels.reduction import AMAX, SUM

_SMALL = {"an axis": case((3, 4, 2), (1,)), "two axes, kept": case((3, 4, 2), (0, 2), keepdims=True)}
_BLOCKS = [
    case((1,), (0,)),
    case((777,), (0,)),
    case((37, 70, 3), (1,)),
    case((5, 301), (1,)),
    case((9, 4, 5), (0, 2)),
    case((2, 3, 4, 5), (0, 2, 3)),
    case((3, 5), ()),
]
_AWKWARD = {"prime lengths": case(PLANE, (0, 2, 3), values=normal)}


# Axes before that of the features: enough elements for rows to be added four at a time.
OUTER = ((), (1,), (2,), (5,), (2, 3))


def draw_inner(choose: Choices, inner: Sizes) -> Shape:
    """Axes after that of the features, with this many elements."""
    elements = length(choose, inner)
    return choose.one_of(((elements,), (1, elements), (2, elements)))


def draw_sum(choose: Choices, layout: str | None = None, inner: Sizes = ANY) -> Arguments:
    """Any axes of any shape; or all axes but the one that bias gradients keep."""
    keepdims = choose.one_of((False, True))
    if inner.least:
        before, after = choose.one_of(OUTER), draw_inner(choose, inner)
        shape, kept = (*before, choose.between(2, 4), *after), len(before)
    elif choose.one_of((False, True)):
        shape = choose.shape()
        return case(shape, _axes(choose, range(len(shape))), keepdims, values=normal)
    else:
        shape = choose.shape(2, 4, 2)
        kept = choose.between(0, len(shape) - 2)
    return case(shape, tuple(i for i in range(len(shape)) if i != kept), keepdims, values=normal)


def draw_maximum(choose: Choices) -> Arguments:
    """Any axes that are not empty."""
    shape = choose.shape()
    axes = _axes(choose, [i for i, n in enumerate(shape) if n])
    return case(shape, axes, choose.one_of((False, True)))


def _axes(choose: Choices, axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(axis for axis in axes if choose.one_of((False, True)))


def _reduction(operation: str, **kinds):
    @examples(operation, small=_SMALL, blocks=_BLOCKS, awkward=_AWKWARD, **kinds)
    def reduction(
        x: Shape,
        axis: tuple[int, ...],
        keepdims: bool = False,
        values: Callable[[Shape], Operand] = distinct,
    ) -> Iterator[Example]:
        yield Example(operation, (values(x),), {"axis": axis, "keepdims": keepdims})

    return reduction


total = _reduction(SUM, drawn=draw_sum)
maximum = _reduction(AMAX, drawn=draw_maximum)
