"""The two towers of the paper's network, stage by stage: what each computes, and what it sends the other.

The paper trained on two GPUs. Each held half of the kernels of every layer, a *tower*, and in conv2,
conv4 and conv5 a kernel saw only its own tower's maps. One device computes the same network with two groups
in these convolutions: tower 1 is the first half of the channels of every layer, tower 2 the second.
`walk_towers` reads from a network's layers what would cross from one tower to the other:

- a convolution in two groups, pooling, ReLU, dropout and batch normalisation of channels: nothing;
- a convolution without groups (conv3): all maps of the other tower, unless it reads the image, which both
  towers have;
- a dense layer (fc6, fc7, fc8): all outputs of the other tower;
- LRN over n channels: the n // 2 maps next to the border, because the network on one device normalises
  across it. The paper does not say what its GPUs did there; cuda-convnet normalised each GPU's maps
  separately.

Backpropagation sends the gradients of the same maps the other way: as many bytes again.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from minialex import nn
from minialex.checks import require_int
from minialex.errors import ModelError
from minialex.kernels.contract.windows import Pair, Window
from minialex.models.architecture import Network, Shape
from minialex.nn.trace import trace
from minialex.nn.windows import window_of

TOWERS = 2
_BYTES = 4  # float32


@dataclass(frozen=True)
class TowerPart:
    """What one of the towers does in a stage; shapes are for one image.

    Attributes
    ----------
    input_shape : (C, H, W) or (features,)
        What it holds itself.
    received_shape : (C, H, W) or (features,)
        What the other tower sends it; the first length is 0 if nothing crosses.
    output_shape : (C, H, W) or (features,)
    kernels : int
        Its kernels, or neurons in a dense layer; 0 if there are none.
    kernel_shape : (C, KH, KW) or (features,) or None
        Of each kernel; C counts the maps it sees, its own tower's and the other's.
    weights, biases : int
        Its trained parameters.
    sent_bytes : int
        What it sends the other tower for the batch, in float32.
    """

    input_shape: Shape
    received_shape: Shape
    output_shape: Shape
    kernels: int
    kernel_shape: Shape | None
    weights: int
    biases: int
    sent_bytes: int


@dataclass(frozen=True)
class Stage:
    """One layer on both towers.

    Attributes
    ----------
    name, kind : str
        Such as ``conv1`` and ``Conv2d``.
    window : Window or None
        Of a convolution or pool.
    neighbours : int or None
        The number of maps over which an LRN normalises.
    towers : (TowerPart, TowerPart)
    """

    name: str
    kind: str
    window: Window | None
    neighbours: int | None
    towers: tuple[TowerPart, TowerPart]

    @property
    def exchanges(self) -> bool:
        """Whether a tower reads anything from the other."""
        return any(part.sent_bytes for part in self.towers)


@dataclass(frozen=True)
class Towers:
    """A network on two towers, for a batch of images of shape (C, H, W)."""

    model: str
    batch: int
    input_shape: Shape
    stages: tuple[Stage, ...]

    @property
    def parameters(self) -> tuple[int, int]:
        """The trained parameters of each tower."""
        one, other = (sum(part.weights + part.biases for part in parts) for parts in self._by_tower())
        return one, other

    @property
    def sent_bytes(self) -> tuple[int, int]:
        """What each tower sends the other in a forward pass of the batch, in float32."""
        one, other = (sum(part.sent_bytes for part in parts) for parts in self._by_tower())
        return one, other

    def _by_tower(self):
        return zip(*(stage.towers for stage in self.stages), strict=True)

    def to_dict(self) -> dict:
        """The walk in types that JSON has."""
        return {
            "model": self.model,
            "towers": TOWERS,
            "batch": self.batch,
            "input_shape": list(self.input_shape),
            "parameters": list(self.parameters),
            "sent_bytes": list(self.sent_bytes),
            "stages": [
                asdict(stage)
                | {"window": _window_to_dict(stage.window) if stage.window else None}
                | {"arithmetic": stage.window.vertical.arithmetic() if stage.window else None}
                | {"exchanges": stage.exchanges}
                for stage in self.stages
            ],
        }


def has_towers(network: Network) -> bool:
    """Whether some of the network's convolutions are in two groups, and none in more."""
    groups = {layer.groups for layer in network.modules() if isinstance(layer, nn.Conv2d)}
    return TOWERS in groups and max(groups) == TOWERS


