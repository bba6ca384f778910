"""Batches of a data set, in a reproducible order, made ready ahead of their use."""

import operator
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from minialex.checks import MAX_SEED, in_words, require_choice, require_flag, require_int
from minialex.data.batch_maker import Batch, BatchMaker, Collated, SampleCollector
from minialex.data.collate import default_collate
from minialex.data.dataset import ON_ERROR
from minialex.data.map_style import generator_of
from minialex.data.permutation import EPOCH, permutation
from minialex.data.stream import IterableDataset, stream_batches
from minialex.data.transforms import Pipeline
from minialex.data.workers import in_order
from minialex.errors import DamagedSample, DataError

_MAX_COUNT = 2**63 - 1
_MAX_WORKERS = 1024
_WORKERS = 2


class Batches(Iterator[Any]):
    """The batches of an epoch, from one of them on; what `DataLoader.batches` returns.

    Attributes
    ----------
    position : int
        The number of the batch that comes next, counted from 0 over the whole epoch. Batches that are left
        out are counted: what `DataLoader.batches` takes as `start` to go on from here.
    skipped : list of DamagedSample
        The samples left out so far, in the order of the epoch.
    """

    def __init__(self, made: Generator[Batch | Collated], start: int, end: int, as_tensors: bool = False):
        self._made, self._end, self._as_tensors = made, end, as_tensors
        self._from_first, self._images = start == 0, 0
        self.position = start
        self.skipped: list[DamagedSample] = []

    def next(self) -> Any:
        """Return the next batch: what iterators of PyTorch's loaders once had for ``next(batches)``."""
        return next(self)

    def __next__(self) -> Any:
        """Return the next batch that has a sample.

        Raises
        ------
        DataError
            If the epoch, seen from its first batch, has ended without any.
        """
        for batch in self._made:
            self.position += 1
            self.skipped += batch.damaged
            self._images += batch.samples
            if batch.samples:
                return batch.handed_over(self._as_tensors)
        if self._from_first and self.position == self._end and not self._images and self.skipped:
            raise DataError(
                f"all {len(self.skipped):,} samples of the epoch are damaged; the first is {self.skipped[0]}"
            )
        raise StopIteration

    def close(self) -> None:
        """End the iteration and its threads."""
        self._made.close()


