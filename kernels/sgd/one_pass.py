"""Stochastic gradient descent in one pass over parameter, gradient and velocity."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.runtime.blocks import items_of
from minialex.kernels.runtime.compiled import compiled
from minialex.kernels.sgd import UPDATE
from minialex.kernels.sgd.update import supports


@compiled.parallel
def _step(item, worker, size, parameter, gradient, lr, weight_decay):
    block = slice(item * size, (item + 1) * size)
    p, g = parameter[block], gradient[block]
    for i in range(len(p)):
        p[i] -= lr * (g[i] + weight_decay * p[i])


@compiled.parallel
def _momentum_step(item, worker, size, parameter, gradient, velocity, lr, momentum, weight_decay, nesterov):
    block = slice(item * size, (item + 1) * size)
    p, g, v = parameter[block], gradient[block], velocity[block]
    if nesterov:
        for i in range(len(p)):
            d = g[i] + weight_decay * p[i]
            v[i] = momentum * v[i] + d
            p[i] -= lr * (d + momentum * v[i])
    else:
        for i in range(len(p)):
            v[i] = momentum * v[i] + (g[i] + weight_decay * p[i])
            p[i] -= lr * v[i]


@kernel(UPDATE, algo="one-pass", rank=20, supports=supports)
def sgd_update(parameter, gradient, velocity, *, call):
    items, size = items_of(parameter.size)
    number = parameter.dtype.type
    parameter, gradient = parameter.reshape(-1), np.ascontiguousarray(gradient).reshape(-1)
    if velocity is None:
        _step.run(items, size, parameter, gradient, number(call.lr), number(call.weight_decay))
    else:
        numbers = map(number, (call.lr, call.momentum, call.weight_decay))
        arrays = parameter, gradient, velocity.reshape(-1)
        _momentum_step.run(items, size, *arrays, *numbers, bool(call.nesterov))
