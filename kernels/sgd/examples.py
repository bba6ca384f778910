"""Example calls of SGD's update."""

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
from minialex.kernels.sgd import UPDATE


def draw_update(choose: Choices) -> Arguments:
    """With and without momentum, Nesterov's or the usual one."""
    momentum = choose.one_of((0.0, 0.9))
    nesterov = bool(momentum) and choose.one_of((False, True))
    decay = choose.one_of((0.0, 0.05))
    return case(choose.shape(), momentum=momentum, weight_decay=decay, nesterov=nesterov)


@examples(
    UPDATE,
    small=[case((3, 4))],
    blocks=[case(shape, momentum=m, nesterov=m > 0) for shape in LENGTHS for m in (0.0, 0.9)],
    awkward={"prime length": case(LONG)},
    drawn=draw_update,
)
def update(
    shape: Shape, lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 0.05, nesterov: bool = False
) -> Iterator[Example]:
    """One step; without momentum there is no velocity."""
    parameters = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
    velocity = normal(shape) if momentum else None
    yield Example(UPDATE, (normal(shape), normal(shape), velocity), parameters, changes=(0, 2))
