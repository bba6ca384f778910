"""Random orders that are the same on every machine and with every version of NumPy."""

import numpy as np

# Which use an order has. Two uses with the same seed must not share their random numbers.
EPOCH, SPLIT = 0, 1


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
        `EPOCH` or `SPLIT`; the highest word of the Philox counter, which starts at 0 otherwise.

    Returns
    -------
    numpy.ndarray
        int64, shape (count,).
    """
    words = np.random.Philox(
        key=np.array([seed, draw], dtype=np.uint64),
        counter=np.array([0, 0, 0, use], dtype=np.uint64),
    ).random_raw(count)
    return np.argsort(words, kind="stable").astype(np.int64, copy=False)
