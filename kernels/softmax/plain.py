"""Softmax and log_softmax in whole-array NumPy operations."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.reduction.wide import wide_sum
from minialex.kernels.softmax import BACKWARD, FORWARD, LOG_BACKWARD, LOG_FORWARD


def _below_top(x, axis):
    """The line minus its maximum: -inf where the difference overflows, NaN for two equal infinities."""
    with np.errstate(over="ignore", invalid="ignore"):
        return x - x.max(axis=axis, keepdims=True)


@kernel(FORWARD, algo="plain", rank=10)
def softmax_forward(x, *, axis):
    y = np.exp(_below_top(x, axis))
    y /= wide_sum(y, axis, keepdims=True)
    return y


@kernel(BACKWARD, algo="plain", rank=10)
def softmax_backward(g, y, *, axis):
    return y * (g - wide_sum(g * y, axis, keepdims=True))


@kernel(LOG_FORWARD, algo="plain", rank=10)
def log_softmax_forward(x, *, axis):
    y = _below_top(x, axis)
    y -= np.log(wide_sum(np.exp(y), axis, keepdims=True))
    return y


@kernel(LOG_BACKWARD, algo="plain", rank=10)
def log_softmax_backward(g, y, *, axis):
    return g - np.exp(y) * wide_sum(g, axis, keepdims=True)
