"""Orders of samples, under the names of `torch.utils.data`: what a `DataLoader` takes as `sampler`.

What is random is drawn anew for each iteration, by the `generator` or from `minialex.manual_seed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from minialex.checks import in_words, require_flag, require_int
from minialex.data.map_style import generator_of
from minialex.errors import DataError


class Sampler:
    """The base of what gives the numbers of samples, or lists of them, in an order."""

    def __iter__(self) -> Iterator[Any]:
        """Return an iterator over the numbers."""
        raise NotImplementedError(f"{type(self).__name__} must have a method __iter__(self)")


class SequentialSampler(Sampler):
    """0, 1, 2, ...: ``torch.utils.data.SequentialSampler``.

    Parameters
    ----------
    data_source : object
        With `__len__`.
    """

    def __init__(self, data_source: Any):
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        """Return an iterator over the numbers."""
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        """Return how many numbers there are."""
        return len(self.data_source)


class RandomSampler(Sampler):
    """A random order: ``torch.utils.data.RandomSampler``.

    Parameters
    ----------
    data_source : object
        With `__len__`.
    replacement : bool
        Whether each number is drawn from all, or each comes once.
    num_samples : int, optional
        How many; as many as there are samples unless told otherwise. Without replacement, when all have come
        they come again, in another order.
    generator : numpy.random.Generator, optional

    Raises
    ------
    DataError
        If an argument is not as described.
    """

    def __init__(
        self,
        data_source: Any,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: np.random.Generator | None = None,
    ):
        self.data_source = data_source
        self.replacement = require_flag("replacement", replacement, error=DataError)
        wanted = len(data_source) if num_samples is None else num_samples
        self.num_samples = require_int("num_samples", wanted, 1, error=DataError)
        self.generator = generator
        if not len(data_source):
            raise DataError("data_source must have a sample or more, not none")

    def __iter__(self) -> Iterator[int]:
        """Return an iterator over the numbers of a new order."""
        generator, count = generator_of(self.generator), len(self.data_source)
        if self.replacement:
            yield from generator.integers(0, count, self.num_samples).tolist()
            return
        left = self.num_samples
        while left > 0:
            yield from generator.permutation(count)[:left].tolist()
            left -= count

    def __len__(self) -> int:
        """Return how many numbers there are."""
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """Some numbers in a random order: ``torch.utils.data.SubsetRandomSampler``.

    Parameters
    ----------
    indices : sequence of int
    generator : numpy.random.Generator, optional
    """

    def __init__(self, indices: Sequence[int] | np.ndarray, generator: np.random.Generator | None = None):
        self.indices, self.generator = indices, generator

    def __iter__(self) -> Iterator[int]:
        """Return an iterator over the numbers in a new order."""
        return iter(generator_of(self.generator).permutation(np.asarray(self.indices)).tolist())

    def __len__(self) -> int:
        """Return how many numbers there are."""
        return len(self.indices)


class WeightedRandomSampler(Sampler):
    """Numbers drawn with given weights: ``torch.utils.data.WeightedRandomSampler``.

    With 1 / (number of images of its class) as the weight of each image, classes come equally often.

    Parameters
    ----------
    weights : sequence of float
        One for each sample, 0 or more; they need not add up to 1.
    num_samples : int
        How many numbers an iteration has.
    replacement : bool
        Whether a number may come again.
    generator : numpy.random.Generator, optional

    Raises
    ------
    DataError
        If an argument is not as described, or without replacement too few weights are above 0.
    """

    def __init__(
        self,
        weights: Any,
        num_samples: int,
        replacement: bool = True,
        generator: np.random.Generator | None = None,
    ):
        self.weights = np.asarray(weights, dtype=np.float64)
        if self.weights.ndim != 1 or not (np.isfinite(self.weights) & (self.weights >= 0)).all():
            raise DataError(f"weights must be a list of numbers of 0 or more, not {in_words(weights)}")
        self.num_samples = require_int("num_samples", num_samples, 1, error=DataError)
        self.replacement = require_flag("replacement", replacement, error=DataError)
        self.generator = generator
        above = int(np.count_nonzero(self.weights))
        if not above or (not replacement and above < num_samples):
            raise DataError(f"weights has {above:,} above 0, too few to draw num_samples {num_samples:,}")

    def __iter__(self) -> Iterator[int]:
        """Return an iterator over newly drawn numbers."""
        generator = generator_of(self.generator)
        shares = self.weights / self.weights.sum()
        drawn = generator.choice(len(shares), self.num_samples, self.replacement, shares)
        return iter(drawn.tolist())

    def __len__(self) -> int:
        """Return how many numbers there are."""
        return self.num_samples


class BatchSampler(Sampler):
    """Lists of so many numbers of a sampler: ``torch.utils.data.BatchSampler``.

    Parameters
    ----------
    sampler : iterable of int
    batch_size : int
        1 or more.
    drop_last : bool
        Whether to leave out a last list of fewer.

    Raises
    ------
    DataError
        If an argument is not as described.
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool):
        self.sampler: Any = sampler
        self.batch_size = require_int("batch_size", batch_size, 1, error=DataError)
        self.drop_last = require_flag("drop_last", drop_last, error=DataError)

    def __iter__(self) -> Iterator[list[int]]:
        """Return an iterator over the lists."""
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        """Return how many lists there are."""
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)
