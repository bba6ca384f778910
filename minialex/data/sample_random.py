"""The random numbers of one sample in one epoch, from which its augmentation is drawn."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from minialex import random as engine_random
from minialex.checks import MAX_SEED, require_int
from minialex.data.permutation import SAMPLE
from minialex.errors import DataError

_UNIT = 2.0**-53


class SampleRandom:
    """A stream of random numbers, a pure function of (seed, epoch, index).

    It does not matter which thread or process draws, nor what was drawn for other samples, so the
    augmentation of a data set is the same for any number of workers and after a resume. The words
    are those of Philox4x64-10 with key (seed, epoch) and counter (0, 0, index, `SAMPLE`); their raw
    stream is fixed for every version of NumPy, and so is what is made of it here.

    Parameters
    ----------
    seed, epoch, index : int
        The user's seed, the epoch, and the sample's number in its data set; 0 to 2**64 - 1.

    Raises
    ------
    DataError
        If an argument is not such an integer.
    """

    def __init__(self, seed: int, epoch: int, index: int):
        *self._key, self._index = (
            require_int(name, value, 0, MAX_SEED, error=DataError)
            for name, value in (("seed", seed), ("epoch", epoch), ("index", index))
        )
        self._philox = None

    def word(self) -> int:
        """Return the next 64 random bits."""
        # Made when the first number is drawn: most samples of a plain data set draw none.
        if self._philox is None:
            self._philox = np.random.Philox(
                key=np.array(self._key, dtype=np.uint64),
                counter=np.array([0, 0, self._index, SAMPLE], dtype=np.uint64),
            )
        return self._philox.random_raw()

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Return a number evenly distributed from `low` to `high`, on 2**53 equal steps.

        `high` itself comes up only where rounding low + (high - low) u reaches it; u is below 1.
        """
        return low + (high - low) * ((self.word() >> 11) * _UNIT)

    def integers(self, low: int, high: int) -> int:
        """Return an integer from `low` to `high` - 1, evenly distributed.

        It is the high part of a product (Lemire, "Fast random integer generation in an interval",
        2019); without his rejection step no value is preferred by more than 2**-64.

        Raises
        ------
        DataError
            If there is no such integer.
        """
        if low >= high:
            raise DataError(f"low must be below high, not low {low} and high {high}")
        return low + (self.word() * (high - low) >> 64)

    def normal(self) -> float:
        """Return a number from N(0, 1), by Box and Muller's sqrt(-2 ln u) cos(2 pi v), 0 < u <= 1."""
        u = ((self.word() >> 11) + 1) * _UNIT
        v = (self.word() >> 11) * _UNIT
        return math.sqrt(-2.0 * math.log(u)) * math.cos(2.0 * math.pi * v)

    def bernoulli(self, p: float) -> bool:
        """Return True with probability `p`: never for 0, always for 1."""
        return (self.word() >> 11) * _UNIT < p

    def normals(self, count: int) -> np.ndarray:
        """Return that many numbers from N(0, 1), float32; two words of this stream are the key of theirs."""
        key = np.array([self.word(), self.word()], dtype=np.uint64)
        words = np.random.Philox(key=key).random_raw(2 * count)
        u, v = ((words >> np.uint64(11)).astype(np.float64) * _UNIT).reshape(2, count)
        return (np.sqrt(-2.0 * np.log1p(-u)) * np.cos(2.0 * np.pi * v)).astype(np.float32)


class EngineRandom(SampleRandom):
    """The stream of `minialex.manual_seed`: what is drawn from where no loader names a sample."""

    def __init__(self):
        super().__init__(0, 0, 0)

    def word(self) -> int:
        """Return the next 64 random bits."""
        return int(engine_random.generator().bit_generator.random_raw())  # pyright: ignore[reportAttributeAccessIssue]


_of_thread = threading.local()


@contextmanager
def sample_drawn_from(random: SampleRandom) -> Iterator[None]:
    """Let the transforms that this thread calls without a `SampleRandom` draw from this one."""
    before = getattr(_of_thread, "random", None)
    _of_thread.random = random
    try:
        yield
    finally:
        _of_thread.random = before


def present_random() -> SampleRandom:
    """Return the stream of the sample that a loader's thread is at, or that of `minialex.manual_seed`."""
    return getattr(_of_thread, "random", None) or EngineRandom()
