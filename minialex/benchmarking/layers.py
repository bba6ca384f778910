"""The layers of a network with what they take and give, for those who build the same network elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from minialex import nn
from minialex.kernels.contract.windows import Window
from minialex.models.summary import input_shape_of
from minialex.nn.trace import trace
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


def placed_layers(network: nn.Module, batch: int = 1) -> Iterator[PlacedLayer]:
    """Yield the layers in the order in which they run."""
    for layer in trace(network, (batch, *input_shape_of(network))).layers:
        yield PlacedLayer(layer.name, layer.module, layer.x, layer.y)
