"""Softmax and log_softmax by definition, one line of the axis at a time."""

import math

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.softmax import BACKWARD, FORWARD, LOG_BACKWARD, LOG_FORWARD


def _lines(shape, axis):
    """Yield an index for every line along the axis."""
    others = [n for i, n in enumerate(shape) if i != axis]
    for at in np.ndindex(*others):
        yield (*at[:axis], slice(None), *at[axis:])


def log_softmax_of(line):
    """log_softmax of a line, in Python floats: there inf - inf is NaN without a warning."""
    values = line.tolist()
    top = max(values)
    total = math.log(math.fsum(math.exp(value - top) for value in values))
    return [value - top - total for value in values]


@kernel(FORWARD, algo="reference")
def softmax_forward(x, *, axis):
    y = np.zeros_like(x)
    for at in _lines(x.shape, axis):
        values = x[at].tolist()
        powers = [math.exp(value - max(values)) for value in values]
        y[at] = [power / math.fsum(powers) for power in powers]
    return y


@kernel(BACKWARD, algo="reference")
def softmax_backward(g, y, *, axis):
    # The derivative of y[j] with respect to x[i] is y[j] * ((i == j) - y[i]).
    gx = np.zeros_like(g)
    for at in _lines(g.shape, axis):
        size = len(y[at])
        gx[at] = [
            math.fsum(g[at][j] * y[at][j] * ((i == j) - y[at][i]) for j in range(size)) for i in range(size)
        ]
    return gx


@kernel(LOG_FORWARD, algo="reference")
def log_softmax_forward(x, *, axis):
    y = np.zeros_like(x)
    for at in _lines(x.shape, axis):
        with np.errstate(over="ignore"):
            y[at] = log_softmax_of(x[at])
    return y


@kernel(LOG_BACKWARD, algo="reference")
def log_softmax_backward(g, y, *, axis):
    # The derivative of y[j] with respect to x[i] is (i == j) - exp(y[i]).
    gx = np.zeros_like(g)
    for at in _lines(g.shape, axis):
        size = len(y[at])
        gx[at] = [
            math.fsum(g[at][j] * ((i == j) - math.exp(y[at][i])) for j in range(size)) for i in range(size)
        ]
    return gx
