"""Example calls of average pooling."""

from __future__ import annotations

from collections.abc import Iterator

from minialex.errors import ShapeError
from minialex.kernels.avg_pool2d import FORWARD, INPUT_GRAD, AvgPoolCall
from minialex.kernels.contract.examples import PRIMES, Arguments, Choices, Example, case, examples, normal
from minialex.kernels.contract.shapes import Shape
from minialex.kernels.max_pool2d.examples import draw_window, usual_windows

_SMALL = {
    "plain": case((2, 2, 5, 7), (3, 3), stride=(2, 2)),
    "padding and ceil mode": case(
        (1, 2, 6, 5), (3, 3), stride=(2, 2), padding=((1, 1), (1, 1)), ceil_mode=True
    ),
    "padding not counted": case(
        (1, 1, 5, 4), (2, 2), stride=(2, 2), padding=((1, 1), (1, 1)), count_include_pad=False
    ),
}
_BLOCKS = {
    "one number": case((1, 1, 1, 1), (1, 1)),
    "padding": case((2, 3, 7, 6), (3, 2), stride=(2, 2), padding=((1, 2), (0, 1))),
    "padding not counted, ceil mode": case(
        (3, 5, 9, 11),
        (3, 3),
        stride=(2, 3),
        padding=((1, 1), (0, 0)),
        ceil_mode=True,
        count_include_pad=False,
    ),
}
_AWKWARD = {
    "prime lengths": case(
        PRIMES,
        (3, 2),
        stride=(2, 3),
        padding=((1, 0), (0, 1)),
        ceil_mode=True,
        count_include_pad=False,
    ),
}


def draw_pooling(choose: Choices) -> Arguments:
    """A pooling whose every window holds a cell of the image."""
    x, kernel, options = draw_window(choose)
    options["count_include_pad"] = choose.one_of((False, True))
    try:
        AvgPoolCall.of(x, kernel_size=kernel, **options)
    except ShapeError:
        choose.reject()
    return case(x, kernel, **options)


@examples(
    FORWARD,
    INPUT_GRAD,
    small=_SMALL,
    blocks=_BLOCKS,
    usual=lambda: usual_windows("count_include_pad", (True, False)),
    awkward=_AWKWARD,
    drawn=draw_pooling,
)
def average_pooling(x: Shape, kernel_size: tuple[int, int], **options) -> Iterator[Example]:
    """Both directions of one pooling; options not given take their defaults."""
    nothing = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "ceil_mode": False, "count_include_pad": True}
    parameters = {"kernel_size": kernel_size, **nothing, **options}
    y = AvgPoolCall.of(x, **parameters).y_shape
    yield Example(FORWARD, (normal(x),), parameters)
    yield Example(INPUT_GRAD, (normal(y),), {"input_size": x[2:], **parameters})
