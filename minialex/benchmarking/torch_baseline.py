"""PyTorch as a contestant: the same network with the same weights, in four modes.

Eager or compiled by torch.compile, each in the memory layout (N, C, H, W) or channels_last; its SGD is the
fused one.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from minialex import nn
from minialex.benchmarking.contestant import Absent, Contestant
from minialex.benchmarking.layers import PlacedLayer, placed_layers
from minialex.benchmarking.tasks import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, Task
from minialex.models import Network


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
        dropouts = [layer for layer in self.network if isinstance(layer, torch.nn.Dropout)]
        for layer in dropouts:
            layer.eval()
        loss = F.cross_entropy(self.compiled(self.images), self.labels)
        loss.backward()
        gradients = [parameter.grad.contiguous().cpu().numpy() for parameter in self.network.parameters()]
        self.optimizer.zero_grad()
        for layer in dropouts:
            layer.train()
        return [loss.detach().cpu().numpy(), *gradients]

    def run(self) -> None:
        self.optimizer.zero_grad()
        F.cross_entropy(self.compiled(self.images), self.labels).backward()
        self.optimizer.step()

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


def torch_network(network: Network) -> torch.nn.Sequential:
    """Build a PyTorch network layer by layer, and copy the weights and running statistics.

    Raises
    ------
    Absent
        If PyTorch has no such layer.
    """
    built = torch.nn.Sequential(*(part for layer in placed_layers(network) for part in _torch_layers(layer)))
    theirs = [*built.parameters(), *(b for b in built.buffers() if b.is_floating_point())]
    ours = [*(parameter.numpy() for parameter in network.parameters()), *network.buffers()]
    with torch.no_grad():
        for tensor, values in zip(theirs, ours, strict=True):
            tensor.copy_(torch.from_numpy(values))
    return built.to(theirs[0].dtype if network[0].weight.dtype == np.float32 else torch.float64)


def _torch_layers(placed: PlacedLayer) -> list[torch.nn.Module]:
    layer = placed.module
    match layer:
        case nn.Conv2d():
            window = placed.window
            before, padding = _padding(window.padding, 0.0)
            channels, rest = (layer.in_channels, layer.out_channels), (layer.groups, layer.bias is not None)
            sizes = (window.kernel_size, window.stride, padding, window.dilation)
            return [*before, torch.nn.Conv2d(*channels, *sizes, *rest)]
        case nn.Linear():
            return [torch.nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)]
        case nn.MaxPool2d(ceil_mode=False):
            window = placed.window
            before, padding = _padding(window.padding, -np.inf)
            pool = torch.nn.MaxPool2d(window.kernel_size, window.stride, padding, window.dilation)
            return [*before, pool]
        case nn.AvgPool2d(ceil_mode=False, count_include_pad=True):
            window = placed.window
            before, padding = _padding(window.padding, 0.0)
            return [*before, torch.nn.AvgPool2d(window.kernel_size, window.stride, padding)]
        case nn.LocalResponseNorm():
            # PyTorch divides alpha by the size.
            scale = layer.size if layer.alpha_mode == "sum" else 1
            return [torch.nn.LocalResponseNorm(layer.size, layer.alpha * scale, layer.beta, layer.k)]
        case nn.BatchNorm2d(axis=1):
            return [torch.nn.BatchNorm2d(layer.num_features, layer.eps, layer.momentum)]
        case nn.ReLU():
            return [torch.nn.ReLU()]
        case nn.Dropout():
            return [torch.nn.Dropout(layer.p)]
        case nn.Flatten():
            return [torch.nn.Flatten()]
    raise Absent(f"PyTorch has no layer like {placed.name}, {layer}")


def _padding(padding, value: float) -> tuple[list[torch.nn.Module], tuple[int, int]]:
    """What a layer pads by itself; where the sides differ, which PyTorch cannot do, a layer before it."""
    (top, bottom), (left, right) = padding
    if top == bottom and left == right:
        return [], (top, left)
    return [torch.nn.ConstantPad2d((left, right, top, bottom), value)], (0, 0)
