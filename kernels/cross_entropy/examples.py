"""Example calls of softmax and cross-entropy in one."""

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
    logits,
    normal,
    weights_of_classes,
)
from minialex.kernels.contract.registry import Sizes
from minialex.kernels.cross_entropy import BACKWARD, FORWARD


def draw_loss(choose: Choices, images: Sizes = ANY) -> Arguments:
    """Up to 5 classes."""
    return case(length(choose, images), choose.between(1, 5))


@examples(
    FORWARD,
    BACKWARD,
    small={"a distribution": case(3, 5)},
    blocks=[case(1, 1), case(37, 10), case(3, 301)],
    awkward={"prime lengths": case(31, 1009)},
    drawn=draw_loss,
)
def cross_entropy(images: int, classes: int) -> Iterator[Example]:
    """Both directions."""
    shape = images, classes
    x, target = logits(shape), weights_of_classes(shape)
    yield Example(FORWARD, (x, target))
    yield Example(BACKWARD, (normal((images,)), x, target))
