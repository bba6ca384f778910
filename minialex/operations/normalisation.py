"""Normalisation over other groups than those of batch normalisation, whose kernels they share.

Layer, group and instance normalisation are batch normalisation of the same numbers in another shape: what is
normalised together is one feature. Then each channel, or each element, is scaled and shifted.
"""

from __future__ import annotations

import math

from minialex.checks import in_words, is_int
from minialex.errors import ShapeError
from minialex.operations.batch_norm import batch_norm
from minialex.operations.elementwise import sqrt
from minialex.operations.inputs import require_floats
from minialex.operations.layout import reshape
from minialex.operations.reduction import mean
from minialex.tensor import Tensor, as_tensor


def _rows(x: Tensor, rows: int, eps: float) -> Tensor:
    """x as that many rows, each normalised to mean 0 and variance 1, in its own shape."""
    if not x.size:
        return x
    matrix = reshape(x, (rows, -1))
    if matrix.shape[1] > 1:
        return reshape(batch_norm(matrix, None, None, training=True, eps=eps, axis=0), x.shape)
    centred = matrix - mean(matrix, 1, True)
    return reshape(centred / sqrt(mean(centred * centred, 1, True) + eps), x.shape)


def _scaled(y: Tensor, weight: Tensor | None, bias: Tensor | None, name: str, shape, at) -> Tensor:
    """y * weight + bias, both of that shape, brought to the place where they are broadcast."""
    for what, values in (("weight", weight), ("bias", bias)):
        if values is not None and values.shape != shape:
            raise ShapeError(
                f"{name}: {what} must have shape {shape}, not {values.shape}, for input {y.shape}"
            )
    y = y if weight is None else y * reshape(as_tensor(weight, y), at)
    return y if bias is None else y + reshape(as_tensor(bias, y), at)


def layer_norm(
    x: Tensor, normalized_shape, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalise the last axes together, those of `normalized_shape` (Ba et al. 2016).

    Parameters
    ----------
    x : Tensor (..., *normalized_shape)
    normalized_shape : int or tuple of int
    weight, bias : Tensor, of that shape, optional
    eps : float
        Added to the variance, which is the biased one.
    """
    require_floats("layer_norm", x)
    shape = (normalized_shape,) if is_int(normalized_shape, 0) else tuple(normalized_shape)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ShapeError(
            f"layer_norm: normalized_shape must be the last axes of {x.shape}, not {normalized_shape}"
        )
    y = _rows(x, math.prod(x.shape[: x.ndim - len(shape)]), eps)
    return _scaled(y, weight, bias, "layer_norm", shape, shape)


def group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalise each image's channels in groups (Wu and He 2018).

    Parameters
    ----------
    x : Tensor (N, C, ...)
    num_groups : int
        Divides C.
    weight, bias : Tensor (C,), optional
    eps : float
        Added to the variance, which is the biased one.
    """
    require_floats("group_norm", x)
    if x.ndim < 2 or not is_int(num_groups, 1) or x.shape[1] % num_groups:
        raise ShapeError(
            f"group_norm: num_groups must be a positive int that divides the channels of {x.shape}, "
            f"not {in_words(num_groups)}"
        )
    y = _rows(x, x.shape[0] * num_groups, eps)
    channels = x.shape[1:2]
    return _scaled(y, weight, bias, "group_norm", channels, (*channels, *(1,) * (x.ndim - 2)))


def instance_norm(
    x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalise each channel of each image (Ulyanov et al. 2016): a group a channel."""
    require_floats("instance_norm", x)
    if x.ndim < 3:
        raise ShapeError(f"instance_norm: the input must be (N, C, ...) with an axis of cells, not {x.shape}")
    return group_norm(x, max(x.shape[1], 1), weight, bias, eps)
