"""Networks described as data: a table of layers, from which the network is built.

A table leaves out what follows from the rows above, the number of input channels or features of each layer.
A row may hold rows (`minialex.models.blocks`). Names are given with `named`; in a table without names,
convolutions and dense layers are numbered consecutively, as in the paper (conv1 .. conv5, fc6 .. fc8), and
every other layer takes the number of the last of them (relu1, norm1, pool1).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from minialex import nn
from minialex.checks import require_int
from minialex.errors import MiniAlexError, ModelError
from minialex.kernels import output_shape
from minialex.models.auxiliary import AuxiliaryHead, AuxiliaryOutputs
from minialex.nn.state import IncompatibleKeys
from minialex.tensor import Tensor

Shape = tuple[int, ...]

# In a table: the number of classes, and as many as there are input channels.
CLASSES = "classes"
INPUTS = "inputs"

# Above this size nobody asks whether images fit.
_LARGEST_IMAGE = 4096


@dataclass(frozen=True)
class Row:
    """One row of a table, a layer or a block of layers. Its name may follow from its place."""

    name: str = field(default="", kw_only=True)

    def make(self, x: Shape, num_classes: int) -> tuple[nn.Module, Shape]:
        """The module for inputs of shape x (N, ...), and the shape of what the next row gets."""
        raise NotImplementedError

    def layers(self) -> Iterator[Layer]:
        """The layers in the row, in order."""
        raise NotImplementedError

    def rewritten(self, change: Callable[[Layer], Row | None]) -> Self | Row | None:
        """The row with `change(layer)` in place of each layer in it; None leaves a layer out."""
        raise NotImplementedError


@dataclass(frozen=True)
class Layer(Row):
    """A row of one layer: the prefix of its name, and how it is made."""

    prefix: str
    options: dict = field(default_factory=dict)

    def make(self, x: Shape, num_classes: int) -> tuple[nn.Module, Shape]:
        return _MAKERS[self.prefix](x, num_classes, **self.options)

    def layers(self) -> Iterator[Layer]:
        yield self

    def rewritten(self, change: Callable[[Layer], Row | None]) -> Row | None:
        return change(self)


Rows = tuple[Row, ...]


def named(rows: Mapping[str, Row] | None = None, **others: Row) -> Rows:
    """Rows with their names: ``named(conv1=conv(64, 7), relu=relu())``."""
    return tuple(replace(row, name=name) for name, row in {**(rows or {}), **others}.items())


def rewritten(rows: Sequence[Row], change: Callable[[Layer], Row | None]) -> Rows:
    """A table with other layers, also in its blocks: `change` gives one for each; None leaves it out."""
    changed = (row.rewritten(change) for row in rows)
    return tuple(row for row in changed if row is not None)


def make_all(rows: Sequence[Row], x: Shape, num_classes: int) -> tuple[dict[str, nn.Module], Shape]:
    """The modules of named rows, one applied after the other to inputs of shape x, and the output's shape."""
    modules: dict[str, nn.Module] = {}
    for row in rows:
        modules[row.name], x = row.make(x, num_classes)
    return modules, x


# The layers, named so that a table reads like the one in a paper.


def conv(outputs: int | str, kernel_size: int | tuple[int, int], **options) -> Layer:
    """A convolution; options: stride, padding, groups, bias."""
    return Layer("conv", {"outputs": outputs, "kernel_size": kernel_size, **options})


def depthwise_conv(kernel_size: int, **options) -> Layer:
    """A convolution of each channel by itself; options: stride, padding, bias."""
    return conv(INPUTS, kernel_size, groups=INPUTS, **options)


def dense(outputs: int | str) -> Layer:
    """A fully connected layer."""
    return Layer("fc", {"outputs": outputs})


def relu() -> Layer:
    """A rectified linear unit."""
    return Layer("relu")


def relu6() -> Layer:
    """A rectified linear unit that ends at 6."""
    return Layer("relu6")


