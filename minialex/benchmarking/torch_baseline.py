"""PyTorch as a contestant: the same network with the same weights, in four modes.

Eager or compiled by torch.compile, each in the memory layout (N, C, H, W) or channels_last; its SGD is the
fused one.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from minialex.benchmarking.contestant import Contestant
from minialex.benchmarking.tasks import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, Task
from minialex.benchmarking.torch_network import torch_network
from minialex.models.auxiliary import WEIGHT


class _TorchContestant(Contestant):
    def __init__(self, task: Task, threads: int, *, channels_last: bool = False, compiled: bool = False):
        torch.set_num_threads(threads)
        # float32 is float32: cuDNN would otherwise take TF32, and its first algorithm instead of its fastest.
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = False, True
        network = torch_network(task.network()).train(task.training).to(task.device)
        self.images = torch.from_numpy(task.images()).to(task.device)
        if channels_last:
            network = network.to(memory_format=torch.channels_last)
            self.images = self.images.contiguous(memory_format=torch.channels_last)
        self.network = network
        self.compiled = torch.compile(network) if compiled else network


class TorchTraining(_TorchContestant):
    """A training step."""

    def __init__(self, task: Task, threads: int, **mode):
        super().__init__(task, threads, **mode)
        self.labels = torch.from_numpy(task.labels()).to(task.device)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), LEARNING_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True
        )

    def results(self) -> list[np.ndarray]:
        dropouts = [layer for layer in self.network.modules() if isinstance(layer, torch.nn.Dropout)]
        for layer in dropouts:
            layer.eval()
        loss = self._loss()
        loss.backward()
        gradients = [parameter.grad.contiguous().cpu().numpy() for parameter in self.network.parameters()]
        self.optimizer.zero_grad()
        for layer in dropouts:
            layer.train()
        return [loss.detach().cpu().numpy(), *gradients]

    def run(self) -> None:
        self.optimizer.zero_grad()
        self._loss().backward()
        self.optimizer.step()

    def _loss(self) -> torch.Tensor:
        outputs = self.compiled(self.images)
        if not isinstance(outputs, tuple):
            return F.cross_entropy(outputs, self.labels)
        loss, *heads = (F.cross_entropy(each, self.labels) for each in outputs)
        return loss + WEIGHT * (heads[0] + heads[1])

    def forward(self) -> torch.Tensor:
        self.images.requires_grad_()
        return self.compiled(self.images)

    def forward_and_backward(self) -> None:
        self.optimizer.zero_grad()
        self.images.grad = None
        y = self.forward()
        y.backward(y.detach())


class TorchInference(_TorchContestant):
    """A forward pass in evaluation mode."""

    def results(self) -> list[np.ndarray]:
        return [self.run().cpu().numpy()]

    def run(self) -> torch.Tensor:
        with torch.inference_mode():
            return self.compiled(self.images)
