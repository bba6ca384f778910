"""Running a network over a data set without training it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from minialex import functional as F
from minialex.autograd import no_grad
from minialex.checks import require_int
from minialex.data.loader import DataLoader
from minialex.data.transforms import CenterCrop, Pipeline, TenCrop
from minialex.errors import DataError
from minialex.models import Network
from minialex.tensor import Tensor


@dataclass(frozen=True)
class Evaluation:
    """What a network predicts for a data set of N images.

    Attributes
    ----------
    probabilities : float32 (N, classes)
        In the loader's order.
    labels : int64 (N,)
    loss : float
        The mean of -log(probability of the true class).
    """

    probabilities: np.ndarray
    labels: np.ndarray
    loss: float

    @property
    def predictions(self) -> np.ndarray:
        """The most probable class of each image, the first of those that tie: int64 (N,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def accuracy(self) -> float:
        """The share of images whose most probable class is the right one."""
        return self.top_k(1)

    def top_k(self, k: int) -> float:
        """The share of images whose true class is among the k most probable ones.

        Classes that tie stand in the order of their index, as in `predictions`. An image with a
        probability that is not a number counts as wrong.

        Raises
        ------
        DataError
            If k is not an int from 1 to the number of classes.
        """
        classes = self.probabilities.shape[1]
        require_int("k", k, 1, classes, error=DataError)
        of_truth = np.take_along_axis(self.probabilities, self.labels[:, None], axis=1)  # (N, 1)
        before = np.arange(classes) < self.labels[:, None]
        ahead = (self.probabilities > of_truth) | ((self.probabilities == of_truth) & before)
        found = (ahead.sum(axis=1) < k) & ~np.isnan(self.probabilities).any(axis=1)
        return float(found.mean())

    def worst(self, count: int) -> np.ndarray:
        """The numbers of the wrongly classified images, int64, at most `count` of them.

        First those whose true class got the lowest probability; those that tie in their order.
        """
        of_truth = self.probabilities[np.arange(len(self.labels)), self.labels]
        wrong = np.flatnonzero(self.predictions != self.labels)
        return wrong[np.argsort(of_truth[wrong], kind="stable")][:count]

    def confusion(self) -> np.ndarray:
        """How often class i was taken for class j: int64 (classes, classes)."""
        classes = self.probabilities.shape[1]
        cells = self.labels * classes + self.predictions
        return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def predict_probabilities(network: Network, x: np.ndarray, device: str = "cpu") -> np.ndarray:
    """The probabilities of each class: float32 (N, classes).

    Parameters
    ----------
    network : Network
        Set to evaluation.
    x : float32 (N, C, H, W), or (N, K, C, H, W)
        Images; or K crops of each, whose probabilities are averaged.
    device : str
        Where the network is.
    """
    with no_grad():
        if x.ndim == 5:
            return np.exp(_mean_log_probabilities(network, x, device)).astype(np.float32)
        return F.softmax(network(Tensor(x, device=device)), 1).numpy()


def evaluate(
    network: Network, loader: Iterable[tuple[np.ndarray, np.ndarray]], device: str = "cpu"
) -> Evaluation:
    """Run a network, set to evaluation meanwhile, over every batch of a loader.

    Parameters
    ----------
    network : Network
        On the device.
    loader : iterable of (x, y)
        x float32, (B, C, H, W), or (B, K, C, H, W) with K crops of each image; y int64 (B,). What the
        softmax gives for the K crops is averaged, as the paper averages its ten (section 4.1); the loss
        is then that of the averaged probabilities, not the mean of the crops' losses.
    device : str

    Raises
    ------
    DataError
        If the loader gives no images.
    """
    was_training = network.training
    network.eval()
    probabilities, labels = [], []
    loss = 0.0
    try:
        with no_grad():
            for batch in _batches(loader):
                x, y = map(np.asarray, batch)
                if x.ndim == 5:
                    logs = _mean_log_probabilities(network, x, device)
                    loss -= float(logs[np.arange(len(y)), y].sum())
                    probabilities.append(np.exp(logs).astype(np.float32))
                else:
                    logits = network(Tensor(x, device=device))
                    loss += F.cross_entropy(logits, y, reduction="sum").item()
                    probabilities.append(F.softmax(logits, 1).numpy())
                labels.append(y)
    finally:
        network.train(was_training)
    if not labels:
        raise DataError("there are no images to evaluate; the loader gave none")
    targets = np.concatenate(labels)
    return Evaluation(np.concatenate(probabilities), targets, loss / len(targets))


def _batches(loader: Iterable) -> Iterable:
    """The batches of a loader's present epoch, which an evaluation does not end; of anything else, all."""
    return loader.batches(loader.epoch) if isinstance(loader, DataLoader) else loader


def with_ten_crops(pipeline: Pipeline, input_shape: Sequence[int]) -> Pipeline:
    """Return a pipeline with ten crops in place of the crop at the centre.

    One that ends in ten crops already is returned as it is.

    Parameters
    ----------
    pipeline : Pipeline
        What a network is tested with.
    input_shape : (C, H, W)
        Of the network: the crops have its height and width.

    Raises
    ------
    DataError
        If the pipeline has no `center_crop` of that size.
    """
    if any(isinstance(transform, TenCrop) for transform in pipeline.transforms):
        return pipeline
    height, width = input_shape[1:]
    crop = CenterCrop((height, width))
    if crop not in pipeline.transforms:
        raise DataError(
            f"ten crops take the place of a center_crop of {height} x {width}, but the test transforms are "
            f"{', '.join(each.name for each in pipeline.transforms)}; train with a recipe that has one"
        )
    return Pipeline([TenCrop(crop.size) if each == crop else each for each in pipeline.transforms])


def _mean_log_probabilities(network: Network, x: np.ndarray, device: str) -> np.ndarray:
    """The logarithms of the probabilities averaged over the crops x (B, K, C, H, W): float64 (B, classes).

    One crop of all images after the other, so that K crops take no more memory than one. The mean is
    taken from logarithms, so that a probability too small for a float still has a finite loss.
    """
    crops = [
        F.log_softmax(network(Tensor(np.ascontiguousarray(x[:, k]), device=device)), 1).numpy()
        for k in range(x.shape[1])
    ]
    return np.logaddexp.reduce(np.asarray(crops, dtype=np.float64)) - np.log(x.shape[1])
