"""Running a network over a data set without training it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minialex import functional as F
from minialex.autograd import no_grad
from minialex.models import Network
from minialex.tensor import Tensor


@dataclass(frozen=True)
class Evaluation:
    """What a network says of a data set of N images.

    Attributes
    ----------
    probabilities : float32 (N, classes)
        In the order of the loader.
    labels : int64 (N,)
    loss : float
        The mean cross-entropy.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    loss: float

    @property
    def predictions(self) -> np.ndarray:
        """The most probable class of each image, int64 (N,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def accuracy(self) -> float:
        """The share of images whose most probable class is the right one."""
        return float((self.predictions == self.labels).mean())

    def confusion(self) -> np.ndarray:
        """How often class i was taken for class j: int64 (classes, classes)."""
        classes = self.probabilities.shape[1]
        cells = self.labels * classes + self.predictions
        return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def predict_probabilities(network: Network, x: np.ndarray, device: str = "cpu") -> np.ndarray:
    """The probabilities of each class for images (N, C, H, W): float32 (N, classes).

    The network should be set to evaluation.
    """
    with no_grad():
        return F.softmax(network(Tensor(x, device=device)), 1).numpy()


def evaluate(network: Network, loader, device: str = "cpu") -> Evaluation:
    """Run a network, set to evaluation for the time, over every batch of a loader."""
    was_training = network.training
    network.eval()
    probabilities, labels = [], []
    loss = 0.0
    try:
        with no_grad():
            for x, y in loader:
                logits = network(Tensor(x, device=device))
                loss += F.cross_entropy(logits, y, reduction="sum").item()
                probabilities.append(F.softmax(logits, 1).numpy())
                labels.append(y)
    finally:
        network.train(was_training)
    targets = np.concatenate(labels)
    return Evaluation(np.concatenate(probabilities), targets, loss / len(targets))
