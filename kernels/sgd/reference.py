"""Stochastic gradient descent, one number at a time."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.sgd import UPDATE


@kernel(UPDATE, algo="reference")
def sgd_update(parameter, gradient, velocity, *, call):
    for at in np.ndindex(*parameter.shape):
        d = gradient[at] + call.weight_decay * parameter[at]
        if velocity is not None:
            velocity[at] = call.momentum * velocity[at] + d
            d = d + call.momentum * velocity[at] if call.nesterov else velocity[at]
        parameter[at] -= call.lr * d
