"""Batch normalisation in whole-array NumPy operations.

The sums are in float64. For a mean much larger than the deviation, x - c is exact in float32 for c, the
number nearest the mean; the rest of the mean becomes part of the variance and of the bias.
"""

import numpy as np

from minialex.kernels.batch_norm import BACKWARD, EVALUATE, FORWARD
from minialex.kernels.contract.registry import kernel
from minialex.kernels.reduction.wide import wide_sum


def _others(x, axis):
    """The axes over which a feature's statistics are taken, and the shape that broadcasts a feature."""
    axes = tuple(i for i in range(x.ndim) if i != axis)
    shape = [1] * x.ndim
    shape[axis] = -1
    return axes, shape


@kernel(FORWARD, algo="plain", rank=10)
def batch_norm_forward(x, weight, bias, *, call):
    axes, shape = _others(x, call.axis)
    wide_mean = x.mean(axis=axes, dtype=np.float64)
    mean = wide_mean.astype(x.dtype)
    rest = wide_mean - mean
    y = x - mean.reshape(shape)
    var = np.maximum(np.square(y).mean(axis=axes, dtype=np.float64) - np.square(rest), 0)
    scale = weight / np.sqrt(var + call.eps)
    y *= scale.astype(x.dtype).reshape(shape)
    y += (bias - rest * scale).astype(x.dtype).reshape(shape)
    return y, mean, var.astype(x.dtype)


@kernel(BACKWARD, algo="plain", rank=10)
def batch_norm_backward(g, x, weight, mean, var, *, call):
    axes, shape = _others(x, call.axis)
    count = x.size // max(1, x.shape[call.axis])
    rstd = 1 / np.sqrt(var + call.eps)
    h = x - mean.reshape(shape)
    h *= rstd.reshape(shape)
    gb = wide_sum(g, axes)
    gw = wide_sum(g * h, axes)
    h *= (-gw / count).reshape(shape)
    h += g
    h -= (gb / count).reshape(shape)
    h *= (weight * rstd).reshape(shape)
    return h, gw, gb


@kernel(EVALUATE, algo="plain", rank=10)
def batch_norm_evaluate(x, weight, bias, mean, var, *, call):
    _, shape = _others(x, call.axis)
    y = x - mean.reshape(shape)
    y *= (weight / np.sqrt(var + call.eps)).reshape(shape)
    y += bias.reshape(shape)
    return y
