"""Example calls of the rectified linear unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from minialex.kernels.contract.examples import (
    LENGTHS,
    LONG,
    Arguments,
    Choices,
    Example,
    Filling,
    Operand,
    case,
    distinct,
    examples,
    normal,
)
from minialex.kernels.contract.shapes import Shape


def _result(x: Shape) -> Operand:
    """What ReLU gives: half of it is 0."""

    def fill(filling: Filling, shape: Shape) -> np.ndarray:
        return np.maximum(filling.generator.standard_normal(shape, filling.dtype), filling.dtype.type(0))

    return Operand(x, fill)


def draw_shape(choose: Choices) -> Arguments:
    """Any shape."""
    return case(choose.shape())


@examples(
    "relu.forward",
    "relu.backward",
    small={"away from 0": case((4, 5))},
    blocks=[case(shape) for shape in LENGTHS],
    awkward={"prime length": case(LONG)},
    drawn=draw_shape,
)
def rectifier(x: Shape, values: Callable[[Shape], Operand] = distinct) -> Iterator[Example]:
    """Both directions."""
    yield Example("relu.forward", (values(x),))
    yield Example("relu.backward", (normal(x), _result(x)))
