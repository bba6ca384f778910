"""The layers of a network with what they take and give, for those who build the same network elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from minialex import nn
from minialex.kernels.contract.windows import Window
from minialex.models import Network, summarise
from minialex.nn.windows import window_of


@dataclass(frozen=True)
class PlacedLayer:
    """A layer, its name, and the shapes of its input and output."""

    name: str
    module: nn.Module
    x: tuple[int, ...]
    y: tuple[int, ...]

    @property
    def window(self) -> Window:
        """The window of a convolution or a pool."""
        return window_of(self.module, self.x[2:])


def placed_layers(network: Network, batch: int = 1) -> Iterator[PlacedLayer]:
    """Yield the layers in order."""
    summary = summarise(network, batch)
    x = summary.input_shape
    for module, layer in zip(network.children(), summary.layers, strict=True):
        yield PlacedLayer(layer.name, module, x, layer.output_shape)
        x = layer.output_shape
