"""Networks described as data: a table of layers, from which the network is built.

A table leaves out what follows from the rows above: the number of input channels or features of
each layer, and the layers' names. Convolutions and dense layers are numbered consecutively, as in the paper
(conv1 .. conv5, fc6 .. fc8); every other layer takes the number of the last of them (relu1, norm1, pool1).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from minialex import nn
from minialex.checks import require_int
from minialex.errors import MiniAlexError, ModelError
from minialex.kernels import output_shape
from minialex.tensor import Tensor

Shape = tuple[int, ...]

# The number of classes, in a table.
CLASSES = "classes"


@dataclass(frozen=True)
class Layer:
    """One row of a table: the prefix of its name, and how it is made for an input shape (N, ...)."""

    prefix: str
    options: dict = field(default_factory=dict)

    def make(self, x: Shape, num_classes: int) -> tuple[nn.Module, Shape]:
        """The layer for inputs of shape x, and the shape of its output."""
        return _MAKERS[self.prefix](x, num_classes, **self.options)


# The rows, named so that a table reads like the one in a paper.


def conv(outputs: int, kernel_size: int, **options) -> Layer:
    """A convolution; options: stride, padding, groups, bias."""
    return Layer("conv", {"outputs": outputs, "kernel_size": kernel_size, **options})


def dense(outputs: int | str) -> Layer:
    """A fully connected layer."""
    return Layer("fc", {"outputs": outputs})


def relu() -> Layer:
    """A rectified linear unit."""
    return Layer("relu")


def lrn(**options) -> Layer:
    """Local response normalisation, by default with the paper's parameters."""
    return Layer("norm", options)


def batch_norm(**options) -> Layer:
    """Batch normalisation; options: eps, momentum, axis."""
    return Layer("bn", options)


def max_pool(kernel_size: int, stride: int, **options) -> Layer:
    """Max-pooling; options: padding."""
    return Layer("pool", {"kind": nn.MaxPool2d, "kernel_size": kernel_size, "stride": stride, **options})


def avg_pool(kernel_size: int, stride: int, **options) -> Layer:
    """Average pooling; options: padding."""
    return Layer("pool", {"kind": nn.AvgPool2d, "kernel_size": kernel_size, "stride": stride, **options})


def dropout(p: float = 0.5) -> Layer:
    """Dropout."""
    return Layer("drop", {"p": p})


def flatten() -> Layer:
    """Planes to features."""
    return Layer("flatten")


def _make_conv(x, _, outputs, **options):
    layer = nn.Conv2d(x[1], outputs, **options)
    return layer, output_shape(
        "conv2d", x, layer.weight.shape, stride=layer.stride, padding=layer.padding,
        dilation=layer.dilation, groups=layer.groups,
    )  # fmt: skip


def _make_dense(x, num_classes, outputs):
    if len(x) != 2:
        raise ModelError(f"a dense layer follows {x}; put flatten() before it")
    layer = nn.Linear(x[1], num_classes if outputs == CLASSES else outputs)
    return layer, output_shape("linear", x, layer.weight.shape)


def _make_pool(x, _, kind, **options):
    operation = "max_pool2d" if kind is nn.MaxPool2d else "avg_pool2d"
    return kind(**options), output_shape(operation, x, **options)


_MAKERS = {
    "conv": _make_conv,
    "fc": _make_dense,
    "pool": _make_pool,
    "relu": lambda x, _: (nn.ReLU(), x),
    "norm": lambda x, _, **options: (nn.LocalResponseNorm(**options), x),
    "bn": lambda x, _, **options: (nn.BatchNorm2d(x[options.get("axis", 1)], **options), x),
    "drop": lambda x, _, p: (nn.Dropout(p), x),
    "flatten": lambda x, _: (nn.Flatten(), output_shape("flatten", x)),
}


