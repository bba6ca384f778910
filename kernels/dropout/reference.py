"""Dropout by definition, with Philox 4x32-10 in plain integers."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.dropout import FORWARD

_WORD = 0xFFFFFFFF


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """One block of Philox 4x32-10: four random words from four counter words and two key words."""
    a, b, c, d = counter
    low, high = key
    for _ in range(10):
        first, second = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (
            (second >> 32) ^ b ^ low,
            second & _WORD,
            (first >> 32) ^ d ^ high,
            first & _WORD,
        )
        low, high = (low + 0x9E3779B9) & _WORD, (high + 0xBB67AE85) & _WORD
    return a, b, c, d


@kernel(FORWARD, algo="reference")
def dropout_forward(x, *, p, seed, offset):
    y = np.zeros_like(x)
    for i, at in enumerate(np.ndindex(*x.shape)):
        block = i // 4
        words = philox((block & _WORD, block >> 32, offset & _WORD, offset >> 32), (seed & _WORD, seed >> 32))
        if words[i % 4] < (1 - p) * 2**32:
            y[at] = x[at] / (1 - p)
    return y
