"""Example calls of dropout."""

from __future__ import annotations

from collections.abc import Iterator

from minialex.kernels.contract.examples import (
    LENGTHS,
    LONG,
    Arguments,
    Choices,
    Example,
    case,
    examples,
    normal,
)
from minialex.kernels.contract.shapes import Shape
from minialex.kernels.dropout import FORWARD


def draw_dropout(choose: Choices) -> Arguments:
    """Any shape, probability, seed and offset."""
    p = choose.one_of((0.0, 0.1, 0.5, 0.9))
    seed, offset = choose.between(0, 2**64 - 1), choose.between(0, 2**64 - 1)
    return case(choose.shape(), p, seed=seed, offset=offset)


@examples(
    FORWARD,
    small={"p 0.4": case((5, 7), 0.4, seed=5, offset=0)},
    # The last one, because a thread draws four numbers.
    blocks=[case(shape, 0.5, seed=2**63 + 1, offset=7) for shape in (*LENGTHS, (2100,))],
    awkward={"prime length": case(LONG, 0.3)},
    drawn=draw_dropout,
)
def dropout(x: Shape, p: float, seed: int = 1, offset: int = 2) -> Iterator[Example]:
    """Its only direction: dropout is its own gradient."""
    yield Example(FORWARD, (normal(x),), {"p": p, "seed": seed, "offset": offset})
