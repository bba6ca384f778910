"""Batch normalisation in whole-array NumPy operations."""

import numpy as np

from minialex.kernels.registry import kernel


def _others(x, axis):
    """The axes that a feature's statistics are taken over, and the shape that broadcasts a feature."""
    axes = tuple(i for i in range(x.ndim) if i != axis)
    shape = [1] * x.ndim
    shape[axis] = -1
    return axes, shape


@kernel("batch_norm.forward", algo="numpy", rank=10)
def batch_norm_forward(x, weight, bias, *, axis, eps):
    axes, shape = _others(x, axis)
    mean = x.mean(axis=axes)
    y = x - mean.reshape(shape)
    var = np.square(y).mean(axis=axes)
    y *= (weight / np.sqrt(var + eps)).reshape(shape)
    y += bias.reshape(shape)
    return y, mean, var


@kernel("batch_norm.backward", algo="numpy", rank=10)
def batch_norm_backward(g, x, weight, mean, var, *, axis, eps):
    axes, shape = _others(x, axis)
    count = x.size // max(1, x.shape[axis])
    rstd = 1 / np.sqrt(var + eps)
    h = x - mean.reshape(shape)
    h *= rstd.reshape(shape)
    gb = g.sum(axis=axes)
    gw = (g * h).sum(axis=axes)
    h *= (-gw / count).reshape(shape)
    h += g
    h -= (gb / count).reshape(shape)
    h *= (weight * rstd).reshape(shape)
    return h, gw, gb


@kernel("batch_norm.evaluate", algo="numpy", rank=10)
def batch_norm_evaluate(x, weight, bias, mean, var, *, axis, eps):
    _, shape = _others(x, axis)
    y = x - mean.reshape(shape)
    y *= (weight / np.sqrt(var + eps)).reshape(shape)
    y += bias.reshape(shape)
    return y
