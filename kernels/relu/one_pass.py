"""The rectified linear unit in compiled loops over flat blocks: one pass over memory."""

import numpy as np

from minialex.integers import ceil_div
from minialex.kernels.contract.registry import kernel
from minialex.kernels.relu import BACKWARD, FORWARD
from minialex.kernels.runtime.compiled import compiled
from minialex.kernels.runtime.memory import empty

# Elements of an item: some ten microseconds of work. An array below this size stays on one thread.
_BLOCK = 2**15


@compiled.parallel
def _forward(item, worker, x, y):
    zero = x.dtype.type(0)
    x, y = x[item * _BLOCK : (item + 1) * _BLOCK], y[item * _BLOCK : (item + 1) * _BLOCK]
    for i in range(x.size):
        y[i] = zero if x[i] <= zero else x[i]  # a NaN is not <= 0


@compiled.parallel
def _backward(item, worker, g, y, gx):
    zero = g.dtype.type(0)
    part = slice(item * _BLOCK, (item + 1) * _BLOCK)
    g, y, gx = g[part], y[part], gx[part]
    for i in range(g.size):
        upstream = g[i]
        gx[i] = upstream if y[i] > zero else zero


def _run(body, *arrays):
    """Run a body on the flat arrays and on a result of their shape, which it fills."""
    result = empty(arrays[0].shape, arrays[0].dtype)
    flat = (np.ascontiguousarray(array).reshape(-1) for array in (*arrays, result))
    body.run(ceil_div(result.size, _BLOCK), *flat)
    return result


@kernel(FORWARD, algo="one-pass", rank=20, records=1)
def relu_forward(x):
    return _run(_forward, x)


@kernel(BACKWARD, algo="one-pass", rank=20)
def relu_backward(g, y):
    return _run(_backward, g, y)
