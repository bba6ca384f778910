"""Models with thin layers, as differentiable functions of their images and parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from minialex.autograd import no_grad
from minialex.checking.kernels.cases import Case
from minialex.errors import MiniAlexError, ModelError
from minialex.integers import ceil_div
from minialex.models import Architecture, Network, OwnModel, get_architecture
from minialex.models.architecture import Layer, rewritten
from minialex.models.initialisers import initialise
from minialex.operations import cat, split
from minialex.random import seeded
from minialex.tensor import Tensor

# What every width is divided by.
THINNER = 32
# Up to so many parameters are checked each by itself; more are joined to so many vectors.
_CHECKED_APART, _VECTORS = 32, 3
# How often a model's inputs are drawn until they reach its result.
_DRAWS = 200
# By how much the images are moved to see that.
_MOVED = 0.01
_SMALLEST_IMAGE = 12


def model_case(name: str, seed: int) -> Case:
    """A model as a function of two small images and of its parameters, and their values.

    It has thin layers, unless it is one of one's own.

    The images reach the result: in a layer of two channels ReLU or dropout may well switch off both.

    Raises
    ------
    ModelError
        If the result does not depend on the images, whatever the parameters.
    """
    network = checked_network(name)
    groups = _groups(list(network.parameters()))
    random = np.random.default_rng(seed)

    def logits(masks, x, *vectors):
        parameters = [p for vector, shapes in zip(vectors, groups, strict=True) for p in _cut(vector, shapes)]
        with seeded(masks), parameters_replaced(network, parameters):
            outputs = network(x)
        # Those of auxiliary heads beside the network's own.
        return cat(list(outputs), dim=1) if isinstance(outputs, tuple) else outputs

    for masks in range(_DRAWS * seed, _DRAWS * (seed + 1)):
        images = random.standard_normal((2, *network.input_shape))
        parameters = [_joined([_drawn(random, shape) for shape in shapes]) for shapes in groups]
        function = partial(logits, masks)
        others = images + random.uniform(-_MOVED, _MOVED, images.shape)
        with no_grad():
            here, there = (function(*map(Tensor, (x, *parameters))).numpy() for x in (images, others))
        if np.all(here != there):
            return Case(name, function, (images, *parameters))
    raise ModelError(
        f"results of {name} must depend on its images; with {_DRAWS} draws of parameters some did not"
    )


def checked_network(name: str) -> Any:
    """The network that is checked for a model, in float64: a thin one, or one's own as it is."""
    model = get_architecture(name)
    return model.build().astype(np.float64) if isinstance(model, OwnModel) else thin_network(model)


def description(name: str) -> str:
    """What is checked of a model, in a few words."""
    size = checked_network(name).input_shape[1]
    own = isinstance(get_architecture(name), OwnModel)
    return f"{'as it is' if own else f'widths / {THINNER}'}, images of {size}"


def _groups(parameters: list[Tensor]) -> list[list[tuple[int, ...]]]:
    """The shapes of the parameters that are checked together: each by itself, or many in a few vectors.

    A check takes as long as the network's pass times what is checked: a deep network would take minutes.
    """
    shapes = [p.shape for p in parameters]
    length = 1 if len(shapes) <= _CHECKED_APART else ceil_div(len(shapes), _VECTORS)
    return [shapes[start : start + length] for start in range(0, len(shapes), length)]


def _drawn(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Larger weights than networks start with, and positive biases.

    At 0.01 the first layer's gradient would be lost in rounding; and ReLU switches off fewer channels of few.
    """
    values = random.standard_normal(shape)
    return np.abs(values) if len(shape) == 1 else values / np.sqrt(max(1, math.prod(shape[1:])))


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate([array.ravel() for array in arrays])


def _cut(vector: Tensor, shapes: list[tuple[int, ...]]) -> list[Tensor]:
    """The parameters in a vector, which is the parameter itself where it holds one."""
    if len(shapes) == 1:
        return [vector]
    parts = split(vector, [math.prod(shape) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def thin_network(architecture: Architecture) -> Network:
    """The network with a fraction of every width, for the smallest images that it can take, in float64.

    Blocks are neither left out nor shortened. Batch normalisation has four numbers or more of each image: of
    two in all, it makes +1 and -1, whatever they are.
    """
    thin = rewritten(architecture.layers, _thinner)
    for size in range(_SMALLEST_IMAGE, architecture.input_shape[1] + 1):
        small = replace(architecture, layers=thin, input_shape=(architecture.input_shape[0], size, size))
        try:
            network = small.build(3)
        except MiniAlexError:
            continue
        initialise(network, "he")
        return network.astype(np.float64)
    raise AssertionError(f"{architecture.name} can be built for its own images")


def _thinner(layer: Layer) -> Layer:
    if layer.prefix == "bn":
        return _SpreadNorm(layer.prefix, layer.options, name=layer.name)
    options = dict(layer.options)
    if isinstance(options.get("outputs"), int):
        # Even, because the next convolution may cut them into two groups.
        options["outputs"] = max(2, options["outputs"] // THINNER // 2 * 2)
    if isinstance(options.get("groups"), int):
        options["groups"] = min(options["groups"], 2)
    return replace(layer, options=options)


class _SpreadNorm(Layer):
    """Batch normalisation that refuses images with fewer than four numbers of a feature."""

    def make(self, x, num_classes):
        if math.prod(x[1:]) < 4 * x[self.options.get("axis", 1)]:
            raise ModelError(f"batch normalisation of {x} has hardly anything to normalise")
        return super().make(x, num_classes)


@contextmanager
def parameters_replaced(network: Network, parameters: Iterable[Tensor]) -> Iterator[None]:
    """Let a network compute with other tensors in place of its parameters, given in their order."""
    values = iter(parameters)
    before = [(module, dict(module._parameters)) for module in network.modules()]
    try:
        for module, own in before:
            for name, parameter in own.items():
                if parameter is not None:
                    module._parameters[name] = next(values)
        yield
    finally:
        for module, own in before:
            module._parameters.update(own)
