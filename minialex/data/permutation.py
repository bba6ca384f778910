"""Random orders that are the same on every machine and with every version of NumPy."""

import numpy as np

# What random words are for. Two uses with the same seed must not share their random numbers.
# EPOCH and SPLIT are orders; SAMPLE is the augmentation of a sample (see sample_random.py); DRAW says which
# samples of a data set are taken at all.
EPOCH, SPLIT, SAMPLE, DRAW = 0, 1, 2, 3


def permutation(count: int, *, seed: int, draw: int, use: int) -> np.ndarray:
    """Return the numbers 0 to count - 1 in a random order, a pure function of the arguments.

    `numpy.random.Generator.permutation` may change from one NumPy release to the next (NEP 19
    leaves distributions free to improve); what stays fixed is the raw stream of a bit generator.
    So the order is that of sorting one raw 64-bit word per element, drawn from Philox4x64-10
    (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), which has published test
    vectors. The sort is stable: equal words, should they occur, keep their elements in order.

    Parameters
    ----------
    count : int
        How many numbers to put in order.
    seed, draw : int
        The two words of the Philox key: the user's seed, and which order of that seed (the epoch
        of a loader, the class of a split). 0 to 2**64 - 1.
    use : int
        `EPOCH`, `SPLIT` or `DRAW`; the highest word of the Philox counter, which starts at 0 otherwise.

    Returns
    -------
    numpy.ndarray
        int64, shape (count,).
    """
    return np.argsort(_words(count, seed, draw, use), kind="stable").astype(np.int64, copy=False)


def with_replacement(size: int, count: int, *, seed: int, draw: int) -> np.ndarray:
    """Return `count` numbers from 0 to size - 1, each drawn from all, a pure function of the arguments.

    Each is the high part of a product, floor(word * size / 2**64); none is preferred by more than 2**-64.

    Returns
    -------
    numpy.ndarray
        int64, shape (count,).
    """
    # Python's integers: the product has more than 64 bits.
    drawn = [int(word) * size >> 64 for word in _words(count, seed, draw, DRAW)]
    return np.array(drawn, dtype=np.int64)


def _words(count: int, seed: int, draw: int, use: int) -> np.ndarray:
    return np.random.Philox(
        key=np.array([seed, draw], dtype=np.uint64),
        counter=np.array([0, 0, 0, use], dtype=np.uint64),
    ).random_raw(count)
