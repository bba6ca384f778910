"""Example calls of local response normalisation.

alpha is near 1: at the paper's 1e-4 neighbouring channels hardly count, and an error in how they do is lost
in rounding.
"""

from __future__ import annotations

from collections.abc import Iterator

from minialex.kernels.contract.examples import (
    PRIMES,
    Arguments,
    Choices,
    Example,
    case,
    examples,
    length,
    normal,
)
from minialex.kernels.contract.shapes import Shape
from minialex.kernels.local_response_norm import BACKWARD, FORWARD, WINDOW_SUM

_SMALL = {
    "alpha 1": case((2, 7, 2, 1), 5, alpha=1.0),
    "window beyond the channels": case((2, 3, 2, 1), 9, alpha=0.7, beta=0.5),
    "the paper's": case((2, 7, 2, 1), 5, alpha=1e-4),
}
_BLOCKS = [
    case((1, 1, 1, 1), 5),
    case((2, 3, 4, 5), 9),
    case((2, 7, 11, 13), 3),
    case((1, 19, 2, 3), 5),
]
_AWKWARD = {
    "prime lengths, alpha 1": case(PRIMES, 5, k=1.0),
    "window beyond the channels": case((8, 3, 61, 53), 9, alpha=0.5, beta=0.6),
}


def draw_normalisation(choose: Choices) -> Arguments:
    """Up to 6 channels, and windows that exceed them."""
    x = length(choose), choose.between(0, 6), length(choose), length(choose)
    return case(
        x,
        choose.one_of((1, 3, 5, 7, 9)),
        alpha=choose.one_of((1.0, 0.7, 1.5)),
        beta=choose.one_of((0.75, 0.5, 1.0, 0.6)),
        k=choose.one_of((1.0, 2.0)),
    )


@examples(
    FORWARD,
    BACKWARD,
    WINDOW_SUM,
    small=_SMALL,
    blocks=_BLOCKS,
    awkward=_AWKWARD,
    drawn=draw_normalisation,
)
def response_normalisation(
    x: Shape, size: int, alpha: float = 1.0, beta: float = 0.75, k: float = 2.0
) -> Iterator[Example]:
    """Both directions, and the sum over the channels of a window that they share."""
    parameters = {"size": size, "alpha": alpha, "beta": beta, "k": k}
    yield Example(FORWARD, (normal(x),), parameters)
    yield Example(BACKWARD, (normal(x), normal(x)), parameters)
    yield Example(WINDOW_SUM, (normal(x),), {"size": size})
