"""What a network consists of: the output shape, parameters, products and memory of each layer."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from minialex import nn
from minialex.checks import in_words, is_int, require_int
from minialex.errors import ModelError
from minialex.nn.trace import TracedLayer, trace

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerSummary:
    """One layer, or one of several runs of it.

    Attributes
    ----------
    name, kind : str
        Such as ``conv1`` and ``Conv2d``; dotted in a network of blocks, ``layer1.0.conv1``.
    output_shape : tuple of int
        The batch is the first axis. Empty for a layer that does not run in evaluation.
    parameters : int
        Including running statistics; 0 in a run after the first.
    trainable_parameters : int
        Without them.
    macs : int
        Multiply-accumulate operations of a forward pass of the batch, in convolutions and matrix products
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


def summarise(
    network: nn.Module,
    batch: int = 1,
    input_size: tuple[int, int] | None = None,
    *,
    input_shape: tuple[int, ...] | None = None,
) -> Summary:
    """Summarise any network for a batch of images, as it runs in evaluation.

    Parameters
    ----------
    network : Module
    batch : int
    input_size : (H, W), optional
        If not the network's own.
    input_shape : (C, H, W), optional
        For a module that has no attribute `input_shape`, as the networks of `create_model` have.

    Raises
    ------
    ModelError
        If it is no module, its input shape is not known or does not fit, or the batch is not a positive int.
    """
    if not isinstance(network, nn.Module):
        raise ModelError(f"network must be a Module, not {in_words(network)}")
    require_int("batch", batch, 1, error=ModelError)
    image = input_shape_of(network, input_shape)
    if input_size is not None:
        image = (image[0], *input_size)
    run = trace(network, (batch, *image))
    layers, counted = [], set()
    for layer in run.layers:
        layers.append(_summary(layer.name, layer.module, layer, counted))
    for name, module in network.named_modules():
        if id(module) not in counted and any(True for _ in module.parameters(recurse=False)):
            layers.append(_summary(name, module, None, counted))
    return Summary(name_of(network), (batch, *image), tuple(layers))


def input_shape_of(network: nn.Module, given: tuple[int, ...] | None = None) -> Shape:
    """The shape (C, H, W) of a network's images: as given, or its attribute `input_shape`.

    Raises
    ------
    ModelError
        If there is none, or it is not three positive ints.
    """
    shape = getattr(network, "input_shape", None) if given is None else given
    if shape is None:
        raise ModelError(
            f"{type(network).__name__} does not say what images it takes: give its class an attribute "
            "input_shape = (channels, height, width), or pass input_shape=(...)"
        )
    if not isinstance(shape, tuple | list) or len(shape) != 3 or not all(is_int(n, 1) for n in shape):
        raise ModelError(f"input_shape must be (channels, height, width), not {in_words(shape)}")
    return tuple(shape)


def name_of(network: nn.Module) -> str:
    """What a network is called: its name, or its class's."""
    return getattr(network, "name", None) or type(network).__name__


def _summary(name: str, module: nn.Module, run: TracedLayer | None, counted: set[int]) -> LayerSummary:
    """A layer, its parameters counted where it is met first; `run` is None if it does not run."""
    own = [] if id(module) in counted else list(module.parameters(recurse=False))
    kept = [] if id(module) in counted else list(module.buffers(recurse=False))
    counted.add(id(module))
    output = run.y if run is not None and run.outputs else ()
    return LayerSummary(
        name=name or name_of(module),
        kind=type(module).__name__,
        output_shape=output,
        parameters=sum(each.size for each in (*own, *kept)),
        trainable_parameters=sum(p.size for p in own if p.requires_grad),
        macs=0 if run is None else run.macs,
        activation_bytes=4 * math.prod(output) if output else 0,
    )
