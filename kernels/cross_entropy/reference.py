"""Cross-entropy by definition, row by row, in Python floats."""

import math

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.cross_entropy import BACKWARD, FORWARD
from minialex.kernels.softmax.reference import log_softmax_of


@kernel(FORWARD, algo="reference")
def cross_entropy_forward(x, target):
    loss = np.zeros(len(x), x.dtype)
    for n, row in enumerate(x):
        log_shares = log_softmax_of(row)
        terms = (-t * log_share for t, log_share in zip(target[n].tolist(), log_shares, strict=True) if t)
        with np.errstate(over="ignore"):
            loss[n] = math.fsum(terms)
    return loss


@kernel(BACKWARD, algo="reference")
def cross_entropy_backward(g, x, target):
    gx = np.zeros_like(x)
    for n, row in enumerate(x):
        total = math.fsum(target[n])
        for c, log_share in enumerate(log_softmax_of(row)):
            of_softmax = math.exp(log_share) * total if total else 0
            gx[n, c] = g[n] * (of_softmax - target[n, c])
    return gx
