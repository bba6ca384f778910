"""Example calls of max-pooling, whose windows average pooling shares."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from minialex.errors import ShapeError
from minialex.kernels.contract.examples import (
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
    two,
)
from minialex.kernels.contract.shapes import Shape
from minialex.kernels.max_pool2d import EVALUATE, FORWARD, GATHER, SCATTER, PoolCall

_SMALL = {
    "overlapping": case((2, 2, 5, 7), (3, 3), stride=(2, 2)),
    "padding and ceil mode": case(
        (1, 2, 6, 5), (3, 3), stride=(2, 2), padding=((1, 1), (1, 1)), ceil_mode=True
    ),
    "dilation": case((1, 1, 6, 6), (2, 2), dilation=(2, 2)),
}
_BLOCKS = {
    "one number": case((1, 1, 1, 1), (1, 1)),
    "padding": case((2, 3, 7, 6), (3, 2), stride=(2, 2), padding=((1, 2), (0, 1))),
    "dilation and ceil mode": case(
        (3, 5, 9, 11), (3, 3), stride=(2, 3), padding=((1, 1), (0, 0)), dilation=(2, 1), ceil_mode=True
    ),
}
_AWKWARD = {
    "prime lengths": case(
        PRIMES, (3, 2), stride=(2, 3), padding=((1, 0), (0, 1)), ceil_mode=True, values=normal
    ),
    "dilated": case((2, 24, 40, 33), (3, 3), padding=((1, 1), (1, 1)), dilation=(2, 3), values=normal),
}


def usual_windows(name: str, values: tuple) -> dict[str, Arguments]:
    """Poolings as networks have them, with each value of the parameter that only this pooling takes."""
    cases = {}
    for window, stride, padded, ceil_mode, value in itertools.product(
        (2, 3, 4, 5), (1, 2, 3), (False, True), (False, True), values
    ):
        padding = (window // 2 if padded else 0,) * 2
        options = {"stride": (stride,) * 2, "padding": (padding,) * 2, "ceil_mode": ceil_mode, name: value}
        label = f"{window}x{window}, {stride=}, {padding=}, {ceil_mode=}, {name}={value}"
        cases[label] = case((1, 2, 2 * window + 1, 2 * window), (window,) * 2, **options)
    return cases


def draw_window(choose: Choices) -> tuple[Shape, tuple[int, int], dict]:
    """The shape of images, a window, and its stride, padding and ceil mode.

    Overlapping windows, strides beyond the window, windows larger than the image, padding that differs
    on all four sides, and ceil mode, with last windows that are cut off or dropped.
    """
    kernel, stride, size = two(choose, 1, 3), two(choose, 1, 4), two(choose, 1, 6)
    padding = tuple(two(choose, 0, side - 1) for side in kernel)
    options = {"stride": stride, "padding": padding, "ceil_mode": choose.one_of((False, True))}
    return (length(choose), length(choose), *size), kernel, options


def draw_pooling(choose: Choices) -> Arguments:
    """A pooling whose every window holds a cell of the image."""
    x, kernel, options = draw_window(choose)
    options["dilation"] = two(choose, 1, 3)
    try:
        PoolCall.of(x, kernel_size=kernel, **options)
    except ShapeError:
        choose.reject()
    return case(x, kernel, **options)


def _winners(y: Shape, size: tuple[int, int]) -> Operand:
    """Any cells of the image, some of them winners of several windows."""

    def fill(filling: Filling, shape: Shape) -> np.ndarray:
        return np.asarray(filling.generator.integers(0, size[0] * size[1], shape, np.int32))

    return Operand(y, fill, np.dtype(np.int32))


@examples(
    FORWARD,
    EVALUATE,
    SCATTER,
    GATHER,
    small=_SMALL,
    blocks=_BLOCKS,
    usual=lambda: usual_windows("dilation", ((1, 1), (2, 2))),
    awkward=_AWKWARD,
    drawn=draw_pooling,
)
def max_pooling(
    x: Shape, kernel_size: tuple[int, int], values: Callable[[Shape], Operand] = distinct, **options
) -> Iterator[Example]:
    """The directions of one pooling; options not given take their defaults."""
    nothing = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "ceil_mode": False}
    parameters = {"kernel_size": kernel_size, **nothing, **options}
    y, size = PoolCall.of(x, **parameters).y_shape, (x[2], x[3])
    yield Example(FORWARD, (values(x),), parameters)
    yield Example(EVALUATE, (values(x),), parameters)
    yield Example(SCATTER, (normal(y), _winners(y, size)), {"input_size": size})
    yield Example(GATHER, (normal(x), _winners(y, size)))
