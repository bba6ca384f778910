"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from minialex import functional as F
from minialex.data import DataLoader
from minialex.errors import TrainingError
from minialex.models import Network
from minialex.optim import Optimizer
from minialex.optim.lr_scheduler import LRScheduler
from minialex.tensor import Tensor
from minialex.training.diagnosis import first_non_finite_layer
from minialex.training.evaluation import Evaluation, evaluate


@dataclass(frozen=True)
class EpochMetrics:
    """What one epoch brought.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    train_loss, train_accuracy : float
        Means over the epoch's images as they were trained on, with dropout and changing weights.
    test_loss, test_accuracy : float
        After the epoch.
    lr : float
        The learning rate of its last step.
    seconds : float
        Spent on training, without the test.
    images_per_second : float
        Of training.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    lr: float
    seconds: float
    images_per_second: float

    def to_dict(self) -> dict:
        """The metrics as one line of metrics.jsonl holds them."""
        return asdict(self)


@dataclass(frozen=True)
class Step:
    """Where training stands after a step: the epoch's means so far."""

    epoch: int
    batch: int
    batches: int
    images: int
    loss: float
    accuracy: float
    images_per_second: float


class Callback:
    """What may follow a step or an epoch. Subclasses define what they need."""

    def after_step(self, step: Step) -> None:
        """Follow a step of the optimiser."""

    def after_epoch(self, metrics: EpochMetrics, network: Network, test: Evaluation) -> None:
        """Follow an epoch and its test."""


class Trainer:
    """Trains a network on one loader and tests it on another after every epoch.

    Parameters
    ----------
    network : Network
        On the device.
    optimizer : Optimizer
        Over the network's parameters.
    schedule : LRScheduler
        Counts steps, not epochs.
    train, test : DataLoader
    device : str
    callbacks : sequence of Callback
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        schedule: LRScheduler,
        train: DataLoader,
        test: DataLoader,
        *,
        device: str = "cpu",
        callbacks: Sequence[Callback] = (),
    ):
        self.network, self.optimizer, self.schedule = network, optimizer, schedule
        self.train, self.test = train, test
        self.device, self.callbacks = device, tuple(callbacks)
        self.steps = 0

    def fit(self, epochs: int) -> EpochMetrics:
        """Train for a number of epochs; return the metrics of the last.

        Raises
        ------
        TrainingError
            If the loss is not finite; the message names the layer where that began.
        """
        for epoch in range(1, epochs + 1):
            trained = self._train_epoch(epoch)
            # An overflow in the test shows as a loss that is not finite; NumPy's warning adds nothing.
            with np.errstate(all="ignore"):
                test = evaluate(self.network, self.test, self.device)
            if not math.isfinite(test.loss):
                raise TrainingError(self._failure(epoch, "the test", next(iter(self.test))[0]))
            metrics = EpochMetrics(test_loss=test.loss, test_accuracy=test.accuracy, **trained)
            for callback in self.callbacks:
                callback.after_epoch(metrics, self.network, test)
        return metrics

    def _train_epoch(self, epoch: int) -> dict:
        self.network.train()
        self.train.set_epoch(epoch)
        images, loss_sum, correct = 0, 0.0, 0
        start = time.perf_counter()
        for batch, (x, y) in enumerate(self.train, 1):
            lr = self.optimizer.param_groups[0]["lr"]
            with np.errstate(all="ignore"):
                loss, predictions = self._step(x, y)
            if not math.isfinite(loss):
                raise TrainingError(self._failure(epoch, f"batch {batch}", x))
            images += len(y)
            loss_sum += loss * len(y)
            correct += int((predictions == y).sum())
            seconds = time.perf_counter() - start
            step = Step(
                epoch, batch, len(self.train), len(y), loss_sum / images, correct / images, images / seconds
            )
            for callback in self.callbacks:
                callback.after_step(step)
        return {
            "epoch": epoch,
            "train_loss": step.loss,
            "train_accuracy": step.accuracy,
            "lr": lr,
            "seconds": seconds,
            "images_per_second": step.images_per_second,
        }

    def _step(self, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        """One step on a batch; return its loss and predictions. A loss that is not finite changes nothing."""
        logits = self.network(Tensor(x, device=self.device))
        loss = F.cross_entropy(logits, y)
        value, predictions = loss.item(), logits.numpy().argmax(axis=1)
        if math.isfinite(value):
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            self.steps += 1
        return value, predictions

    def _failure(self, epoch: int, where: str, x: np.ndarray) -> str:
        lr = max(group["lr"] for group in self.optimizer.param_groups)
        with np.errstate(all="ignore"):
            layer = first_non_finite_layer(self.network, x, self.device) or "the loss itself"
        return (
            f"the loss is not finite in epoch {epoch}, {where}: the first value that is not finite comes "
            f"from {layer}. Lower the learning rate (it is {lr:g} here)"
        )
