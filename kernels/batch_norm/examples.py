"""Example calls of batch normalisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from minialex.kernels.batch_norm import BACKWARD, EVALUATE, FORWARD
from minialex.kernels.contract.examples import (
    ANY,
    PRIMES,
    Arguments,
    Choices,
    Example,
    Filling,
    Operand,
    case,
    distinct,
    examples,
    length,
    normal,
    positive,
)
from minialex.kernels.contract.registry import Sizes
from minialex.kernels.contract.shapes import Shape
from minialex.kernels.reduction.examples import OUTER, draw_inner

_SMALL = {"channels": case((3, 4, 2, 2), 1), "rows": case((2, 2, 3, 2), 2), "vectors": case((5, 3), 1)}
# Few features of many elements, many of few, and one.
_BLOCKS = [case((3, 5, 4, 7), 1), case((37, 300), 1), case((9, 3, 21, 23), 1), case((2, 2), 0)]
_AWKWARD = {"prime lengths": case(PRIMES, 1), "rows": case((5, 6, 31, 29), 2)}


def draw_features(choose: Choices, inner: Sizes = ANY) -> tuple[Shape, int]:
    """A shape and a feature axis, with at least two elements for each of 0 or more features.

    `inner` is how many elements a feature has after its axis; if at least one, there is a feature.
    """
    if inner.least:
        before = choose.one_of(OUTER)
        return (*before, choose.between(1, 4), *draw_inner(choose, inner)), len(before)
    shape = list(choose.shape(2, 4, 1, 3))
    axis = choose.between(0, len(shape) - 1)
    shape[axis] = length(choose)
    if math.prod(n for i, n in enumerate(shape) if i != axis) < 2:
        choose.reject()
    return tuple(shape), axis


def draw_normalisation(choose: Choices, inner: Sizes = ANY) -> Arguments:
    """Distinct values: a feature with nearly equal values would be divided by nearly 0."""
    shape, axis = draw_features(choose, inner)
    return case(shape, axis, choose.one_of((1e-5, 1e-3, 0.1)), values=distinct)


def _moment(of: Callable, features: Shape, axis: int) -> Operand:
    """The mean or the variance of each feature of x, the second array."""

    def fill(filling: Filling, shape: Shape) -> np.ndarray:
        x = filling.arrays[1]
        assert x is not None
        return np.asarray(of(x, axis=tuple(i for i in range(x.ndim) if i != axis)))

    return Operand(features, fill)


@examples(
    FORWARD,
    EVALUATE,
    BACKWARD,
    small=_SMALL,
    blocks=_BLOCKS,
    awkward=_AWKWARD,
    drawn=draw_normalisation,
)
def batch_normalisation(
    x: Shape, axis: int, eps: float = 1e-5, values: Callable[[Shape], Operand] = normal
) -> Iterator[Example]:
    """Training, evaluation and the backward pass."""
    features, parameters = (x[axis],), {"axis": axis, "eps": eps}
    weight = normal(features)
    yield Example(FORWARD, (values(x), weight, weight), parameters)
    yield Example(EVALUATE, (values(x), weight, weight, weight, positive(features)), parameters)
    moments = _moment(np.mean, features, axis), _moment(np.var, features, axis)
    yield Example(BACKWARD, (normal(x), values(x), weight, *moments), parameters)
