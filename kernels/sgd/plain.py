"""Stochastic gradient descent in NumPy operations on blocks that stay in the cache."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.runtime.blocks import BLOCK, blocks
from minialex.kernels.sgd import UPDATE
from minialex.kernels.sgd.update import supports


@kernel(UPDATE, algo="plain", rank=10, supports=supports)
def sgd_update(parameter, gradient, velocity, *, call):
    scratch = np.empty(min(BLOCK, parameter.size), parameter.dtype)
    for p, g, v in blocks(parameter, np.ascontiguousarray(gradient), velocity):
        d = scratch[: p.size]
        np.multiply(p, call.weight_decay, out=d)
        d += g
        if v is not None:
            v *= call.momentum
            v += d
            if call.nesterov:
                d += call.momentum * v
            else:
                d[:] = v
        d *= call.lr
        p -= d
