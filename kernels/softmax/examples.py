"""Example calls of softmax and its logarithm."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minialex.kernels.contract.examples import (
    Arguments,
    Choices,
    Example,
    Filling,
    Operand,
    case,
    examples,
    logits,
    normal,
)
from minialex.kernels.contract.shapes import Shape
from minialex.kernels.softmax import BACKWARD, FORWARD, LOG_BACKWARD, LOG_FORWARD

# Shorter and longer than a warp and a block, contiguous and strided.
_BLOCKS = [case((3, 10), 1), case((2, 301), 1), case((4, 37, 5), 1), case((1, 1), 0)]


def draw_line(choose: Choices, empty: bool = True, last: bool = False) -> tuple[Shape, int]:
    """A shape, empty or not, and an axis of it that is not empty: any, or the last."""
    shape = list(choose.shape(min_dims=1, min_side=0 if empty else 1))
    axis = len(shape) - 1 if last else choose.between(0, len(shape) - 1)
    shape[axis] = choose.between(1, 4)
    return tuple(shape), axis


def draw_softmax(choose: Choices, empty: bool = True, last: bool = False) -> Arguments:
    """Lines along one axis."""
    return case(*draw_line(choose, empty, last))


def _probabilities(shape: Shape, axis: int, log: bool = False) -> Operand:
    """What softmax returns, or its logarithm."""

    def fill(filling: Filling, shape: Shape) -> np.ndarray:
        e = np.exp(filling.generator.standard_normal(shape, filling.dtype))
        y = e / e.sum(axis=axis, keepdims=True)
        return np.asarray(np.log(y) if log else y)

    return Operand(shape, fill)


@examples(
    FORWARD,
    BACKWARD,
    LOG_FORWARD,
    LOG_BACKWARD,
    small={f"axis {axis}": case((3, 4, 2), axis) for axis in (0, 1, 2)},
    blocks=_BLOCKS,
    awkward={"prime lengths": case((31, 1009), 1)},
    drawn=draw_softmax,
)
def softmax(x: Shape, axis: int) -> Iterator[Example]:
    """Both directions of softmax and of log_softmax."""
    for operation, log in (("softmax", False), ("log_softmax", True)):
        yield Example(f"{operation}.forward", (logits(x),), {"axis": axis})
        yield Example(f"{operation}.backward", (normal(x), _probabilities(x, axis, log)), {"axis": axis})
