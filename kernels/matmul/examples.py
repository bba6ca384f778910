"""Example calls of the matrix product."""

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
from minialex.kernels.matmul import FORWARD

PRODUCTS = ((1, 1, 1), (3, 5, 7), (1, 301, 75), (5, 700, 9), (67, 35, 133), (133, 20, 67))
"""Rows, terms, columns: one of each, less than a tile, a vector, a long sum, several tiles of each."""


def draw_product(choose: Choices, rows: Sizes = ANY, inner: Sizes = ANY, columns: Sizes = ANY) -> Arguments:
    """Any lengths in the domain."""
    return case(*(length(choose, sizes) for sizes in (rows, inner, columns)))


@examples(
    FORWARD,
    small={"3x4 @ 4x2": case(3, 4, 2)},
    blocks=[case(*lengths) for lengths in PRODUCTS],
    awkward={"prime lengths": case(509, 1021, 307), "one row": case(1, 4096, 1000)},
    drawn=draw_product,
)
def product(rows: int, inner: int, columns: int) -> Iterator[Example]:
    """Its only direction: the gradients are products of the same kind."""
    operands = normal((rows, inner)), normal((inner, columns))
    yield Example(FORWARD, operands, products=rows * inner * columns)
