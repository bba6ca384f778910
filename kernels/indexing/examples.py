"""Example calls of the gradient of indexing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minialex.kernels.contract.examples import PLANE, Arguments, Choices, Example, case, examples, normal
from minialex.kernels.contract.shapes import Shape
from minialex.kernels.indexing import INDEX_ADD

_SMALL = {
    "slices": case((3, 4), (slice(1, None), slice(None, None, 2))),
    "repeated indices": case((3, 4), (np.array([0, 2, 0, 0]), slice(1, None))),
}


def _blocks() -> dict[str, Arguments]:
    generator = np.random.default_rng(0)
    return {
        "rows": case((5, 3), generator.integers(-1, 5, (7, 11))),
        "a mask": case((9, 31), generator.random((9, 31)) > 0.5),
        "slices": case((9, 31), (slice(1, None, 2), slice(None, None, -3))),
    }


def draw_index(choose: Choices) -> Arguments:
    """Basic indices, integer arrays with repetitions, masks, and several of them."""
    shape = choose.shape(min_dims=1, min_side=1)
    return case(shape, choose.index(shape))


@examples(
    INDEX_ADD,
    small=_SMALL,
    blocks=_blocks,
    awkward={"every second row": case(PLANE, slice(None, None, 2))},
    drawn=draw_index,
)
def index_add(shape: Shape, index: Any) -> Iterator[Example]:
    """Gradients added into an array of this shape."""
    named = np.empty(shape, np.bool_)[index].shape
    yield Example(INDEX_ADD, (normal(named),), {"index": index, "shape": shape})
