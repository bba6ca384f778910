"""A network in PyTorch: the same layers, blocks, weights and running statistics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from minialex import nn
from minialex.benchmarking.contestant import Absent
from minialex.benchmarking.layers import PlacedLayer, placed_layers
from minialex.models import Network
from minialex.models.auxiliary import AuxiliaryHead
from minialex.models.blocks import Concatenation, DenseConnection, Residual
from minialex.nn.parts import is_layer, is_plain_sequence


def torch_network(network: nn.Module) -> torch.nn.Module:
    """Build a PyTorch network of the same layers, and copy the weights and running statistics.

    Its parameters come in the same order.

    Raises
    ------
    Absent
        If PyTorch has no such layer, or the network has a forward of its own, which cannot be read.
    """
    placed = {id(layer.module): layer for layer in placed_layers(network, batch=2)}
    built = _converted(network, type(network).__name__, placed)
    like = next(network.parameters())
    return built.to(torch.float32 if like.dtype == np.float32 else torch.float64)


class _Network(torch.nn.Module):
    """A row of modules, with heads beside it that are left out in evaluation."""

    def __init__(self, named: dict[str, torch.nn.Module], heads: set[str]):
        super().__init__()
        self.heads, self.row = heads, torch.nn.ModuleDict(named)

    def forward(self, x):
        given = {}
        for name, module in self.row.items():
            if name not in self.heads:
                x = module(x)
            elif self.training:
                given[name] = module(x)
        return (x, given["aux2"], given["aux1"]) if given else x


class _Residual(torch.nn.Module):
    def __init__(self, body, shortcut, end):
        super().__init__()
        self.body, self.shortcut, self.end = body, shortcut, end

    def forward(self, x):
        return self.end(self.body(x) + self.shortcut(x))


class _Concatenation(torch.nn.Module):
    def __init__(self, start, branches: list, end, split: bool):
        super().__init__()
        self.start, self.branches, self.end = start, torch.nn.ModuleList(branches), end
        self.split = split

    def forward(self, x):
        x = self.start(x)
        count = len(self.branches)
        inputs = x.chunk(count, dim=1) if self.split else (x,) * count
        parts = [branch(part) for branch, part in zip(self.branches, inputs, strict=True)]
        return self.end(torch.cat(parts, dim=1))


class _DenseConnection(torch.nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return torch.cat([x, self.body(x)], dim=1)


def _converted(module: nn.Module, name: str, placed: dict[int, PlacedLayer]) -> torch.nn.Module:
    def one(child: str) -> torch.nn.Module:
        return _converted(module._modules[child], f"{name}.{child}", placed)

    def row(children: Iterable[str]) -> torch.nn.Module:
        return torch.nn.Sequential(*map(one, children))

    match module:
        case Network():
            heads = {key for key, child in module.named_children() if isinstance(child, AuxiliaryHead)}
            return _Network({key: one(key) for key, _ in module.named_children()}, heads)
        case Residual():
            return _Residual(row(module._body), row(module._shortcut), row(module._end))
        case Concatenation():
            branches = [one(key) for key in module._branches]
            return _Concatenation(row(module._start), branches, row(module._end), module._split)
        case DenseConnection():
            return _DenseConnection(row(module._body))
    if is_plain_sequence(module):
        return row(key for key, _ in module.named_children())
    if not is_layer(module):
        raise Absent(f"the forward of {name}, a {type(module).__name__}, cannot be read for PyTorch")
    parts = _layers(module, name, placed.get(id(module)))
    with torch.no_grad():
        _copy(parts[-1], module)
    return parts[0] if len(parts) == 1 else torch.nn.Sequential(*parts)


def _copy(theirs: torch.nn.Module, ours: nn.Module) -> None:
    """Copy parameters and buffers of a layer, by their names."""
    given = {**dict(ours.named_parameters()), **dict(ours.named_buffers())}
    for name, tensor in (*theirs.named_parameters(), *theirs.named_buffers()):
        if name in given:
            tensor.copy_(torch.from_numpy(np.ascontiguousarray(getattr(given[name], "data", given[name]))))


def _layers(layer: Any, name: str, placed: PlacedLayer | None) -> list[torch.nn.Module]:
    window = placed.window if placed is not None and hasattr(layer, "padding") else None
    match layer:
        case nn.Conv2d() if window:
            before, padding = _padding(window.padding, 0.0)
            channels, rest = (layer.in_channels, layer.out_channels), (layer.groups, layer.bias is not None)
            sizes = (window.kernel_size, window.stride, padding, window.dilation)
            return [*before, torch.nn.Conv2d(*channels, *sizes, *rest)]
        case nn.Conv2d():  # of a head, which evaluation does not place
            channels, rest = (layer.in_channels, layer.out_channels), (layer.groups, layer.bias is not None)
            sizes = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
            return [torch.nn.Conv2d(*channels, *sizes, *rest)]
        case nn.Linear():
            return [torch.nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)]
        case nn.MaxPool2d() if window:
            before, padding = _padding(window.padding, -np.inf)
            sizes = (window.kernel_size, window.stride, padding, window.dilation)
            return [*before, torch.nn.MaxPool2d(*sizes, ceil_mode=layer.ceil_mode)]
        case nn.AvgPool2d(count_include_pad=True) if window:
            before, padding = _padding(window.padding, 0.0)
            return [*before, torch.nn.AvgPool2d(window.kernel_size, window.stride, padding, layer.ceil_mode)]
        case nn.AvgPool2d(count_include_pad=False, padding=int()):
            sizes = (layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode)
            return [torch.nn.AvgPool2d(*sizes, count_include_pad=False)]
        case nn.AdaptiveAvgPool2d():
            return [torch.nn.AdaptiveAvgPool2d(layer.output_size)]
        case nn.LocalResponseNorm():
            # PyTorch divides alpha by the size.
            scale = layer.size if layer.alpha_mode == "sum" else 1
            return [torch.nn.LocalResponseNorm(layer.size, layer.alpha * scale, layer.beta, layer.k)]
        case nn.BatchNorm2d(axis=1):
            return [torch.nn.BatchNorm2d(layer.num_features, layer.eps, layer.momentum)]
        case nn.ReLU():
            return [torch.nn.ReLU()]
        case nn.ReLU6():
            return [torch.nn.ReLU6()]
        case nn.Tanh():
            return [torch.nn.Tanh()]
        case nn.Dropout():
            return [torch.nn.Dropout(layer.p)]
        case nn.Flatten():
            return [torch.nn.Flatten()]
        case nn.ChannelShuffle():
            return [torch.nn.ChannelShuffle(layer.groups)]
        case nn.Identity():
            return [torch.nn.Identity()]
    raise Absent(f"PyTorch has no layer like {name}, {layer}")


def _padding(padding, value: float) -> tuple[list[torch.nn.Module], tuple[int, int]]:
    """What a layer pads by itself; where the sides differ, which PyTorch cannot do, a layer before it."""
    (top, bottom), (left, right) = padding
    if top == bottom and left == right:
        return [], (top, left)
    return [torch.nn.ConstantPad2d((left, right, top, bottom), value)], (0, 0)
