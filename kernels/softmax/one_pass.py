"""Softmax and log_softmax along the last axis, row by row: a row stays in the cache for all its steps."""

import math
from functools import partial

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.runtime.compiled import compiled
from minialex.kernels.runtime.memory import empty
from minialex.kernels.softmax import BACKWARD, FORWARD, LOG_BACKWARD, LOG_FORWARD
from minialex.kernels.softmax.exponential import exp_float32
from minialex.kernels.softmax.rows import exponentials, maximum, scratch, share_out, sum_and_product


def supports(x, *_, axis):
    """Whether the axis is the last."""
    if x.size == 0:
        return "x is empty"
    if axis != x.ndim - 1:
        return f"axis {axis} of shape {x.shape} is not the last"
    return True


def domain():
    """What `supports` accepts."""
    return {"empty": False, "last": True}


def _run(body, *arrays):
    """Run a body on the rows (N, C) of arrays; return its result in their shape."""
    rows = [np.ascontiguousarray(array).reshape(-1, array.shape[-1]) for array in arrays]
    items, chunk = share_out(rows[0])
    y = empty(arrays[0].shape, arrays[0].dtype)
    body.run(items, chunk, *rows, y.reshape(rows[0].shape), *scratch(rows[0]))
    return y


@compiled.parallel
def _softmax(item, worker, chunk, x, y, sums, tops):
    for n in range(item * chunk, min((item + 1) * chunk, len(x))):
        row, result = x[n], y[n]
        top = maximum(row, tops[worker])
        share = np.float32(1 / exponentials(row, top, sums[worker, 0], result))
        for i in range(len(row)):
            result[i] *= share


@compiled.parallel
def _softmax_grad(item, worker, chunk, g, y, gx, sums, tops):
    for n in range(item * chunk, min((item + 1) * chunk, len(g))):
        upstream, row, result = g[n], y[n], gx[n]
        inner = np.float32(sum_and_product(row, upstream, np.float32(0), sums[worker])[1])
        for i in range(len(row)):
            result[i] = row[i] * (upstream[i] - inner)


@compiled.parallel
def _log_softmax(item, worker, chunk, x, y, sums, tops):
    for n in range(item * chunk, min((item + 1) * chunk, len(x))):
        row, result = x[n], y[n]
        top = maximum(row, tops[worker])
        log_sum = np.float32(math.log(exponentials(row, top, sums[worker, 0], result)))
        for i in range(len(row)):
            result[i] = (row[i] - top) - log_sum


@compiled.parallel
def _log_softmax_grad(item, worker, chunk, g, y, gx, sums, tops):
    for n in range(item * chunk, min((item + 1) * chunk, len(g))):
        upstream, row, result = g[n], y[n], gx[n]
        inner = np.float32(sum_and_product(upstream, row, np.float32(0), sums[worker])[0])
        for i in range(len(row)):
            result[i] = upstream[i] - exp_float32(row[i]) * inner


_one_pass = partial(kernel, algo="one-pass", rank=20, supports=supports, dtypes=("float32",), domain=domain)


@_one_pass(FORWARD, records=1)
def softmax_forward(x, *, axis):
    return _run(_softmax, x)


@_one_pass(BACKWARD)
def softmax_backward(g, y, *, axis):
    return _run(_softmax_grad, g, y)


@_one_pass(LOG_FORWARD, records=1)
def log_softmax_forward(x, *, axis):
    return _run(_log_softmax, x)


@_one_pass(LOG_BACKWARD)
def log_softmax_backward(g, y, *, axis):
    return _run(_log_softmax_grad, g, y)
