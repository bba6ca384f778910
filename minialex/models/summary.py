"""What a network consists of: the output shape, parameters, products and memory of each layer."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from minialex import nn
from minialex.checks import in_words, require_int
from minialex.errors import ModelError
from minialex.models.architecture import Network, Shape


@dataclass(frozen=True)
class LayerSummary:
    """One layer.

    Attributes
    ----------
    name, kind : str
        Such as ``conv1`` and ``Conv2d``.
    output_shape : tuple of int
        The batch is the first axis.
    parameters : int
        Including running statistics.
    trainable_parameters : int
        Without them.
    macs : int
        Multiply-accumulate operations of a forward pass of the batch, in convolutions and dense layers
        (one counts as two floating-point operations).
    activation_bytes : int
        The memory of its output in float32.
    """

    name: str
    kind: str
    output_shape: Shape
    parameters: int
    trainable_parameters: int
    macs: int
    activation_bytes: int


@dataclass(frozen=True)
class Summary:
    """A network for a batch of images: its layers and their totals."""

    model: str
    input_shape: Shape
    layers: tuple[LayerSummary, ...]

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def trainable_parameters(self) -> int:
        return sum(layer.trainable_parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        return sum(layer.activation_bytes for layer in self.layers)

    def to_dict(self) -> dict:
        """The summary in types that JSON has."""
        return {
            "model": self.model,
            "input_shape": list(self.input_shape),
            "parameters": self.parameters,
            "trainable_parameters": self.trainable_parameters,
            "macs": self.macs,
            "activation_bytes": self.activation_bytes,
            "layers": [asdict(layer) | {"output_shape": list(layer.output_shape)} for layer in self.layers],
        }


def summarise(network: Network, batch: int = 1, input_size: tuple[int, int] | None = None) -> Summary:
    """Summarise a network for a batch of images, by default of its own size.

    Raises
    ------
    ModelError
        If it is no network of `create_model`, the size does not fit, or the batch is not a positive int.
    """
    if not isinstance(network, Network):
        raise ModelError(f"network must be one that create_model builds, not {in_words(network)}")
    require_int("batch", batch, 1, error=ModelError)
    architecture = network.architecture
    image = (architecture.input_shape[0], *(input_size or architecture.input_shape[1:]))
    architecture.require_fit(image)
    shape = (batch, *image)
    layers = []
    for row, (name, module) in zip(architecture.layers, network.named_children(), strict=True):
        with nn.init.deferred():
            _, shape = row.make(shape, network.num_classes)
        trained = [p for p in module.parameters() if p.requires_grad]
        stored = sum(p.size for p in module.parameters()) + sum(b.size for b in module.buffers())
        layers.append(
            LayerSummary(
                name=name,
                kind=type(module).__name__,
                output_shape=shape,
                parameters=stored,
                trainable_parameters=sum(p.size for p in trained),
                macs=_macs(module, shape),
                activation_bytes=4 * math.prod(shape),
            )
        )
    return Summary(architecture.name, (batch, *image), tuple(layers))


def _macs(module: nn.Module, output: Shape) -> int:
    if isinstance(module, nn.Conv2d):
        return math.prod(output) * math.prod(module.weight.shape[1:])
    if isinstance(module, nn.Linear):
        return math.prod(output) * module.in_features
    return 0