@dataclass(frozen=True)
class Architecture:
    """A network as data.

    Attributes
    ----------
    name : str
        Its name for `minialex.models.create_model`.
    source : str
        Who described it.
    input_shape : (C, H, W)
    num_classes : int
        The default number of classes.
    layers : tuple of Layer
        The table.
    initialiser : str
        A name in `minialex.models.initialisers`.
    trainable_parameters : int
        The published count, for the default number of classes.
    differs : str
        How it differs from the network of Krizhevsky et al. 2012.
    size_note : str
        What to tell users who pass images of another size.
    """

    name: str
    source: str
    input_shape: Shape
    num_classes: int
    layers: tuple[Layer, ...]
    initialiser: str
    trainable_parameters: int
    differs: str
    size_note: str = ""

    def names(self) -> list[str]:
        """The layers' names, by this module's rule."""
        number, names = 0, []
        for layer in self.layers:
            number += layer.prefix in ("conv", "fc")
            names.append("flatten" if layer.prefix == "flatten" else f"{layer.prefix}{number}")
        if len(set(names)) != len(names):
            raise ModelError(f"{self.name}: two layers have the same name in {', '.join(names)}")
        return names

    def build(self, num_classes: int | None = None) -> Network:
        """The network, its weights not yet drawn.

        Raises
        ------
        ModelError
            If the number of classes is not a positive int.
        """
        num_classes = self.num_classes if num_classes is None else num_classes
        num_classes = require_int("num_classes", num_classes, 1, error=ModelError)
        modules, shape = {}, (1, *self.input_shape)
        with nn.init.deferred():
            for name, layer in zip(self.names(), self.layers, strict=True):
                modules[name], shape = layer.make(shape, num_classes)
        return Network(self, num_classes, modules)

    def features(self, input_shape: Shape) -> int:
        """How many features flatten() returns for an input (C, H, W)."""
        shape = (1, *input_shape)
        with nn.init.deferred():
            for layer in self.layers:
                _, shape = layer.make(shape, self.num_classes)
                if layer.prefix == "flatten":
                    return shape[1]
        raise ModelError(f"{self.name} has no flatten()")

    def fits(self, input_shape: Shape) -> bool:
        """Whether the network can take inputs (C, H, W)."""
        return self._misfit(input_shape) is None

    def _misfit(self, input_shape: Shape) -> str | None:
        """Why the network cannot take inputs of this height and width; None if it can."""
        if input_shape == self.input_shape:
            return None
        if len(input_shape) != 3 or input_shape[0] != self.input_shape[0]:
            return f"it takes {self.input_shape[0]} channel(s)"
        if any(layer.prefix == "bn" and layer.options.get("axis", 1) != 1 for layer in self.layers):
            return "it normalises each row of the image by itself"
        try:
            features = self.features(input_shape)
        except MiniAlexError as error:
            return str(error)
        needed = self.features(self.input_shape)
        if features != needed:
            return f"the first dense layer would get {features} features, not {needed}"
        return None

    def require_fit(self, input_shape: Shape) -> None:
        """Raise `ModelError`, with the sizes that fit and why, unless inputs (C, H, W) fit."""
        reason = self._misfit(input_shape)
        if reason is None:
            return
        channels = self.input_shape[0]
        if len(input_shape) != 3 or input_shape[0] != channels:
            raise ModelError(
                f"{self.name} takes images {self.input_shape} (channels, height, width); "
                f"got {tuple(input_shape)}"
            )
        sizes = [size for size in range(1, 513) if self.fits((channels, size, size))]
        text = (
            f"{self.name} cannot take images of {input_shape[1]} x {input_shape[2]}: {reason}. "
            f"Square sizes that fit: {_ranges(sizes)}."
        )
        raise ModelError(f"{text} {self.size_note}".strip())


def _ranges(numbers: list[int]) -> str:
    """Write sorted numbers as ranges: 1 to 3, 7."""
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    return ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in zip(starts, ends, strict=True))


class Network(nn.Sequential):
    """A network built from an architecture: from images (N, C, H, W) to logits (N, classes)."""

    def __init__(self, architecture: Architecture, num_classes: int, modules: dict[str, nn.Module]):
        super().__init__(modules)
        self.architecture = architecture
        self.num_classes = num_classes

    @property
    def name(self) -> str:
        return self.architecture.name

    @property
    def input_shape(self) -> Shape:
        return self.architecture.input_shape

    def forward(self, x: Tensor) -> Tensor:
        """Run the layers.

        Raises
        ------
        ModelError
            If the images' size does not fit; the message says which sizes do.
        """
        if x.shape[1:] != self.input_shape:
            self.architecture.require_fit(x.shape[1:])
        return super().forward(x)

    def _title(self) -> str:
        return f"{self.name} with {self.num_classes} classes"
