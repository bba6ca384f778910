"""The layers of a network with what they take and give, for those who build the same network elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from minialex import nn
from minialex.kernels.contract.windows import Padding, Pair, pair, resolve_padding
from minialex.models import Network, summarise


@dataclass(frozen=True)
class PlacedLayer:
    """A layer, its name, and the shapes of its input and output."""

    name: str
    module: nn.Module
    x: tuple[int, ...]
    y: tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """The window of a convolution or a pool in the one form that kernels take."""

    kernel_size: Pair
    stride: Pair
    padding: Padding
    dilation: Pair


def placed_layers(network: Network, batch: int = 1) -> Iterator[PlacedLayer]:
    """Yield the layers in order."""
    summary = summarise(network, batch)
    x = summary.input_shape
    for module, layer in zip(network.children(), summary.layers, strict=True):
        yield PlacedLayer(layer.name, module, x, layer.output_shape)
        x = layer.output_shape


def window_of(layer: PlacedLayer) -> Window:
    """The window of a convolution or a pool."""
    module = layer.module
    kernel, stride = pair(module.kernel_size, "kernel_size"), pair(module.stride, "stride")
    dilation = pair(getattr(module, "dilation", 1), "dilation")
    return Window(
        kernel, stride, resolve_padding(module.padding, layer.x[2:], kernel, stride, dilation), dilation
    )
