"""Adam and AdamW in one pass over parameter, gradient and the two moments."""

import math

import numpy as np

from minialex.kernels.adam import UPDATE
from minialex.kernels.adam.update import supports
from minialex.kernels.contract.registry import kernel
from minialex.kernels.runtime.blocks import items_of
from minialex.kernels.runtime.compiled import compiled


@compiled.parallel
def _step(item, worker, size, parameter, gradient, first, second, constants):
    rate, beta1, share1, beta2, share2, deviation_scale, eps, decay, kept = constants
    block = slice(item * size, (item + 1) * size)
    p, g, m, v = parameter[block], gradient[block], first[block], second[block]
    for i in range(len(p)):
        slope = g[i] + decay * p[i]
        m[i] = beta1 * m[i] + share1 * slope
        v[i] = beta2 * v[i] + share2 * (slope * slope)
        p[i] = kept * p[i] - rate * (m[i] / (math.sqrt(v[i]) * deviation_scale + eps))


@kernel(UPDATE, algo="one-pass", rank=20, supports=supports)
def adam_update(parameter, gradient, m, v, *, call):
    _step.run(
        *items_of(parameter.size),
        *(np.ascontiguousarray(array).reshape(-1) for array in (parameter, gradient, m, v)),
        tuple(map(parameter.dtype.type, call.constants())),
    )
