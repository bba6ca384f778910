"""The rectified linear unit in compiled loops over flat blocks: one pass over memory."""

import numpy as np

from minialex.integers import ceil_div
from minialex.kernels.contract.registry import kernel
from minialex.kernels.relu import BACKWARD, FORWARD, MASK
from minialex.kernels.relu.shape import WORD, mask_shape
from minialex.kernels.runtime.compiled import Intrinsic, compiled
from minialex.kernels.runtime.memory import empty

word_of = Intrinsic("word_of", "minialex.kernels.relu._words")
select_by = Intrinsic("select_by", "minialex.kernels.relu._words")

# Elements of an item: some ten microseconds of work. An array below this size stays on one thread.
_BLOCK = 2**15
_WORDS = _BLOCK // WORD


@compiled.parallel
def _forward(item, worker, x, y):
    zero = x.dtype.type(0)
    x, y = x[item * _BLOCK : (item + 1) * _BLOCK], y[item * _BLOCK : (item + 1) * _BLOCK]
    for i in range(x.size):
        y[i] = zero if x[i] <= zero else x[i]  # a NaN is not <= 0


@compiled.parallel
def _mask(item, worker, y, mask):
    zero = y.dtype.type(0)
    y, mask = y[item * _BLOCK : (item + 1) * _BLOCK], mask[item * _WORDS : (item + 1) * _WORDS]
    whole = y.size // WORD
    for i in range(whole):
        mask[i] = word_of(y, i * WORD)
    if whole < mask.size:
        word = np.uint32(0)
        for bit in range(y.size - whole * WORD):
            word |= np.uint32(y[whole * WORD + bit] > zero) << np.uint32(bit)
        mask[whole] = word


@compiled.parallel
def _backward(item, worker, g, mask, gx):
    zero = g.dtype.type(0)
    part = slice(item * _BLOCK, (item + 1) * _BLOCK)
    g, gx, mask = g[part], gx[part], mask[item * _WORDS : (item + 1) * _WORDS]
    whole = g.size // WORD
    for i in range(whole):
        select_by(mask[i], g, gx, i * WORD)
    for i in range(whole * WORD, g.size):
        upstream = g[i]
        gx[i] = upstream if mask[whole] >> np.uint32(i - whole * WORD) & np.uint32(1) else zero


def _flat(array):
    return np.ascontiguousarray(array).reshape(-1)


@kernel(FORWARD, algo="one-pass", rank=20, records=1)
def relu_forward(x):
    y = empty(x.shape, x.dtype)
    _forward.run(ceil_div(y.size, _BLOCK), _flat(x), _flat(y))
    return y


@kernel(MASK, algo="one-pass", rank=20, records=1)
def relu_mask(y):
    mask = empty(mask_shape(y.shape), np.uint32)
    _mask.run(ceil_div(y.size, _BLOCK), _flat(y), mask)
    return mask


@kernel(BACKWARD, algo="one-pass", rank=20)
def relu_backward(g, mask):
    gx = empty(g.shape, g.dtype)
    _backward.run(ceil_div(g.size, _BLOCK), _flat(g), mask, _flat(gx))
    return gx
