"""MiniAlex as a contestant, and the truth: the same task in float64."""

from __future__ import annotations

import numpy as np

import minialex as ma
from minialex import functional as F
from minialex import nn
from minialex.benchmarking.contestant import Contestant
from minialex.benchmarking.tasks import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, Task
from minialex.kernels.runtime import threads as kernel_threads
from minialex.models import Network
from minialex.models.auxiliary import objective
from minialex.nn.utils import fuse_for_inference, record_for_inference


def make(task: Task, threads: int) -> Contestant:
    """Ours for a task."""
    kernel_threads.set_num_threads(threads)
    return OurTraining(task) if task.training else OurInference(task)


class OurTraining(Contestant):
    """A training step."""

    def __init__(self, task: Task):
        self.network = task.network().to(task.device)
        self.images, self.labels = ma.Tensor(task.images()).to(task.device), task.labels()
        self.optimizer = ma.optim.SGD(
            self.network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )

    def results(self) -> list[np.ndarray]:
        return loss_and_gradients(self.network, self.images, self.labels)

    def run(self) -> None:
        self.optimizer.zero_grad()
        objective(self.network(self.images), self.labels, F.cross_entropy).backward()
        self.optimizer.step()

    def run_layers(self) -> None:
        """The same, layer by layer, for `minialex.benchmarking.profiling`."""
        self.run()

    def forward(self) -> ma.Tensor:
        self.images.requires_grad = True
        return self.network(self.images)

    def forward_and_backward(self) -> None:
        self.network.zero_grad()
        self.images.grad = None
        y = self.forward()
        y.backward(y.detach())


class OurInference(Contestant):
    """A forward pass in evaluation mode, batch normalisation and ReLU in the convolutions as in an exported
    model; on the cpu recorded for the images' shape.
    """

    def __init__(self, task: Task):
        shape = task.images().shape
        network = fuse_for_inference(task.network(), shape)
        if task.device == "cpu":
            self._infer = record_for_inference(network, shape)
            self.network = self._infer.network
        else:
            self._infer = self.network = network.to(task.device)
        self.images = ma.Tensor(task.images()).to(task.device)

    def results(self) -> list[np.ndarray]:
        return [self.run().numpy()]

    def run(self) -> ma.Tensor:
        with ma.no_grad():
            return self._infer(self.images)

    def run_layers(self) -> None:
        with ma.no_grad():
            self.network(self.images)


def truth(task: Task) -> list[np.ndarray]:
    """What `Contestant.results` should give, computed in float64."""
    network = task.network().astype(np.float64)
    images = ma.Tensor(task.images().astype(np.float64))
    if task.training:
        return loss_and_gradients(network, images, task.labels())
    with ma.no_grad():
        return [network(images).numpy()]


def loss_and_gradients(network: Network, images: ma.Tensor, labels: np.ndarray) -> list[np.ndarray]:
    """The loss and the gradient of each parameter, without dropout; the network keeps no gradient."""
    network.zero_grad()
    dropouts = [layer for layer in network.modules() if isinstance(layer, nn.Dropout)]
    for layer in dropouts:
        layer.eval()
    loss = objective(network(images), labels, F.cross_entropy)
    loss.backward()
    for layer in dropouts:
        layer.train(network.training)
    gradients = [parameter.grad.numpy() for parameter in network.parameters()]
    network.zero_grad()
    return [loss.numpy(), *gradients]
