"""Adam and AdamW, one number at a time."""

import math

import numpy as np

from minialex.kernels.adam import UPDATE
from minialex.kernels.contract.registry import kernel


@kernel(UPDATE, algo="reference")
def adam_update(parameter, gradient, m, v, *, call):
    for at in np.ndindex(*parameter.shape):
        g = gradient[at]
        if call.decoupled:
            parameter[at] *= 1 - call.lr * call.weight_decay
        else:
            g = g + call.weight_decay * parameter[at]
        m[at] = call.beta1 * m[at] + (1 - call.beta1) * g
        v[at] = call.beta2 * v[at] + (1 - call.beta2) * g * g
        mean = m[at] / (1 - call.beta1**call.step)
        deviation = math.sqrt(v[at] / (1 - call.beta2**call.step))
        parameter[at] -= call.lr * mean / (deviation + call.eps)
