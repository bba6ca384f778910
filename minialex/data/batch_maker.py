"""From the numbers of some samples to the batch that a network reads."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minialex.checks import in_words
from minialex.data.dataset import Dataset
from minialex.data.sample_random import SampleRandom
from minialex.data.transforms import Pipeline
from minialex.errors import DamagedSample, DataError


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


@dataclass(frozen=True)
class BatchMaker:
    """Makes batches of one epoch; what a loader's threads do.

    Parameters
    ----------
    dataset : Dataset
    transform : Pipeline or None
        None divides the bytes by 255.
    seed, epoch : int
        From which, with a sample's number, its random numbers follow.
    skip : bool
        Whether to leave out a sample for which the data set raises `DamagedSample`.
    """

    dataset: Dataset
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


def _scaled(images: np.ndarray, axes: int) -> np.ndarray:
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != axes:
        raise DataError(f"an image must be uint8 of shape (C, H, W), not {in_words(images)}")
    return np.divide(images, np.float32(255), dtype=np.float32)


def _few(indices: np.ndarray) -> str:
    return ", ".join(map(str, indices[:3])) + (", ..." if len(indices) > 3 else "")