def tanh() -> Layer:
    """A hyperbolic tangent."""
    return Layer("tanh")


def lrn(**options) -> Layer:
    """Local response normalisation, by default with the paper's parameters."""
    return Layer("norm", options)


def batch_norm(**options) -> Layer:
    """Batch normalisation; options: eps, momentum, axis."""
    return Layer("bn", options)


def max_pool(kernel_size: int, stride: int, **options) -> Layer:
    """Max-pooling; options: padding, ceil_mode."""
    return Layer("pool", {"kind": nn.MaxPool2d, "kernel_size": kernel_size, "stride": stride, **options})


def avg_pool(kernel_size: int, stride: int, **options) -> Layer:
    """Average pooling; options: padding, ceil_mode, count_include_pad."""
    return Layer("pool", {"kind": nn.AvgPool2d, "kernel_size": kernel_size, "stride": stride, **options})


def adaptive_avg_pool(size: int = 1) -> Layer:
    """Average pooling to size x size positions, by default to one: global average pooling."""
    return Layer("avgpool", {"size": size})


def channel_shuffle(groups: int) -> Layer:
    """The channels of each group dealt out over all groups."""
    return Layer("shuffle", {"groups": groups})


def dropout(p: float = 0.5) -> Layer:
    """Dropout."""
    return Layer("drop", {"p": p})


def flatten() -> Layer:
    """Planes to features."""
    return Layer("flatten")


