"""Stochastic gradient descent, one number at a time."""

import numpy as np

from minialex.kernels.contract.registry import kernel


@kernel("sgd.update", algo="reference")
def sgd_update(parameter, gradient, velocity, *, lr, momentum, weight_decay, nesterov):
    for at in np.ndindex(*parameter.shape):
        d = gradient[at] + weight_decay * parameter[at]
        if velocity is not None:
            velocity[at] = momentum * velocity[at] + d
            d = d + momentum * velocity[at] if nesterov else velocity[at]
        parameter[at] -= lr * d
