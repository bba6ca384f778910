"""Convolution along one axis: a two-dimensional one of images with a single row."""

from __future__ import annotations

from typing import Any

from minialex.checks import in_words, is_int
from minialex.errors import ShapeError
from minialex.kernels.contract.shapes import require_rank
from minialex.operations.conv2d import conv2d
from minialex.operations.layout import reshape
from minialex.tensor import Tensor, require_tensor, weight_tensor


def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution of sequences (N, C, L) with a weight (O, C/groups, K) to (N, O, P); see `conv2d`."""
    require_tensor("conv1d", x)
    weight = weight_tensor("conv1d", weight, x)
    require_rank(x.shape, 3, "conv1d input", "(N, C, L)")
    require_rank(weight.shape, 3, "conv1d weight", "(O, C/groups, K)")
    stride, dilation = _one("stride", stride, 1), _one("dilation", dilation, 1)
    padding = padding if isinstance(padding, str) else (0, _one("padding", padding, 0))
    (n, c, length), (out, per_group, k) = x.shape, weight.shape
    y = conv2d(
        reshape(x, (n, c, 1, length)),
        reshape(weight, (out, per_group, 1, k)),
        bias,
        (1, stride),
        padding,
        (1, dilation),
        groups,
    )
    return reshape(y, (*y.shape[:2], y.shape[3]))


def _one(name: str, value: Any, low: int) -> int:
    value = value[0] if isinstance(value, tuple | list) and len(value) == 1 else value
    if not is_int(value, low):
        raise ShapeError(f"conv1d: {name} must be an integer {low} or more, not {in_words(value)}")
    return int(value)
