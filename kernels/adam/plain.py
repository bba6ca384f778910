"""Adam and AdamW in NumPy operations on blocks that stay in the cache."""

import math

import numpy as np

from minialex.kernels.adam import UPDATE
from minialex.kernels.adam.update import supports
from minialex.kernels.contract.registry import kernel
from minialex.kernels.runtime.blocks import BLOCK, blocks


@kernel(UPDATE, algo="plain", rank=10, supports=supports)
def adam_update(parameter, gradient, m, v, *, call):
    rate = call.lr / (1 - call.beta1**call.step)
    deviation_scale = 1 / math.sqrt(1 - call.beta2**call.step)
    scratch = np.empty((2, min(BLOCK, parameter.size)), parameter.dtype)
    for p, g, m_block, v_block in blocks(parameter, np.ascontiguousarray(gradient), m, v):
        decayed, term = scratch[:, : p.size]
        if call.decoupled:
            p *= 1 - call.lr * call.weight_decay
        elif call.weight_decay:
            np.multiply(p, call.weight_decay, out=decayed)
            decayed += g
            g = decayed
        m_block *= call.beta1
        np.multiply(g, 1 - call.beta1, out=term)
        m_block += term
        v_block *= call.beta2
        np.multiply(g, g, out=term)
        term *= 1 - call.beta2
        v_block += term
        np.sqrt(v_block, out=term)
        term *= deviation_scale
        term += call.eps
        np.divide(m_block, term, out=term)
        term *= rate
        p -= term
