"""Example calls of the fully connected layer."""

from __future__ import annotations

from collections.abc import Iterator

from minialex.kernels.contract.examples import (
    ANY,
    Arguments,
    Choices,
    Example,
    case,
    examples,
    length,
    normal,
)
from minialex.kernels.contract.registry import Sizes
from minialex.kernels.linear import FORWARD, INPUT_GRAD, WEIGHT_GRAD
from minialex.kernels.matmul.examples import PRODUCTS


def draw_layer(choose: Choices, images: Sizes = ANY, inputs: Sizes = ANY, outputs: Sizes = ANY) -> Arguments:
    """Any lengths in the domain."""
    lengths = [length(choose, sizes) for sizes in (images, inputs, outputs)]
    return case(*lengths, bias=choose.one_of((False, True)))


@examples(
    FORWARD,
    INPUT_GRAD,
    WEIGHT_GRAD,
    small={"with bias": case(3, 4, 5), "without bias": case(2, 6, 3, bias=False)},
    blocks=[case(*lengths, bias=i % 2 == 1) for i, lengths in enumerate(PRODUCTS)],
    awkward={"prime lengths": case(31, 1021, 509), "batch 1": case(1, 4096, 1000)},
    drawn=draw_layer,
)
def dense(images: int, inputs: int, outputs: int, bias: bool = True) -> Iterator[Example]:
    """The three directions."""
    products = images * inputs * outputs
    x, weight, g = normal((images, inputs)), normal((outputs, inputs)), normal((images, outputs))
    biases = normal((outputs,)) if bias else None
    yield Example(FORWARD, (x, weight, biases), products=products)
    yield Example(INPUT_GRAD, (g, weight), products=products)
    yield Example(WEIGHT_GRAD, (g, x), products=products)
