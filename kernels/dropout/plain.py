"""Dropout with Philox 4x32-10 over whole arrays."""

import numpy as np

from minialex.integers import ceil_div
from minialex.kernels.contract.registry import kernel
from minialex.kernels.dropout import FORWARD
from minialex.kernels.runtime import memory

# Philox blocks made at a time: their eight arrays of 64-bit words stay in the L2 cache.
_BLOCKS = 8192


def _random_words(first_block, blocks, seed, offset):
    """The words of consecutive Philox blocks: uint64 (blocks, 4), each below 2**32."""
    low_word, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    block = np.arange(first_block, first_block + blocks, dtype=np.uint64)
    a, b = block & low_word, block >> shift
    c = np.full(blocks, offset & 0xFFFFFFFF, np.uint64)
    d = np.full(blocks, offset >> 32, np.uint64)
    low, high = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        # 32-bit factors: the 64-bit products are exact.
        first, second = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a = (second >> shift) ^ b ^ np.uint64(low)
        c = (first >> shift) ^ d ^ np.uint64(high)
        b, d = second & low_word, first & low_word
        low, high = (low + 0x9E3779B9) & 0xFFFFFFFF, (high + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack((a, b, c, d), axis=1)


@kernel(FORWARD, algo="plain", rank=10)
def dropout_forward(x, *, p, seed, offset):
    y = memory.zeros(x.shape, x.dtype)
    flat_x, flat_y = x.reshape(-1), y.reshape(-1)
    for block in range(0, ceil_div(x.size, 4), _BLOCKS):
        part = slice(4 * block, min(4 * (block + _BLOCKS), x.size))
        length = part.stop - part.start
        words = _random_words(block, ceil_div(length, 4), seed, offset).reshape(-1)[:length]
        np.divide(flat_x[part], 1 - p, out=flat_y[part], where=words < (1 - p) * 2**32)
    return y
