"""Public functions that have no kernel of their own, called small: `minialex gradcheck` has a row for each.

They are composed of others, and a composition may be wrong where its parts are right: the wrong axis, a mask
the wrong way round, a border that is off by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from minialex import functional as F
from minialex import operations as ops
from minialex.checking.testing.values import bounded_values, distinct_values, normal_values, positive_values
from minialex.random import seeded
from minialex.tensor import Tensor


class Composition(NamedTuple):
    """A call of a function, and how values for it are drawn.

    Attributes
    ----------
    operation : str
    name : str
        What is particular about it.
    function : callable
        Takes tensors; gives one.
    draw : callable
        Of a generator of random numbers; gives an array for each tensor.
    """

    operation: str
    name: str
    function: Callable[..., Tensor]
    draw: Callable[[np.random.Generator], tuple[np.ndarray, ...]]


def _normal(*shapes):
    return lambda random: tuple(normal_values(random, shape) for shape in shapes)


def _distinct(*shapes, scale: float = 1.0):
    """Values that are apart, also between arrays, and from the joints of what is made of pieces."""

    def draw(random):
        sizes = [int(np.prod(shape)) for shape in shapes]
        values = np.split(scale * distinct_values(random, (sum(sizes),)), np.cumsum(sizes)[:-1])
        return tuple(part.reshape(shape) for part, shape in zip(values, shapes, strict=True))

    return draw


def _shares(*shapes):
    return lambda random: tuple(bounded_values(random, shape, low=0.0, high=1.0) for shape in shapes)


def _positive(*shapes):
    return lambda random: tuple(positive_values(random, shape) for shape in shapes)


def _dropped(x: Tensor) -> Tensor:
    with seeded(1):
        return F.dropout2d(x, 0.4)


_IMAGE, _LABELS, _ROWS = (1, 2, 4, 5), np.array([1, 0, -100]), np.array([[2, 0], [1, 2]])
_CHOSEN = np.array([[True, False, False, True], [False, True, False, False], [True, True, False, True]])
# Away from -3, 0, 3 and 6, where an activation has a joint.
_JOINTS = 2.1

COMPOSITIONS = [
    Composition("relu6", "", F.relu6, _distinct((4, 5), scale=_JOINTS)),
    Composition("leaky_relu", "slope 0.2", lambda x: F.leaky_relu(x, 0.2), _distinct((4, 5))),
    Composition("prelu", "a slope each channel", F.prelu, _distinct((2, 3, 2), (3,))),
    Composition("elu", "alpha 0.7", lambda x: F.elu(x, 0.7), _distinct((4, 5))),
    Composition("gelu", "", F.gelu, _normal((3, 4))),
    Composition("gelu", "tanh", lambda x: F.gelu(x, "tanh"), _normal((3, 4))),
    Composition("silu", "", F.silu, _normal((3, 4))),
    Composition("hardsigmoid", "", F.hardsigmoid, _distinct((4, 5), scale=_JOINTS)),
    Composition("hardswish", "", F.hardswish, _distinct((4, 5), scale=_JOINTS)),
    Composition("logsigmoid", "", F.logsigmoid, _normal((3, 4))),
    Composition("mish", "", F.mish, _normal((3, 4))),
    Composition("dropout2d", "", _dropped, _normal((2, 3, 2))),
    Composition(
        "layer_norm",
        "",
        lambda x, w, b: F.layer_norm(x, (2, 3), w, b, 0.1),
        _normal((2, 2, 3), (2, 3), (2, 3)),
    ),
    Composition(
        "group_norm", "", lambda x, w, b: F.group_norm(x, 2, w, b, 0.1), _normal((2, 4, 2), (4,), (4,))
    ),
    Composition("instance_norm", "", lambda x: F.instance_norm(x, eps=0.1), _normal((2, 2, 3))),
    Composition("adaptive_avg_pool2d", "", lambda x: F.adaptive_avg_pool2d(x, (3, 2)), _normal(_IMAGE)),
    Composition("adaptive_max_pool2d", "", lambda x: F.adaptive_max_pool2d(x, (3, 2)), _distinct(_IMAGE)),
    Composition(
        "max_unpool2d", "", lambda x: F.max_unpool2d(x, [[[[0, 3], [8, 14]]]], 2), _normal((1, 1, 2, 2))
    ),
    Composition(
        "conv1d",
        "stride, padding, dilation",
        lambda x, w, b: F.conv1d(x, w, b, 2, 1, 2),
        _normal((1, 2, 7), (3, 2, 2), (3,)),
    ),
    Composition(
        "conv_transpose2d",
        "stride, padding, more at the end",
        lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, 1),
        _normal((1, 2, 2, 3), (2, 1, 3, 2), (1,)),
    ),
    *(
        Composition("pad", mode, lambda x, mode=mode: F.pad(x, (2, 1, 0, 1), mode), _normal((2, 3, 4)))
        for mode in ("constant", "reflect", "replicate", "circular")
    ),
    Composition("unfold", "", lambda x: F.unfold(x, (2, 3), 1, 1, 2), _normal(_IMAGE)),
    Composition("fold", "", lambda x: F.fold(x, (3, 4), (2, 3)), _normal((1, 6, 4))),
    Composition("interpolate", "nearest", lambda x: F.interpolate(x, (7, 3)), _normal(_IMAGE)),
    Composition(
        "interpolate", "bilinear", lambda x: F.interpolate(x, (7, 3), mode="bilinear"), _normal(_IMAGE)
    ),
    Composition(
        "interpolate",
        "bilinear, corners aligned",
        lambda x: F.interpolate(x, (3, 7), mode="bilinear", align_corners=True),
        _normal(_IMAGE),
    ),
    Composition(
        "nll_loss",
        "class weights and a label to ignore",
        lambda x: F.nll_loss(x, _LABELS, np.array([0.5, 2.0, 1.5])),
        _normal((3, 3)),
    ),
    Composition("mse_loss", "", F.mse_loss, _normal((3, 2), (3, 2))),
    Composition("l1_loss", "", F.l1_loss, _distinct((3, 2), (3, 2))),
    Composition(
        "smooth_l1_loss", "beta 0.6", lambda x, y: F.smooth_l1_loss(x, y, beta=0.6), _distinct((3, 2), (3, 2))
    ),
    Composition(
        "huber_loss", "delta 0.6", lambda x, y: F.huber_loss(x, y, delta=0.6), _distinct((3, 2), (3, 2))
    ),
    Composition("binary_cross_entropy", "", F.binary_cross_entropy, _shares((3, 2), (3, 2))),
    Composition(
        "binary_cross_entropy_with_logits",
        "a weight of the positive",
        lambda x, y: F.binary_cross_entropy_with_logits(x, y, pos_weight=2.5),
        _normal((3, 2), (3, 2)),
    ),
    Composition("kl_div", "", lambda x, y: F.kl_div(x, y, "batchmean"), _positive((3, 2), (3, 2))),
    Composition("embedding", "a row twice", lambda table: F.embedding(_ROWS, table), _normal((4, 3))),
    Composition("cat", "", lambda a, b: ops.cat([a, b], 1), _normal((3, 2), (3, 3))),
    Composition("stack", "", lambda a, b: ops.stack([a, b], 1), _normal((3, 2), (3, 2))),
    Composition(
        "split", "the second part", lambda x: ops.split(x, [1, 2, 1], 1)[1] * x[:, :1], _normal((3, 4))
    ),
    Composition("where", "broadcast", lambda a, b: ops.where(_CHOSEN, a, b), _normal((3, 4), (4,))),
    Composition("gather", "an element twice", lambda x: ops.gather(x, 1, _ROWS), _normal((2, 3))),
    Composition("topk", "", lambda x: ops.topk(x, 2, 1).values, _distinct((3, 4))),
    Composition("max", "along an axis", lambda x: ops.max(x, 0).values, _distinct((3, 4))),
    Composition("amin", "", lambda x: ops.amin(x, 1), _distinct((3, 4))),
    Composition("einsum", "a diagonal", lambda x: ops.einsum("iik->ki", x), _normal((2, 2, 3))),
    Composition(
        "einsum",
        "three operands",
        lambda *t: ops.einsum("ab,...bc,c->a...", *t),
        _normal((2, 3), (2, 3, 2), (2,)),
    ),
    Composition("var", "", lambda x: ops.var(x, 1), _normal((3, 4))),
    Composition("std", "biased", lambda x: ops.std(x, 0, correction=0), _normal((3, 4))),
    Composition("norm", "", lambda x: ops.norm(x, axis=1), _normal((3, 4))),
    Composition("norm", "p = 3", lambda x: ops.norm(x, 3), _distinct((3, 4))),
    Composition("mean", "", lambda x: ops.mean(x, (0, 2)), _normal((2, 3, 2))),
]


def names() -> list[str]:
    """The functions, in the order of the table."""
    return list(dict.fromkeys(each.operation for each in COMPOSITIONS))


def of(operation: str) -> Iterator[Composition]:
    """The calls of a function."""
    return (each for each in COMPOSITIONS if each.operation == operation)
