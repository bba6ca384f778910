"""Cross-entropy row by row: a row stays in the cache for all its steps, and is written once.

loss[n] = T * log(sum(exp(x - top))) - sum(target * (x - top)),    T = sum(target), top = max(x)

Both products are 0 where the target is, whatever the other factor.
"""

import math

import numpy as np

from minialex.kernels.contract.registry import Sizes, kernel
from minialex.kernels.cross_entropy import BACKWARD, FORWARD
from minialex.kernels.reduction.features import LANES, total
from minialex.kernels.runtime.compiled import compiled
from minialex.kernels.runtime.memory import empty
from minialex.kernels.runtime.threads import num_threads
from minialex.kernels.softmax import one_pass as softmax
from minialex.kernels.softmax.rows import exponentials, maximum, scratch, share_out


def _forward_supports(x, target):
    return softmax.supports(x, axis=1)


def _backward_supports(g, x, target):
    return softmax.supports(x, axis=1)


@compiled
def _sums_of_target(target, row, top, sums):
    """Return sum(target) and sum(target * (row - top)) over the elements where the target is not 0."""
    of_target, of_product = sums[0], sums[1]
    sums[:] = 0
    for start in range(0, len(target), LANES):
        weights, logits = target[start : start + LANES], row[start : start + LANES]
        for lane in range(len(weights)):
            weight = np.float64(weights[lane])
            of_target[lane] += weight
            of_product[lane] += weight * (logits[lane] - top) if weight != 0 else 0.0
    return total(of_target), total(of_product)


def _domain():
    return {"images": Sizes(1)}


@compiled.parallel
def _losses(item, worker, chunk, x, target, loss, powers, sums, tops):
    for n in range(item * chunk, min((item + 1) * chunk, len(x))):
        top = maximum(x[n], tops[worker])
        log_sum = math.log(exponentials(x[n], top, sums[worker, 0], powers[worker]))
        whole, product = _sums_of_target(target[n], x[n], top, sums[worker])
        loss[n] = (whole * log_sum if whole != 0 else 0.0) - product


@kernel(
    FORWARD,
    algo="one-pass",
    rank=20,
    supports=_forward_supports,
    dtypes=("float32",),
    domain=_domain,
)
def cross_entropy_forward(x, target):
    x, target = np.ascontiguousarray(x), np.ascontiguousarray(target)
    items, chunk = share_out(x)
    loss = empty(len(x), x.dtype)
    powers = empty((num_threads(), x.shape[1]), x.dtype)
    _losses.run(items, chunk, x, target, loss, powers, *scratch(x))
    return loss


@compiled.parallel
def _gradients(item, worker, chunk, g, x, target, gx, sums, tops):
    for n in range(item * chunk, min((item + 1) * chunk, len(x))):
        row, weights, result = x[n], target[n], gx[n]
        top, upstream = maximum(row, tops[worker]), g[n]
        of_powers = exponentials(row, top, sums[worker, 0], result)
        whole = _sums_of_target(weights, row, top, sums[worker])[0]
        share = np.float32(whole / of_powers)
        if whole == 0:
            result[:] = 0
            share = np.float32(0)
        for i in range(len(row)):
            result[i] = upstream * (result[i] * share - weights[i])


@kernel(
    BACKWARD,
    algo="one-pass",
    rank=20,
    supports=_backward_supports,
    dtypes=("float32",),
    domain=_domain,
)
def cross_entropy_backward(g, x, target):
    g, x, target = (np.ascontiguousarray(array) for array in (g, x, target))
    items, chunk = share_out(x)
    gx = empty(x.shape, x.dtype)
    _gradients.run(items, chunk, g, x, target, gx, *scratch(x))
    return gx