class DataLoader:
    """An iterable over the batches of a data set, an epoch each time: ``torch.utils.data.DataLoader``.

    There are two kinds of data sets. One of *images in arrays* has `classes` and `name` and no `transform` of
    its own (`ImageDataset`): an `ArrayDataset`, or an `ImageFolder` as it is. The loader makes its batches,
    by whole arrays where it can, and yields `(x, y)`: x float32 of shape (B, C, H, W), y int64 of shape (B,).
    *Any other* object with `__len__` and `__getitem__` gives samples as they shall be, and the loader joins
    them with `collate_fn`. Those of an `IterableDataset` are taken as they come, without workers. What is
    yielded are tensors; `batches` gives images in arrays as arrays.

    With a `seed`, the order is a pure function of the seed, the epoch and the number of samples, and what a
    random transform does to a sample one of the seed, the epoch and the sample's number: the same on every
    machine, for any number of workers and with every version of NumPy. So a resumed run sees the batches
    that it would have seen. The epochs are counted by the iterations, from 0 or from `set_epoch`; `batches`
    takes the epoch by its number. Without a seed, each iteration draws one from `generator`, or from
    `minialex.manual_seed`, as PyTorch does.

    Workers are threads, which prepare the next batches while one is in use. They end with the iteration: when
    it is exhausted, fails, is closed or is no longer referenced.

    Parameters
    ----------
    dataset : object
        Where samples come from. Its `batch` method is used where it is a `Dataset` or one of images in arrays
        and has one; such a method, or `__getitem__`, runs in the workers, several at a time.
    batch_size : int
        Samples a batch, at least 1. The last batch of an epoch may have fewer.
    shuffle : bool
        Whether each epoch has a random order of its own, or the order of the data set.
    sampler : iterable of int, optional
        The numbers of the samples in their order, in place of `shuffle`; each iteration asks it anew.
    batch_sampler : iterable of list of int, optional
        The numbers of the samples of each batch, in place of `batch_size`, `shuffle`, `sampler` and
        `drop_last`.
    num_workers : int, optional
        How many threads make batches; with 0 the consumer does, when it asks for one. Images in arrays have 2
        unless told otherwise, other data sets, whose code need not be made for threads, 0.
        Measured in benchmarks/results/loader.json, beside processes, which are no faster and start late.
    collate_fn : callable, optional
        Makes a batch of a list of samples; `default_collate` unless told otherwise. With one, images in
        arrays are given to it as they are.
    pin_memory, persistent_workers : bool
        Taken and left alone, as PyTorch's programs name them: no memory is pinned, and threads start at once.
    drop_last : bool
        Whether to leave out a last batch of fewer than `batch_size` samples.
    generator : numpy.random.Generator, optional
        What draws the seed of each iteration that has none.
    transform : Pipeline, optional
        For images in arrays: what makes the network's input of them; one that ends in ten crops gives x the
        shape (B, K, C, H, W). Without it the bytes are divided by 255.
    seed : int, optional
        Which random orders and transforms; 0 to 2**64 - 1. None counts as 0 for `batches`, `order` and
        after `set_epoch`.
    limit : int, optional
        At most this many samples an epoch: the first ones of its order.
    workers : int, optional
        Another name of `num_workers`.
    prefetch : int
        How many batches are made, or in work, beside the one in use; at least 1. Each takes memory.
    on_error : {"stop", "skip"}
        What to do about a sample for which the data set raises `DamagedSample`: let the error
        through, or leave the sample out of its batch and name it in `skipped`. The other samples
        and the numbers of the batches stay what they are. A batch of only damaged samples is left out.
        A data set that has `batch` cannot leave out a sample.

    Attributes
    ----------
    epoch : int
        The number of the epoch that the next iteration follows, if there is a seed.
    skipped : list of DamagedSample
        The samples left out of the latest iteration, as far as its batches were handed over.

    Raises
    ------
    DataError
        If an argument is not as described, if the data set is empty, or if `drop_last` would
        leave no batch. An iteration raises it for samples that do not make a batch and for an epoch
        without a sample that is not damaged, and lets through whatever the data set or the
        transform raises, with a note that says which sample it was.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int | None = None,
        collate_fn: Callable[[list], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        *,
        generator: np.random.Generator | None = None,
        transform: Pipeline | None = None,
        seed: int | None = None,
        limit: int | None = None,
        workers: int | None = None,
        prefetch: int = 2,
        on_error: str = "stop",
        persistent_workers: bool = False,
    ):
        self._streams = isinstance(dataset, IterableDataset)
        if not (self._streams or (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"))):
            raise DataError(f"dataset must have __len__ and __getitem__, not {in_words(dataset)}")
        self._of_arrays = collate_fn is None and gives_arrays(dataset)
        self.dataset = dataset
        self.batch_size = require_int("batch_size", batch_size, 1, _MAX_COUNT, error=DataError)
        self.transform = self._checked_transform(transform)
        self.collate_fn = default_collate if collate_fn is None else collate_fn
        self.shuffle = require_flag("shuffle", shuffle, error=DataError)
        self.seed = None if seed is None else require_int("seed", seed, 0, MAX_SEED, error=DataError)
        self.generator = None if generator is None else generator_of(generator)
        self.drop_last = require_flag("drop_last", drop_last, error=DataError)
        self.limit = None if limit is None else require_int("limit", limit, 1, _MAX_COUNT, error=DataError)
        self.workers = self._checked_workers(num_workers, workers)
        self.prefetch = require_int("prefetch", prefetch, 1, _MAX_COUNT, error=DataError)
        self.on_error = require_choice("on_error", on_error, ON_ERROR, error=DataError)
        self.sampler, self.batch_sampler = sampler, batch_sampler
        self._require_one_order()
        if self._streams:
            self._require_stream()
        self.epoch = 0
        self._follows_epoch = seed is not None
        self.skipped: list[DamagedSample] = []
        if self._streams:
            return
        if not len(dataset):
            raise DataError(f"data set {self._name()} is empty; there is nothing to load")
        if not len(self):
            raise DataError(
                f"drop_last leaves no batch: an epoch has {self._samples():,} samples, fewer than "
                f"batch_size {self.batch_size:,}"
            )

    def __len__(self) -> int:
        """Return the number of batches an epoch, with those that `on_error="skip"` may leave out."""
        if self.batch_sampler is not None:
            return len(self.batch_sampler)
        if self._streams and not hasattr(self.dataset, "__len__"):
            raise TypeError(
                f"data set {self._name()} is a stream without __len__: nobody knows how long it is"
            )
        whole, rest = divmod(self._samples(), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        """Return an iterator over the batches of the next epoch, in tensors; several may run at once."""
        if self._streams:
            return stream_batches(self.dataset, self.batch_size, self.drop_last, self.limit, self.collate_fn)
        if self._follows_epoch:
            epoch, seed = self.epoch, self.seed or 0
            self.epoch += 1
        else:
            epoch, seed = 0, self._drawn_seed()
        return self._batches(seed, epoch, 0, as_tensors=True)

    def batches(self, epoch: int, start: int = 0) -> Batches:
        """Return an iterator over the batches of an epoch from number `start` on.

        They are those that an iteration from the first would give, images in arrays as arrays; the samples
        before are not loaded. With a sampler the order is what that gives, whatever the epoch.

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
            If `epoch` or `start` is not as described, or the data set is a stream.
        """
        if self._streams:
            raise DataError("batches have no numbers in a stream; iterate over the loader")
        epoch = require_int("epoch", epoch, 0, MAX_SEED, error=DataError)
        start = require_int("start", start, 0, len(self), error=DataError)
        return self._batches(self.seed or 0, epoch, start, as_tensors=False)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, 0 to 2**64 - 1, whose order the next iteration follows.

        Raises
        ------
        DataError
            If it is not such an integer.
        """
        self.epoch = require_int("epoch", epoch, 0, MAX_SEED, error=DataError)
        self._follows_epoch = True

    def order(self, epoch: int) -> np.ndarray:
        """Return the numbers of the samples of an epoch in their order, int64.

        The last ones may be left out of the batches by `drop_last`.

        Raises
        ------
        DataError
            If `epoch` is not an integer from 0 to 2**64 - 1.
        """
        epoch = require_int("epoch", epoch, 0, MAX_SEED, error=DataError)
        return self._order(self.seed or 0, epoch)

    def _order(self, seed: int, epoch: int) -> np.ndarray:
        if self.sampler is not None:
            order = np.array([operator.index(each) for each in self.sampler], dtype=np.int64)
        elif self.shuffle:
            order = permutation(len(self.dataset), seed=seed, draw=epoch, use=EPOCH)
        else:
            order = np.arange(len(self.dataset), dtype=np.int64)
        return order[: self.limit]

    def _batches(self, seed: int, epoch: int, start: int, as_tensors: bool) -> Batches:
        end, skip = len(self), self.on_error == "skip"
        if self._of_arrays:
            maker = BatchMaker(self.dataset, self.transform, seed, epoch, skip)
        else:
            maker = SampleCollector(self.dataset, self.collate_fn, seed, epoch, skip)
        parts = self._parts(seed, epoch, start, end)
        made = in_order(maker, parts, workers=self.workers, prefetch=self.prefetch)
        batches = Batches(made, start, end, as_tensors)
        self.skipped = batches.skipped
        return batches

    def _parts(self, seed: int, epoch: int, start: int, end: int) -> Iterable[np.ndarray]:
        if self.batch_sampler is not None:
            batches = islice(self.batch_sampler, start, None)
            return (np.array([operator.index(each) for each in batch], dtype=np.int64) for batch in batches)
        order = self._order(seed, epoch)
        return (order[i * self.batch_size : (i + 1) * self.batch_size] for i in range(start, end))

    def _drawn_seed(self) -> int:
        is_random = self.shuffle or (self.transform is not None and self.transform.is_random)
        # A data set's own code may draw, or not; the batches of arrays are known not to.
        if self._of_arrays and not is_random:
            return 0
        return int(generator_of(self.generator).integers(0, 2**63))

    def _samples(self) -> int:
        count = len(self.dataset if self.sampler is None else self.sampler)
        return count if self.limit is None else min(count, self.limit)

    def _name(self) -> str:
        return getattr(self.dataset, "name", None) or type(self.dataset).__name__

    def _checked_transform(self, transform: Any) -> Pipeline | None:
        if transform is None:
            return None
        if not isinstance(transform, Pipeline):
            raise DataError(
                f"transform must be a Pipeline, not {in_words(transform)}; give others to the data set"
            )
        if not self._of_arrays:
            raise DataError(
                "transform is for data sets of images in arrays, which have classes and name and no "
                "transform of their own; give one to the data set"
            )
        return transform

    def _require_stream(self) -> None:
        options = {
            "shuffle": self.shuffle,
            "sampler": self.sampler is not None,
            "batch_sampler": self.batch_sampler is not None,
            "num_workers": self.workers > 0,
            "on_error='skip'": self.on_error == "skip",
        }
        given = [name for name, is_given in options.items() if is_given]
        if given:
            raise DataError(f"a stream has an order of its own and one reader: leave out {', '.join(given)}")

    def _checked_workers(self, num_workers: Any, workers: Any) -> int:
        if num_workers is not None and workers is not None:
            raise DataError("num_workers and workers are the same; give one of them")
        name, given = ("workers", workers) if num_workers is None else ("num_workers", num_workers)
        if given is None:
            return _WORKERS if self._of_arrays else 0
        return require_int(name, given, 0, _MAX_WORKERS, error=DataError)

    def _require_one_order(self) -> None:
        if self.sampler is not None and self.shuffle:
            raise DataError("sampler gives the order: leave out shuffle=True")
        if self.batch_sampler is not None and (
            self.batch_size != 1 or self.shuffle or self.drop_last or not self.sampler is self.limit is None
        ):
            raise DataError(
                "batch_sampler gives the batches: leave out batch_size, shuffle, sampler, drop_last and limit"
            )


def gives_arrays(dataset: Any) -> bool:
    """Whether a data set is one of images in arrays (`ImageDataset`) that are not transformed yet."""
    return (
        getattr(dataset, "classes", None) is not None
        and getattr(dataset, "name", None) is not None
        and getattr(dataset, "transform", None) is None
    )
