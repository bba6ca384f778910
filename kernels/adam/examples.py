"""Example calls of Adam's update."""

from __future__ import annotations

from collections.abc import Iterator

from minialex.kernels.adam import UPDATE
from minialex.kernels.contract.examples import (
    LENGTHS,
    LONG,
    Arguments,
    Choices,
    Example,
    case,
    examples,
    normal,
    positive,
)
from minialex.kernels.contract.shapes import Shape


def draw_update(choose: Choices) -> Arguments:
    """Adam and AdamW, in one of the first steps."""
    return case(
        choose.shape(),
        beta2=0.99,
        eps=choose.one_of((1e-8, 0.1)),
        weight_decay=choose.one_of((0.0, 0.05)),
        decoupled=choose.one_of((False, True)),
        step=choose.between(1, 5),
    )


@examples(
    UPDATE,
    small=[case((3, 4))],
    blocks=[case(shape, beta2=0.99, decoupled=decoupled) for shape in LENGTHS for decoupled in (False, True)],
    awkward={"prime length": case(LONG, step=10)},
    drawn=draw_update,
)
def update(shape: Shape, **parameters) -> Iterator[Example]:
    """One step; parameters not given take usual values."""
    usual = {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    usual |= {"weight_decay": 0.05, "decoupled": False, "step": 3}
    p = normal(shape)
    yield Example(UPDATE, (p, p, p, positive(shape)), usual | parameters, changes=(0, 2, 3))
