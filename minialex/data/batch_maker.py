"""From the numbers of some samples to the batch that a network reads."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minialex.checks import in_words
from minialex.data.collate import default_collate
from minialex.data.dataset import ImageDataset
from minialex.data.map_style import Dataset
from minialex.data.sample_random import SampleRandom, sample_drawn_from
from minialex.data.transforms import Pipeline
from minialex.errors import DamagedSample, DataError
from minialex.tensor import Tensor


class Batch(NamedTuple):
    """The samples of one batch.

    Attributes
    ----------
    x : numpy.ndarray
        float32, shape (B, C, H, W), or (B, K, C, H, W) with K crops a sample. Without a sample, (0,).
    y : numpy.ndarray
        The labels: int64, shape (B,).
    damaged : list of DamagedSample
        The samples that are left out.
    """

    x: np.ndarray
    y: np.ndarray
    damaged: list[DamagedSample]

    @property
    def samples(self) -> int:
        return len(self.y)

    def handed_over(self, as_tensors: bool) -> tuple:
        """Return what an iteration yields."""
        return (Tensor(self.x), Tensor(self.y)) if as_tensors else (self.x, self.y)


class Collated(NamedTuple):
    """The samples of one batch, whatever they are.

    Attributes
    ----------
    value : object
        What `collate_fn` made of them; None without a sample.
    samples : int
        How many there are.
    damaged : list of DamagedSample
        The samples that are left out.
    """

    value: Any
    samples: int
    damaged: list[DamagedSample]

    def handed_over(self, as_tensors: bool) -> Any:
        """Return what an iteration yields."""
        return self.value


@dataclass(frozen=True)
class BatchMaker:
    """Makes batches of one epoch; what a loader's threads do.

    Parameters
    ----------
    dataset : ImageDataset
    transform : Pipeline or None
        None divides the bytes by 255.
    seed, epoch : int
        From which, with a sample's number, its random numbers follow.
    skip : bool
        Whether to leave out a sample for which the data set raises `DamagedSample`.
    """

    dataset: ImageDataset
    transform: Pipeline | None
    seed: int
    epoch: int
    skip: bool = False

    def __call__(self, indices: np.ndarray, stopping: threading.Event) -> Batch:
        """Make the batch of the samples with these numbers; once `stopping` is set, of some of them.

        Raises
        ------
        DataError
            If the images are not uint8 (C, H, W), or do not have one shape after the transform.
        Exception
            Whatever the data set or the transform raises, with a note that says for which sample.
        """
        at_once = getattr(self.dataset, "batch", None)
        if at_once is not None:
            return self._at_once(at_once, indices)
        return self._one_by_one(indices, stopping)

    def _at_once(self, batch: Callable, indices: np.ndarray) -> Batch:
        try:
            images, labels = batch(indices)
            if self.transform is None:
                x = _scaled(images, axes=4)
            else:
                x = self.transform.batch(images, [self._random(index) for index in indices])
        except Exception as error:
            error.add_note(f"while loading samples {_few(indices)} of data set {self.dataset.name}")
            raise
        return Batch(x, labels, [])

    def _one_by_one(self, indices: np.ndarray, stopping: threading.Event) -> Batch:
        """Load and transform sample after sample, so that one image at a time is held in its full size."""
        x, y, damaged = np.empty(0, np.float32), [], []
        for index in indices.tolist():
            if stopping.is_set():
                break
            try:
                image, label = self.dataset[index]
                sample = self._transformed(image, index)
            except DamagedSample as error:
                if not self.skip:
                    raise
                # A new one: the one that was raised would keep its frames alive, images and all.
                damaged.append(DamagedSample(error.path, error.reason))
                continue
            except Exception as error:
                error.add_note(f"while loading sample {index} of data set {self.dataset.name}")
                raise
            if not y:
                x = np.empty((len(indices), *sample.shape), np.float32)
            elif sample.shape != x.shape[1:]:
                raise DataError(
                    f"sample {index} of data set {self.dataset.name} has shape {sample.shape}, and those "
                    f"before it in its batch {x.shape[1:]}; end with a crop, or resize to a fixed size"
                )
            x[len(y)] = sample
            y.append(label)
        return Batch(x[: len(y)], np.array(y, dtype=np.int64), damaged)

    def _transformed(self, image: np.ndarray, index: int) -> np.ndarray:
        if self.transform is None:
            return _scaled(image, axes=3)
        return self.transform(image, self._random(index))

    def _random(self, index: int) -> SampleRandom:
        return SampleRandom(self.seed, self.epoch, index)


@dataclass(frozen=True)
class SampleCollector:
    """Makes batches of one epoch of samples that the data set has transformed itself.

    Parameters
    ----------
    dataset : object
        With `__getitem__`. While it runs, transforms draw from the sample's random numbers.
    collate : callable
        Makes a batch of a list of samples.
    seed, epoch : int
        From which, with a sample's number, its random numbers follow.
    skip : bool
        Whether to leave out a sample for which the data set raises `DamagedSample`.
    """

    dataset: Any
    collate: Callable[[list], Any]
    seed: int
    epoch: int
    skip: bool = False

    def __call__(self, indices: np.ndarray, stopping: threading.Event) -> Collated:
        """Make the batch of the samples with these numbers; once `stopping` is set, of some of them."""
        if self.collate is default_collate and isinstance(self.dataset, Dataset):
            at_once: Any = getattr(self.dataset, "batch", None)
            if callable(at_once):
                joined: Any = at_once(indices)
                return Collated(list(joined), len(indices), [])
        samples, damaged = [], []
        for index in indices.tolist():
            if stopping.is_set():
                break
            try:
                with sample_drawn_from(SampleRandom(self.seed, self.epoch, index)):
                    samples.append(self.dataset[index])
            except DamagedSample as error:
                if not self.skip:
                    raise
                damaged.append(DamagedSample(error.path, error.reason))
            except Exception as error:
                error.add_note(f"while loading sample {index} of {type(self.dataset).__name__}")
                raise
        value = self.collate(samples) if samples and not stopping.is_set() else None
        return Collated(value, len(samples), damaged)


def _scaled(images: np.ndarray, axes: int) -> np.ndarray:
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != axes:
        raise DataError(f"an image must be uint8 of shape (C, H, W), not {in_words(images)}")
    return np.divide(images, np.float32(255), dtype=np.float32)


def _few(indices: np.ndarray) -> str:
    return ", ".join(map(str, indices[:3])) + (", ..." if len(indices) > 3 else "")
