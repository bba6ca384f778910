"""Batches of a data set, in a reproducible order, made ready ahead of their use."""

from collections.abc import Generator, Iterator

import numpy as np

from minialex.checks import MAX_SEED, in_words, require_choice, require_flag, require_int
from minialex.data.batch_maker import Batch, BatchMaker
from minialex.data.dataset import ON_ERROR, Dataset
from minialex.data.permutation import EPOCH, permutation
from minialex.data.transforms import Pipeline
from minialex.data.workers import in_order
from minialex.errors import DamagedSample, DataError

_MAX_COUNT = 2**63 - 1
_MAX_WORKERS = 1024


class Batches(Iterator[tuple[np.ndarray, np.ndarray]]):
    """The batches `(x, y)` of an epoch, from one of them on; what `DataLoader.batches` returns.

    Attributes
    ----------
    position : int
        The number of the batch that comes next, counted from 0 over the whole epoch. Batches that are left
        out are counted: what `DataLoader.batches` takes as `start` to go on from here.
    skipped : list of DamagedSample
        The samples left out so far, in the order of the epoch.
    """

    def __init__(self, made: Generator[Batch], position: int, end: int):
        self._made, self._end = made, end
        self._from_first, self._images = position == 0, 0
        self.position = position
        self.skipped: list[DamagedSample] = []

    def __next__(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the next batch that has a sample.

        Raises
        ------
        DataError
            If the epoch, seen from its first batch, has ended without any.
        """
        for x, y, damaged in self._made:
            self.position += 1
            self.skipped += damaged
            self._images += len(y)
            if len(y):
                return x, y
        if self._from_first and self.position == self._end and not self._images:
            raise DataError(
                f"all {len(self.skipped):,} samples of the epoch are damaged; the first is {self.skipped[0]}"
            )
        raise StopIteration

    def close(self) -> None:
        """End the iteration and its threads."""
        self._made.close()


class DataLoader:
    """An iterable over the batches of one epoch.

    Every iteration yields `(x, y)`: x float32 of shape (B, C, H, W), y int64 of shape (B,). Threads
    prepare the next batches while one is in use. They end with the iteration: when it is exhausted,
    fails, is closed or is no longer referenced.

    The order is a pure function of the seed, the epoch and the number of samples, and what a random
    transform does to a sample one of the seed, the epoch and the sample's number in the data set: the
    same on every machine, for any number of workers and with every version of NumPy. So a resumed run
    sees the batches that it would have seen. The epoch does not advance by itself: call `set_epoch`
    before each, or name it to `batches`.

    Parameters
    ----------
    dataset : Dataset
        Where images and labels come from. Its `batch` method is used where it has one; such a
        method, or `__getitem__`, runs in the loader's threads, several at a time.
    batch_size : int
        Samples a batch, at least 1. The last batch of an epoch may have fewer.
    transform : Pipeline, optional
        What makes the network's input of the images; one that ends in ten crops gives x the shape
        (B, K, C, H, W). Without it the bytes are divided by 255.
    shuffle : bool
        Whether each epoch has a random order of its own, or the order of the data set.
    seed : int
        Which random orders and transforms; 0 to 2**64 - 1.
    drop_last : bool
        Whether to leave out a last batch of fewer than `batch_size` samples.
    limit : int, optional
        At most this many samples an epoch: the first ones of its order.
    workers : int
        How many threads make batches; with 0 the consumer does, when it asks for one. One is enough
        for training on JPEGs with two cores; the second helps where a network is faster than its data.
        Measured in benchmarks/results/loader.json, beside processes, which are no faster and start late.
    prefetch : int
        How many batches are made, or in work, beside the one in use; at least 1. Each takes memory.
    on_error : {"stop", "skip"}
        What to do about a sample for which the data set raises `DamagedSample`: let the error
        through, or leave the sample out of its batch and name it in `skipped`. The other samples
        and the numbers of the batches stay what they are. A batch of only damaged samples is left out.
        A data set that has `batch` cannot leave out a sample.

    Attributes
    ----------
    skipped : list of DamagedSample
        The samples left out of the latest iteration, as far as its batches were handed over.

    Raises
    ------
    DataError
        If an argument is not as described, if the data set is empty, or if `drop_last` would
        leave no batch. An iteration raises it for images that do not make a batch and for an epoch
        without a sample that is not damaged, and lets through whatever the data set or the
        transform raises, with a note that says which sample it was.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        transform: Pipeline | None = None,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        limit: int | None = None,
        workers: int = 2,
        prefetch: int = 2,
        on_error: str = "stop",
    ):
        if not isinstance(dataset, Dataset):
            raise DataError(
                f"dataset must have __len__, __getitem__, classes and name, not {in_words(dataset)}"
            )
        if transform is not None and not isinstance(transform, Pipeline):
            raise DataError(f"transform must be a Pipeline, not {in_words(transform)}")
        self.dataset = dataset
        self.batch_size = require_int("batch_size", batch_size, 1, _MAX_COUNT, error=DataError)
        self.transform = transform
        self.shuffle = require_flag("shuffle", shuffle, error=DataError)
        self.seed = require_int("seed", seed, 0, MAX_SEED, error=DataError)
        self.drop_last = require_flag("drop_last", drop_last, error=DataError)
        self.limit = None if limit is None else require_int("limit", limit, 1, _MAX_COUNT, error=DataError)
        self.workers = require_int("workers", workers, 0, _MAX_WORKERS, error=DataError)
        self.prefetch = require_int("prefetch", prefetch, 1, _MAX_COUNT, error=DataError)
        self.on_error = require_choice("on_error", on_error, ON_ERROR, error=DataError)
        self.epoch = 0
        self.skipped: list[DamagedSample] = []
        if not len(dataset):
            raise DataError(f"data set {dataset.name} is empty; there is nothing to load")
        if not len(self):
            raise DataError(
                f"drop_last leaves no batch: an epoch has {self._samples():,} samples, fewer than "
                f"batch_size {self.batch_size:,}"
            )

    def __len__(self) -> int:
        """Return the number of batches an epoch, with those that `on_error="skip"` may leave out."""
        whole, rest = divmod(self._samples(), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Batches:
        """Return an iterator over the batches of the present epoch; several may run at once."""
        return self.batches(self.epoch)

    def batches(self, epoch: int, start: int = 0) -> Batches:
        """Return an iterator over the batches of an epoch from number `start` on.

        They are those that an iteration from the first would give; the samples before are not loaded.

        Parameters
        ----------
        epoch : int
            0 to 2**64 - 1.
        start : int
            The number of the first batch, from 0 to the number of batches an epoch: with this last one,
            which a run has that stopped between two epochs, nothing is left to give.

        Raises
        ------
        DataError
            If `epoch` or `start` is not as described.
        """
        order = self.order(epoch)
        start, end = require_int("start", start, 0, len(self), error=DataError), len(self)
        parts = (order[i * self.batch_size : (i + 1) * self.batch_size] for i in range(start, end))
        maker = BatchMaker(self.dataset, self.transform, self.seed, int(epoch), skip=self.on_error == "skip")
        made = in_order(maker, parts, workers=self.workers, prefetch=self.prefetch)
        batches = Batches(made, start, end)
        self.skipped = batches.skipped
        return batches

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, 0 to 2**64 - 1, whose order the next iteration follows.

        Raises
        ------
        DataError
            If it is not such an integer.
        """
        self.epoch = require_int("epoch", epoch, 0, MAX_SEED, error=DataError)

    def order(self, epoch: int) -> np.ndarray:
        """Return the numbers of the samples of an epoch in their order, int64.

        The last ones may be left out of the batches by `drop_last`.

        Raises
        ------
        DataError
            If `epoch` is not an integer from 0 to 2**64 - 1.
        """
        epoch = require_int("epoch", epoch, 0, MAX_SEED, error=DataError)
        if self.shuffle:
            order = permutation(len(self.dataset), seed=self.seed, draw=epoch, use=EPOCH)
        else:
            order = np.arange(len(self.dataset), dtype=np.int64)
        return order[: self.limit]

    def _samples(self) -> int:
        count = len(self.dataset)
        return count if self.limit is None else min(count, self.limit)
