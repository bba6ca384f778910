"""Data sets without numbers: samples that come one after the other, and the batches made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from minialex.data.map_style import Dataset
from minialex.errors import DataError


class IterableDataset(Dataset):
    """The base of a stream of samples: ``torch.utils.data.IterableDataset``.

    A subclass has `__iter__`, which begins an epoch, and may have `__len__`. A `DataLoader` takes the samples
    as they come, without threads of its own: nothing would divide the stream among them.
    """

    def __iter__(self) -> Iterator[Any]:
        """Return an iterator over the samples of an epoch."""
        raise NotImplementedError(f"{type(self).__name__} must have a method __iter__(self)")

    def __add__(self, other: Any) -> Any:
        """Raise `DataError`: streams have no numbers to go on from."""
        raise DataError("streams are joined by itertools.chain in the __iter__ of another, not by +")


def stream_batches(
    dataset: IterableDataset, batch_size: int, drop_last: bool, limit: int | None, collate_fn: Callable
) -> Iterator[Any]:
    """The batches of an epoch: what `collate_fn` makes of `batch_size` samples at a time.

    Parameters
    ----------
    dataset : IterableDataset
    batch_size : int
    drop_last : bool
        Whether to leave out a last batch of fewer samples.
    limit : int, optional
        At most this many samples.
    collate_fn : callable
    """
    samples = islice(dataset, limit)
    while batch := list(islice(samples, batch_size)):
        if len(batch) < batch_size and drop_last:
            return
        yield collate_fn(batch)
