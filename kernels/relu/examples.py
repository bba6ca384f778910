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
from minialex.kernels.relu import BACKWARD, FORWARD


def _result(x: Shape) -> Operand:
    """What ReLU returns: half of it is 0."""

    def fill(filling: Filling, shape: Shape) -> np.ndarray:
        return np.maximum(filling.generator.standard_normal(shape, filling.dtype), filling.dtype.type(0))

    return Operand(x, fill)


def draw_shape(choose: Choices) -> Arguments:
    """Any shape."""
    return case(choose.shape())


@examples(
    FORWARD,
    BACKWARD,
    small={"away from 0": case((4, 5))},
    blocks=[case(shape) for shape in LENGTHS],
    awkward={"prime length": case(LONG)},
    drawn=draw_shape,
)
def rectifier(x: Shape, values: Callable[[Shape], Operand] = distinct) -> Iterator[Example]:
    """Both directions."""
    yield Example(FORWARD, (values(x),))
    yield Example(BACKWARD, (normal(x), _result(x)))
