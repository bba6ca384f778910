"""Adam and AdamW, one number at a time."""

import math

import numpy as np

from minialex.kernels.contract.registry import kernel


@kernel("adam.update", algo="reference")
def adam_update(parameter, gradient, m, v, *, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    for at in np.ndindex(*parameter.shape):
        g = gradient[at]
        if decoupled:
            parameter[at] *= 1 - lr * weight_decay
        else:
            g = g + weight_decay * parameter[at]
        m[at] = beta1 * m[at] + (1 - beta1) * g
        v[at] = beta2 * v[at] + (1 - beta2) * g * g
        mean = m[at] / (1 - beta1**step)
        deviation = math.sqrt(v[at] / (1 - beta2**step))
        parameter[at] -= lr * mean / (deviation + eps)
