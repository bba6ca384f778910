"""The same network in PyTorch, with the same weights: what training steps are measured against."""

from __future__ import annotations

import torch

from minialex import nn
from minialex.models import Network


def torch_network(network: Network) -> torch.nn.Sequential:
    """Build a PyTorch network layer by layer, and copy the weights."""
    peer = torch.nn.Sequential(*(_torch_layer(layer) for layer in network))
    own = [p.numpy() for p in network.parameters()]
    with torch.no_grad():
        for parameter, values in zip(peer.parameters(), own, strict=True):
            parameter.copy_(torch.from_numpy(values))
    return peer


def _torch_layer(layer: nn.Module) -> torch.nn.Module:
    match layer:
        case nn.Conv2d():
            if isinstance(layer.padding, tuple):
                raise ValueError(f"PyTorch has no padding {layer.padding}")
            return torch.nn.Conv2d(
                layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding,
                layer.dilation, layer.groups, layer.bias is not None,
            )  # fmt: skip
        case nn.Linear():
            return torch.nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
        case nn.MaxPool2d():
            return torch.nn.MaxPool2d(layer.kernel_size, layer.stride, layer.padding)
        case nn.AvgPool2d():
            return torch.nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding)
        case nn.LocalResponseNorm():
            # PyTorch divides alpha by the size.
            scale = layer.size if layer.alpha_mode == "sum" else 1
            return torch.nn.LocalResponseNorm(layer.size, layer.alpha * scale, layer.beta, layer.k)
        case nn.BatchNorm2d(axis=1):
            return torch.nn.BatchNorm2d(layer.num_features, layer.eps, layer.momentum)
        case nn.ReLU():
            return torch.nn.ReLU()
        case nn.Dropout():
            return torch.nn.Dropout(layer.p)
        case nn.Flatten():
            return torch.nn.Flatten()
    raise ValueError(f"there is no PyTorch layer for {layer}")
