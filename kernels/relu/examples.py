"""Example calls of the rectified linear unit."""

from __future__ import annotations

import math
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
from minialex.kernels.relu import BACKWARD, FORWARD, MASK
from minialex.kernels.relu.shape import WORD, mask_shape


def _bits(x: Shape) -> Operand:
    """A mask with half of its bits set."""

    def fill(filling: Filling, shape: Shape) -> np.ndarray:
        words = filling.generator.integers(0, 2**WORD, shape, np.uint32)
        if words.size:
            words[-1] >>= np.uint32(-math.prod(x) % WORD)  # none beyond the last element
        return words

    return Operand(mask_shape(x), fill, np.dtype(np.uint32))


def draw_shape(choose: Choices) -> Arguments:
    """Any shape."""
    return case(choose.shape())


@examples(
    FORWARD,
    MASK,
    BACKWARD,
    small={"away from 0": case((4, 5))},
    blocks=[case(shape) for shape in LENGTHS],
    awkward={"prime length": case(LONG)},
    drawn=draw_shape,
)
def rectifier(x: Shape, values: Callable[[Shape], Operand] = distinct) -> Iterator[Example]:
    """All directions."""
    yield Example(FORWARD, (values(x),))
    yield Example(MASK, (values(x),))
    yield Example(BACKWARD, (normal(x), _bits(x)))
