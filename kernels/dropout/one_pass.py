"""Dropout in one compiled pass over memory: random words are drawn on the way, and stay in the cache."""

import math

import numpy as np

from minialex.integers import ceil_div
from minialex.kernels.contract.registry import kernel
from minialex.kernels.dropout import FORWARD
from minialex.kernels.runtime import memory, threads
from minialex.kernels.runtime.compiled import compiled

# Philox blocks drawn at a time: their four rows of words fit half of an L1 cache.
_DRAWN = 1024
# Elements of an item: some twenty microseconds of work. An array below this size stays on one thread.
_ITEM = 4 * 8 * _DRAWN


@compiled
def _draw(first, low, high, low_offset, high_offset, a, b, c, d):
    """Philox 4x32-10 for the blocks first, first + 1, ...: their four words, uint32 (blocks).

    Each round is done for all blocks before the next one, so that it can be vectorised.
    """
    shift = np.uint64(32)
    for i in range(a.size):
        block = first + np.uint64(i)
        a[i], b[i], c[i], d[i] = np.uint32(block), np.uint32(block >> shift), low_offset, high_offset
    for _ in range(10):
        for i in range(a.size):
            p = np.uint64(a[i]) * np.uint64(0xD2511F53)
            q = np.uint64(c[i]) * np.uint64(0xCD9E8D57)
            a[i], b[i] = np.uint32(q >> shift) ^ b[i] ^ low, np.uint32(q)
            c[i], d[i] = np.uint32(p >> shift) ^ d[i] ^ high, np.uint32(p)
        low, high = np.uint32(low + np.uint32(0x9E3779B9)), np.uint32(high + np.uint32(0xBB67AE85))


@compiled.parallel
def _forward(item, worker, x, y, words, divisor, threshold, key, offset):
    zero = x.dtype.type(0)
    own = words[worker]
    for start in range(item * _ITEM, min((item + 1) * _ITEM, x.size), 4 * _DRAWN):
        values, result = x[start : start + 4 * _DRAWN], y[start : start + 4 * _DRAWN]
        blocks = (values.size + 3) // 4
        a, b, c, d = own[0][:blocks], own[1][:blocks], own[2][:blocks], own[3][:blocks]
        _draw(np.uint64(start // 4), key[0], key[1], offset[0], offset[1], a, b, c, d)
        for word in range(4):
            drawn = own[word]
            for i in range((values.size + 3 - word) // 4):
                at = 4 * i + word
                scaled = values[at] / divisor  # before the choice, which is then no branch to mispredict
                result[at] = scaled if drawn[i] < threshold else zero


def _halves(word):
    """The low and the high half of a 64-bit word."""
    return np.uint32(word & 0xFFFFFFFF), np.uint32(word >> 32)


def _words_shape():
    return threads.num_threads(), 4, _DRAWN


def _words_bytes(x, *, p, seed, offset) -> int:
    return math.prod(_words_shape()) * np.dtype(np.uint32).itemsize


@kernel(FORWARD, algo="one-pass", rank=20, workspace=_words_bytes)
def dropout_forward(x, *, p, seed, offset):
    y = memory.empty(x.shape, x.dtype)
    words = memory.empty(_words_shape(), np.uint32)
    # A word is an integer: it is below a bound if it is below the next integer up.
    threshold = np.uint64(math.ceil((1 - p) * 2**32))
    flat, items = np.ascontiguousarray(x).reshape(-1), ceil_div(x.size, _ITEM)
    numbers = x.dtype.type(1 - p), threshold, _halves(seed), _halves(offset)
    _forward.run(items, flat, y.reshape(-1), words, *numbers)
    return y
