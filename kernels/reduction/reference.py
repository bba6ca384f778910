"""Sums and maxima, one number at a time."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.reduction import AMAX, SUM


def _reduce(x, axis, keepdims, start, step):
    y = np.full([1 if i in axis else n for i, n in enumerate(x.shape)], start, x.dtype)
    for at in np.ndindex(*x.shape):
        target = tuple(0 if i in axis else n for i, n in enumerate(at))
        y[target] = step(y[target], x[at])
    return y if keepdims else y.reshape([n for i, n in enumerate(x.shape) if i not in axis])


@kernel(SUM, algo="reference")
def sum_forward(x, *, axis, keepdims):
    return _reduce(x, axis, keepdims, 0, lambda total, value: total + value)


@kernel(AMAX, algo="reference")
def amax_forward(x, *, axis, keepdims):
    return _reduce(x, axis, keepdims, -np.inf, max)