def walk_towers(network: Network, batch: int = 1, input_size: tuple[int, int] | None = None) -> Towers:
    """Go through a network stage by stage as two towers compute it.

    If a layer has an odd number of channels or outputs (such as five classes), tower 1 has one more.

    Parameters
    ----------
    network : Network
        One with convolutions in two groups.
    batch : int
        The images that `sent_bytes` counts.
    input_size : (H, W), optional
        The images' size, if not the network's own.

    Raises
    ------
    ModelError
        If the network has no two towers, the size does not fit, or the batch is not a positive int.
    """
    require_int("batch", batch, 1, error=ModelError)
    if not has_towers(network):
        raise ModelError(f"{network.name} has no two towers: its convolutions are not in two groups")
    image = (network.input_shape[0], *(input_size or network.input_shape[1:]))
    held, is_image, stages = (image, image), True, []
    for layer in trace(network, (1, *image)).layers:
        module = layer.module
        parts = _parts(module, held, layer.y[1:], is_image, batch)
        stages.append(
            Stage(
                name=layer.name,
                kind=type(module).__name__,
                window=_window(module, layer.x),
                neighbours=module.size if isinstance(module, nn.LocalResponseNorm) else None,
                towers=parts,
            )
        )
        held = parts[0].output_shape, parts[1].output_shape
        is_image = is_image and not isinstance(module, nn.Conv2d | nn.Linear)
    return Towers(network.name, batch, image, tuple(stages))


def _parts(
    module: nn.Module, held: tuple[Shape, Shape], output: Shape, is_image: bool, batch: int
) -> tuple[TowerPart, TowerPart]:
    """What each tower does in a layer; `held` is what each has, `output` what the whole layer returns."""
    if is_image and isinstance(module, nn.Conv2d) and module.groups == TOWERS:
        first, second = _halves(held[0][0])
        held = (first, *held[0][1:]), (second, *held[0][1:])
    # Each tower has the whole image, and needs nothing of it from the other.
    received = tuple((0 if is_image else _crossing(module, other[0]), *other[1:]) for other in held[::-1])
    sent = tuple(_BYTES * batch * math.prod(shape) for shape in received[::-1])
    shares = _halves(output[0])
    one, other = (
        _part(module, held[tower], received[tower], output, shares[tower], sent[tower])
        for tower in range(TOWERS)
    )
    return one, other


def _part(
    module: nn.Module, held: Shape, received: Shape, output: Shape, share: int, sent_bytes: int
) -> TowerPart:
    """One tower; `share` is how many of the layer's kernels it has, if there are any."""
    kernels, kernel_shape, weights, biases = 0, None, 0, 0
    if isinstance(module, nn.Conv2d | nn.Linear):
        kernels, kernel_shape = share, module.weight.shape[1:]
        weights = kernels * math.prod(kernel_shape)
        biases = 0 if module.bias is None else kernels
        output = (kernels, *output[1:])
    elif isinstance(module, nn.Flatten):
        output = (math.prod(held),)
    else:
        output = (held[0], *output[1:])
    if isinstance(module, nn.BatchNorm2d):
        if module.axis != 1:
            raise ModelError("batch normalisation over another axis than the channels mixes the two towers")
        weights = biases = held[0]
    return TowerPart(held, received, output, kernels, kernel_shape, weights, biases, sent_bytes)


def _crossing(module: nn.Module, maps: int) -> int:
    """How many of the other tower's maps (or features) a layer reads."""
    if isinstance(module, nn.LocalResponseNorm):
        return min(module.size // 2, maps)
    sees_all = isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    return maps if sees_all else 0


def _window(module: nn.Module, x: Shape) -> Window | None:
    if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        return window_of(module, (x[2], x[3]))
    return None


def _window_to_dict(window: Window) -> dict:
    names = {"kernel": "kernel_size"}
    return {
        name: getattr(window, names.get(name, name))
        for name in ("size", "kernel", "stride", "padding", "dilation", "positions")
    }


def _halves(count: int) -> Pair:
    return count - count // TOWERS, count // TOWERS
