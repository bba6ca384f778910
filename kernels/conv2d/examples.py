"""Example calls of convolution."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from minialex.kernels.contract.examples import (
    PRIMES,
    Arguments,
    Choices,
    Example,
    case,
    examples,
    normal,
    two,
)
from minialex.kernels.contract.shapes import Shape
from minialex.kernels.conv2d import FORWARD, FORWARD_RELU, INPUT_GRAD, WEIGHT_GRAD, ConvCall

_SMALL = {
    "plain": case((2, 2, 4, 3), (3, 2, 3, 2)),
    "stride and padding": case(
        (1, 2, 5, 4), (2, 2, 3, 3), bias=False, stride=(2, 3), padding=((1, 0), (2, 1))
    ),
    "groups and dilation": case((1, 4, 4, 3), (4, 2, 2, 2), dilation=(2, 1), groups=2),
    "depthwise": case((1, 3, 3, 3), (3, 1, 2, 2), bias=False, padding=((1, 1), (1, 1)), groups=3),
    "kernel as large as the image": case((2, 2, 3, 2), (2, 2, 3, 2)),
}
_BLOCKS = {
    "one number": case((1, 1, 1, 1), (1, 1, 1, 1), bias=False),
    "stride and padding": case((2, 3, 9, 7), (5, 3, 3, 3), stride=(2, 1), padding=((1, 0), (2, 1))),
    "groups and dilation": case(
        (1, 4, 8, 11),
        (6, 2, 3, 2),
        bias=False,
        stride=(1, 3),
        padding=((0, 2), (1, 0)),
        dilation=(2, 1),
        groups=2,
    ),
    "four groups": case((1, 8, 6, 5), (12, 2, 3, 3), stride=(2, 2), padding=((1, 1), (1, 1)), groups=4),
    # Blocks of outputs, of positions and of terms, none of them full.
    "several tiles": case((2, 5, 10, 9), (70, 5, 3, 3), padding=((1, 1), (1, 1))),
}
_AWKWARD = {
    "tiny": case((2, 3, 7, 6), (4, 3, 3, 2), padding=((1, 0), (0, 1))),
    "batch 1": case((1, 256, 13, 13), (384, 256, 3, 3), padding=((1, 1), (1, 1))),
    "prime lengths": case(PRIMES, (23, 17, 3, 5), padding=((1, 2), (0, 3))),
    "depthwise": case((8, 64, 29, 31), (64, 1, 3, 3), padding=((1, 1), (1, 1)), groups=64),
    "dilated": case((2, 24, 40, 33), (40, 24, 3, 3), padding=((1, 1), (1, 1)), dilation=(2, 3)),
    "stride above kernel": case((4, 19, 61, 53), (12, 19, 2, 2), stride=(3, 3)),
    "1x1": case((4, 96, 27, 27), (64, 96, 1, 1)),
}


def _usual() -> dict[str, Arguments]:
    """Square windows, as networks have them. Drawn calls have all parameters unusual at once."""
    cases = {}
    for window, stride, padded, dilation, groups, bias in itertools.product(
        (1, 2, 3, 4, 5, 7, 11), (1, 2, 3, 4), (False, True), (1, 2), (1, 2, 4), (False, True)
    ):
        few = 1 if window > 5 else 2
        padding = (dilation * (window - 1) // 2 if padded else 0,) * 2
        size = max(1, dilation * (window - 1) + 1 + stride - sum(padding))
        cases[f"{window}x{window}, {stride=}, {padding=}, {dilation=}, {groups=}, {bias=}"] = case(
            (1, few * groups, size, size + 1),
            (2 * groups, few, window, window),
            bias,
            stride=(stride,) * 2,
            padding=(padding,) * 2,
            dilation=(dilation,) * 2,
            groups=groups,
        )
    return cases


def draw_convolution(
    choose: Choices,
    *,
    limit: int = 3,
    empty: bool = True,
    windows: Sequence[tuple[int, int]] | None = None,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    padded: bool = True,
) -> Arguments:
    """A convolution of at most some ten thousand products.

    The number of positions is chosen first and the image follows from it, so that every choice is legal:
    images smaller than the window, and empty ones, that padding makes large enough; padding that
    differs on all four sides; strides beyond the window, which leave cells unread; dilation; groups,
    depthwise convolution included; any number of images and channels, sometimes 0. One in three is what
    Winograd's algorithm is for: a window of 3 x 3 or 5 x 5 at stride 1, without dilation.

    Parameters
    ----------
    choose : Choices
    limit : int
        At most this many images, groups, positions along an axis and cells along a window's side; for
        Winograd, twice as many positions, and five cells.
    empty : bool
        Whether arrays may be empty.
    windows, strides, dilations : sequence, optional
        Choose windows (rows, columns), strides and dilations only from these.
    padded : bool
        Whether images may be padded.
    """
    groups = choose.between(1, limit)
    channels = ((1, 1), (2, 1), (1, 2), (2, 2), (0, 1), (1, 0))
    per_group, outputs_per_group = choose.one_of(channels if empty else channels[:4])
    kernel = two(choose, 1, limit) if windows is None else choose.one_of(windows)
    stride = two(choose, 1, limit + 1) if strides is None else _two_of(choose, strides)
    dilation = two(choose, 1, limit) if dilations is None else _two_of(choose, dilations)
    positions = two(choose, 1, limit if windows is None else 2 * limit)
    free = windows is None and strides is None and dilations is None
    side = choose.one_of((None, None, None, None, 3, 5)) if free else None
    if side is not None:
        kernel, stride, dilation = (side, side), (1, 1), (1, 1)
        positions = two(choose, 1, 2 * limit)
    axes = [
        _draw_axis(choose, axis, limit if padded else 0, empty)
        for axis in zip(positions, kernel, stride, dilation, strict=True)
    ]
    size, padding = zip(*axes, strict=True)
    batch = choose.one_of((*range(1, limit + 1), *range(0 if empty else 1, limit + 1)))
    return case(
        (batch, groups * per_group, *size),
        (groups * outputs_per_group, per_group, *kernel),
        choose.one_of((False, True)),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


def _two_of(choose: Choices, values: Sequence[int]) -> tuple[int, int]:
    return choose.one_of(values), choose.one_of(values)


def _draw_axis(choose: Choices, axis: tuple[int, int, int, int], most_padding: int, empty: bool):
    """The (size, (before, after)) of an axis, given as (positions, kernel, stride, dilation)."""
    positions, kernel, stride, dilation = axis
    unread = choose.between(0, stride - 1)  # cells after the last window
    padded = (positions - 1) * stride + dilation * (kernel - 1) + 1 + unread
    most = padded if empty else padded - 1
    before = choose.between(0, min(most_padding, most))
    after = choose.between(0, min(most_padding, most - before))
    return padded - before - after, (before, after)


@examples(
    FORWARD,
    INPUT_GRAD,
    WEIGHT_GRAD,
    FORWARD_RELU,
    small=_SMALL,
    blocks=_BLOCKS,
    usual=_usual,
    awkward=_AWKWARD,
    drawn=draw_convolution,
)
def convolution(
    x: Shape,
    weight: Shape,
    bias: bool = True,
    **parameters,
) -> Iterator[Example]:
    """The directions of one convolution; parameters not given take their defaults."""
    nothing = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    parameters = nothing | parameters
    call = ConvCall.of(x, weight, **parameters)
    xs, weights, g = normal(x), normal(weight), normal(call.y_shape)
    biases = normal(weight[:1]) if bias else None
    yield Example(FORWARD, (xs, weights, biases), parameters, call.products)
    yield Example(INPUT_GRAD, (g, weights), {"input_size": x[2:], **parameters}, call.products)
    yield Example(WEIGHT_GRAD, (g, xs), {"kernel_size": weight[2:], **parameters}, call.products)
    yield Example(FORWARD_RELU, (xs, weights, biases), parameters, call.products)