def _make_conv(x, num_classes, outputs, groups=1, **options):
    numbers: dict[int | str, int] = {CLASSES: num_classes, INPUTS: x[1]}
    outputs, groups = (numbers.get(number, number) for number in (outputs, groups))
    layer = nn.Conv2d(x[1], outputs, groups=groups, **options)
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
    "avgpool": lambda x, _, size: (nn.AdaptiveAvgPool2d(size), (*x[:2], size, size)),
    "relu": lambda x, _: (nn.ReLU(), x),
    "relu6": lambda x, _: (nn.ReLU6(), x),
    "tanh": lambda x, _: (nn.Tanh(), x),
    "shuffle": lambda x, _, groups: (nn.ChannelShuffle(groups), x),
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
    layers : tuple of Row
        The table. One of its rows is flatten(), before the first dense layer or, where there is none, last.
    initialiser : str
        A name in `minialex.models.initialisers`.
    trainable_parameters : int
        The published count, for the default number of classes.
    differs : str
        How it differs from the network of its paper.
    size_note : str
        What to tell users who pass images of another size.
    year : int or None
        When its paper was first published.
    paper : str
        Authors, title, and where that was published.
    macs : int or None
        The multiply-accumulate operations of the convolutions and dense layers for one image of its own size
        and the default number of classes; without those of auxiliary heads, which are for training only.
    former_names : mapping of str
        What its layers were called before, and what they are called now, for weights saved then.
    """

    name: str
    source: str
    input_shape: Shape
    num_classes: int
    layers: Rows
    initialiser: str
    trainable_parameters: int
    differs: str
    size_note: str = ""
    year: int | None = None
    paper: str = ""
    macs: int | None = None
    former_names: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> list[str]:
        """The layers' names: those in the table, and the others by this module's rule."""
        number, names = 0, []
        for row in self.layers:
            prefix = row.prefix if isinstance(row, Layer) else "block"
            number += prefix in ("conv", "fc")
            names.append(row.name or (prefix if prefix == "flatten" else f"{prefix}{number}"))
        if len(set(names)) != len(names):
            raise ModelError(
                f"{self.name}: two layers have the same name in {', '.join(names)}; give them others, with "
                "named(relu_again=relu(), ...)"
            )
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
        rows = [replace(row, name=name) for name, row in zip(self.names(), self.layers, strict=True)]
        with nn.init.deferred():
            modules, _ = make_all(rows, (1, *self.input_shape), num_classes)
        return Network(self, num_classes, modules)

    def features(self, input_shape: Shape) -> int:
        """How many features flatten() returns for an input (C, H, W)."""
        shape = (1, *input_shape)
        with nn.init.deferred():
            for row in self.layers:
                _, shape = row.make(shape, self.num_classes)
                if isinstance(row, Layer) and row.prefix == "flatten":
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
        if self._normalises_rows():
            return "it normalises each row of the image by itself"
        try:
            features = self.features(input_shape)
        except MiniAlexError as error:
            return str(error)
        needed = self.features(self.input_shape)
        if features != needed:
            return f"the first dense layer would get {features} features, not {needed}"
        return None

    def _normalises_rows(self) -> bool:
        layers = (layer for row in self.layers for layer in row.layers())
        return any(layer.prefix == "bn" and layer.options.get("axis", 1) != 1 for layer in layers)

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
        text = (
            f"{self.name} cannot take images of {input_shape[1]} x {input_shape[2]}: {reason}. "
            f"Square sizes that fit: {self._square_sizes()}."
        )
        raise ModelError(f"{text} {self.size_note}".strip())

    def _square_sizes(self) -> str:
        """The heights of the square images that fit: 227 to 258, or 15 or more."""
        if self._normalises_rows():
            return f"{self.input_shape[1]}"

        def features(size: int) -> int:
            try:
                return self.features((self.input_shape[0], size, size))
            except MiniAlexError:  # smaller than a window
                return -1

        # No layer gives fewer positions for a larger image.
        needed, sizes = self.features(self.input_shape), range(1, _LARGEST_IMAGE + 1)
        first = sizes[bisect_left(sizes, needed, key=features)]
        last = bisect_right(sizes, needed, key=features)
        if last == _LARGEST_IMAGE:
            return f"{first} or more"
        return f"{first}" if first == last else f"{first} to {last}"


class Network(nn.Sequential):
    """A network built from an architecture: from images (N, C, H, W) to logits (N, classes).

    One with auxiliary heads gives `AuxiliaryOutputs` in training mode.
    """

    def __init__(self, architecture: Architecture, num_classes: int, modules: dict[str, nn.Module]):
        super().__init__(modules)
        self.architecture = architecture
        self.num_classes = num_classes
        self._fitting = {architecture.input_shape}  # sizes of images that are known to fit

    @property
    def name(self) -> str:
        return self.architecture.name

    @property
    def input_shape(self) -> Shape:
        return self.architecture.input_shape

    def forward(self, x: Tensor) -> Any:
        """Run the layers.

        Returns
        -------
        Tensor (N, classes), or AuxiliaryOutputs of such
            The latter in training mode, if the network has auxiliary heads.

        Raises
        ------
        ModelError
            If the images' size does not fit; the message says which sizes do.
        """
        if x.shape[1:] not in self._fitting:
            self.architecture.require_fit(x.shape[1:])
            self._fitting.add(x.shape[1:])
        heads = {}
        for name, module in self._modules.items():
            if not isinstance(module, AuxiliaryHead):
                x = module(x)
            elif self.training:
                heads[name] = module(x)
        return AuxiliaryOutputs(x, heads["aux2"], heads["aux1"]) if heads else x

    def load_state_dict(
        self, state: Mapping[str, np.ndarray | Tensor], strict: bool = True
    ) -> IncompatibleKeys:
        """Copy values into parameters and buffers, also from a state with former names; see `Module`."""
        if isinstance(state, Mapping):
            state = {self._present_name(name): value for name, value in state.items()}
        return super().load_state_dict(state, strict)

    def _present_name(self, name: str) -> str:
        layer, dot, rest = str(name).partition(".")
        return f"{self.architecture.former_names.get(layer, layer)}{dot}{rest}"

    def _title(self) -> str:
        return f"{self.name} with {self.num_classes} classes"
