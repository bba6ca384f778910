"""Batches of a data set, in a reproducible order, made ready one ahead of their use."""

import reprlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from minialex.data.checks import MAX_SEED, integer
from minialex.data.dataset import Dataset
from minialex.data.permutation import EPOCH, permutation
from minialex.errors import DataError

_MAX_COUNT = 2**63 - 1
THREAD_NAME = "minialex-loader"


class DataLoader:
    """An iterable over the batches of one epoch.

    Every iteration yields `(x, y)`: x float32 of shape (B, C, H, W), y int64 of shape (B,). While
    one batch is in use, a thread prepares the next. The thread ends with the iteration: when it is
    exhausted, fails, is closed or is no longer referenced.

    The order is a pure function of the seed, the epoch and the number of samples, on every machine
    and with every version of NumPy, so that a resumed run sees the batches it would have seen.
    The epoch does not advance by itself: call `set_epoch` before each.

    Parameters
    ----------
    dataset : Dataset
        Where images and labels come from. Its `batch` method is used where it has one; such a
        method, or `__getitem__`, runs in the loader's thread.
    batch_size : int
        Samples a batch, at least 1. The last batch of an epoch may have fewer.
    preprocess : callable, optional
        Turns uint8 (B, C, H, W) into the float32 batch, as `Preprocessing` does. Without it the
        bytes are divided by 255.
    shuffle : bool
        Whether each epoch has a random order of its own, or the order of the data set.
    seed : int
        Which random orders; 0 to 2**64 - 1.
    drop_last : bool
        Whether to leave out a last batch of fewer than `batch_size` samples.
    limit : int, optional
        At most this many samples an epoch: the first ones of its order.

    Raises
    ------
    DataError
        If an argument is not as described, if the data set is empty, or if `drop_last` would
        leave no batch. An iteration raises it for images that do not make a batch, and lets
        through whatever the data set or `preprocess` raises.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        preprocess: Callable[[np.ndarray], np.ndarray] | None = None,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        limit: int | None = None,
    ):
        if not isinstance(dataset, Dataset):
            raise DataError(
                f"dataset must have __len__, __getitem__, classes and name, got {reprlib.repr(dataset)}"
            )
        if preprocess is not None and not callable(preprocess):
            raise DataError(f"preprocess must be callable, got {reprlib.repr(preprocess)}")
        for name, flag in (("shuffle", shuffle), ("drop_last", drop_last)):
            if not isinstance(flag, bool):
                raise DataError(f"{name} must be True or False, got {reprlib.repr(flag)}")
        self.dataset = dataset
        self.batch_size = integer("batch_size", batch_size, 1, _MAX_COUNT)
        self.preprocess = preprocess
        self.shuffle = shuffle
        self.seed = integer("seed", seed, 0, MAX_SEED)
        self.drop_last = drop_last
        self.limit = None if limit is None else integer("limit", limit, 1, _MAX_COUNT)
        self.epoch = 0
        if not len(dataset):
            raise DataError(f"data set {dataset.name} is empty; there is nothing to load")
        if not len(self):
            raise DataError(
                f"drop_last leaves no batch: an epoch has {self._samples():,} samples, fewer than "
                f"batch_size {self.batch_size:,}"
            )

    def __len__(self) -> int:
        """Return the number of batches an epoch."""
        whole, rest = divmod(self._samples(), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Return an iterator over the batches of the present epoch; several may run at once."""
        order = self.order(self.epoch)
        starts = range(0, len(self) * self.batch_size, self.batch_size)
        return self._batches([order[start : start + self.batch_size] for start in starts])

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, 0 to 2**64 - 1, whose order the next iteration follows.

        Raises
        ------
        DataError
            If it is not such an integer.
        """
        self.epoch = integer("epoch", epoch, 0, MAX_SEED)

    def order(self, epoch: int) -> np.ndarray:
        """Return the numbers of the samples of an epoch in their order, int64.

        The last ones may be left out of the batches by `drop_last`.

        Raises
        ------
        DataError
            If `epoch` is not an integer from 0 to 2**64 - 1.
        """
        epoch = integer("epoch", epoch, 0, MAX_SEED)
        if self.shuffle:
            order = permutation(len(self.dataset), seed=self.seed, draw=epoch, use=EPOCH)
        else:
            order = np.arange(len(self.dataset), dtype=np.int64)
        return order[: self.limit]

    def _samples(self) -> int:
        count = len(self.dataset)
        return count if self.limit is None else min(count, self.limit)

    def _batches(self, parts: list[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        # Leaving the block, by whichever way, waits for the batch in work and ends the thread.
        with ThreadPoolExecutor(1, thread_name_prefix=THREAD_NAME) as pool:
            coming = pool.submit(self._load, parts[0])
            for part in parts[1:]:
                ready = coming.result()
                coming = pool.submit(self._load, part)
                yield ready
            yield coming.result()

    def _load(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if hasattr(self.dataset, "batch"):
            images, labels = self.dataset.batch(indices)
        else:
            images, labels = _gather(self.dataset, indices)
        if self.preprocess is None:
            return np.divide(images, np.float32(255), dtype=np.float32), labels
        x = self.preprocess(images)
        is_array = isinstance(x, np.ndarray)
        if not is_array or x.dtype != np.float32 or x.ndim != 4 or len(x) != len(labels):
            given = f"{x.dtype} of shape {x.shape}" if is_array else type(x).__name__
            raise DataError(
                f"preprocess must return a float32 array of shape ({len(labels)}, C, H, W), got {given}"
            )
        return x, labels


def _gather(dataset: Dataset, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Make a batch of single samples: uint8 (B, C, H, W) and int64 (B,)."""
    samples = [dataset[int(index)] for index in indices]
    shape = samples[0][0].shape
    for index, (image, _) in zip(indices, samples, strict=True):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape != shape:
            raise DataError(
                f"image {index} of data set {dataset.name} must be uint8 of shape (C, H, W), "
                f"the same for the whole batch ({shape}), got {image.dtype} of shape {image.shape}"
            )
    images, labels = zip(*samples, strict=True)
    return np.stack(images), np.array(labels, dtype=np.int64)
