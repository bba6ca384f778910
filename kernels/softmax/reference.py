"""Softmax and log_softmax by their definition, one line of the axis at a time."""

import math

import numpy as np

from minialex.kernels.registry import kernel


def _lines(shape, axis):
    """Yield an index for every line along the axis."""
    others = [n for i, n in enumerate(shape) if i != axis]
    for at in np.ndindex(*others):
        yield (*at[:axis], slice(None), *at[axis:])


@kernel("softmax.forward", algo="reference")
def softmax_forward(x, *, axis):
    y = np.zeros_like(x)
    for at in _lines(x.shape, axis):
        powers = [math.exp(value - max(x[at])) for value in x[at]]
        y[at] = [power / math.fsum(powers) for power in powers]
    return y


@kernel("softmax.backward", algo="reference")
def softmax_backward(g, y, *, axis):
    # The derivative of y[j] with respect to x[i] is y[j] * ((i == j) - y[i]).
    gx = np.zeros_like(g)
    for at in _lines(g.shape, axis):
        size = len(y[at])
        gx[at] = [
            math.fsum(g[at][j] * y[at][j] * ((i == j) - y[at][i]) for j in range(size)) for i in range(size)
        ]
    return gx


@kernel("log_softmax.forward", algo="reference")
def log_softmax_forward(x, *, axis):
    y = np.zeros_like(x)
    for at in _lines(x.shape, axis):
        top = max(x[at])
        total = math.log(math.fsum(math.exp(value - top) for value in x[at]))
        y[at] = [value - top - total for value in x[at]]
    return y


@kernel("log_softmax.backward", algo="reference")
def log_softmax_backward(g, y, *, axis):
    # The derivative of y[j] with respect to x[i] is (i == j) - exp(y[i]).
    gx = np.zeros_like(g)
    for at in _lines(g.shape, axis):
        size = len(y[at])
        gx[at] = [
            math.fsum(g[at][j] * ((i == j) - math.exp(y[at][i])) for j in range(size)) for i in range(size)
        ]
    return gx
