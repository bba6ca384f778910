"""Convolution along one axis: a two-dimensional one of images with a single row."""

from __future__ import annotations

from typing import Any

from minialex.errors import ShapeError
from minialex.kernels.contract.shapes import require_rank
from minialex.kernels.contract.windows import single
from minialex.operations.conv2d import conv2d
from minialex.operations.inputs import require_floats, weight_tensor
from minialex.operations.layout import reshape
from minialex.tensor import Tensor


def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution of sequences (N, C, L) with a weight (O, C/groups, K) to (N, O, P).

    It is `conv2d` of images of one row, which has the parameters.
    """
    require_floats("conv1d", x)
    weight = weight_tensor("conv1d", weight, x)
    require_rank(x.shape, 3, "conv1d input", "(N, C, L)")
    require_rank(weight.shape, 3, "conv1d weight", "(O, C/groups, K)")
    stride, dilation = single(stride, "conv1d: stride"), single(dilation, "conv1d: dilation")
    padding = padding if isinstance(padding, str) else (0, single(padding, "conv1d: padding", minimum=0))
    (n, c, length), (out, per_group, k) = x.shape, weight.shape
    images, windows = reshape(x, (n, c, 1, length)), reshape(weight, (out, per_group, 1, k))
    try:
        y = conv2d(images, windows, bias, (1, stride), padding, (1, dilation), groups)
    except ShapeError as error:
        raise ShapeError(f"conv1d: input {x.shape}, as images of one row: {error}") from None
    return reshape(y, (*y.shape[:2], y.shape[3]))
