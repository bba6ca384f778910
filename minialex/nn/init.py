"""Initial values of weights, as functions that draw them and as named recipes for whole networks.

The functions take the shape of a weight, (O, I, KH, KW) or (O, I), and return float32 values drawn from
`minialex.random.generator`. Their fan-in is I * KH * KW, their fan-out O * KH * KW.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from minialex import random
from minialex.errors import ModelError
from minialex.nn.module import Module

Shape = tuple[int, ...]


def _fans(shape: Shape) -> tuple[int, int]:
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def normal(shape: Shape, std: float = 0.01, mean: float = 0.0) -> np.ndarray:
    """A normal distribution (Krizhevsky et al. 2012, section 5: mean 0, standard deviation 0.01)."""
    values = random.generator().standard_normal(shape, np.float32)
    values *= std
    values += mean
    return values


def uniform(shape: Shape, low: float = -0.05, high: float = 0.05) -> np.ndarray:
    """A uniform distribution; the default range is that of Keras's ``"uniform"``."""
    values = random.generator().random(shape, np.float32)
    values *= high - low
    values += low
    return values


def he_normal(shape: Shape, mode: str = "fan_in") -> np.ndarray:
    """A normal distribution of variance 2 / fan (He et al. 2015, equation 10; PyTorch's kaiming_normal).

    Keras's ``he_normal`` has the same variance but cuts the distribution off at two deviations.
    """
    return normal(shape, math.sqrt(2 / _fan(shape, mode)))


def he_uniform(shape: Shape, mode: str = "fan_in") -> np.ndarray:
    """A uniform distribution of variance 2 / fan (He et al. 2015; PyTorch's kaiming_uniform)."""
    bound = math.sqrt(6 / _fan(shape, mode))
    return uniform(shape, -bound, bound)


def glorot_uniform(shape: Shape) -> np.ndarray:
    """A uniform distribution of variance 2 / (fan-in + fan-out) (Glorot and Bengio 2010, equation 16)."""
    bound = math.sqrt(6 / sum(_fans(shape)))
    return uniform(shape, -bound, bound)


def glorot_normal(shape: Shape) -> np.ndarray:
    """A normal distribution of variance 2 / (fan-in + fan-out) (Glorot and Bengio 2010)."""
    return normal(shape, math.sqrt(2 / sum(_fans(shape))))


def _fan(shape: Shape, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ModelError(f'mode={mode!r} should be "fan_in" or "fan_out"')
    return _fans(shape)[mode == "fan_out"]


def _set(module: Module, weight: np.ndarray, bias: float | np.ndarray) -> None:
    module.weight.data[...] = weight
    if module.bias is not None:
        module.bias.data[...] = bias


def _gaussian(module: Module, name: str, dense_std: float, bias: float) -> None:
    """N(0, 0.01), with another deviation in fc6 and fc7, and a raised bias in the paper's five layers."""
    raised = name in ("conv2", "conv4", "conv5", "fc6", "fc7")
    std = dense_std if name in ("fc6", "fc7") else 0.01
    _set(module, normal(module.weight.shape, std), bias if raised else 0.0)


def paper(module: Module, name: str) -> None:
    """Krizhevsky et al. 2012, section 5: N(0, 0.01); bias 1 in conv2, conv4, conv5, fc6 and fc7, else 0.

    The ones accelerate "the early stages of learning by providing the ReLUs with positive inputs". On
    small data the network often stays at the loss of guessing.
    """
    _gaussian(module, name, dense_std=0.01, bias=1.0)


def caffe(module: Module, name: str) -> None:
    """Caffe's bvlc_alexnet: as `paper`, but N(0, 0.005) in fc6 and fc7, and 0.1 where the bias is 1."""
    _gaussian(module, name, dense_std=0.005, bias=0.1)


def caffenet(module: Module, name: str) -> None:
    """Caffe's bvlc_reference_caffenet: as `caffe`, with the paper's bias of 1."""
    _gaussian(module, name, dense_std=0.005, bias=1.0)


def pytorch(module: Module, name: str) -> None:
    """PyTorch's default for its layers: weight and bias uniform in +-1 / sqrt(fan-in)."""
    bound = 1 / math.sqrt(_fans(module.weight.shape)[0])
    weight = uniform(module.weight.shape, -bound, bound)
    bias = 0.0 if module.bias is None else uniform(module.bias.shape, -bound, bound)
    _set(module, weight, bias)


def keras(module: Module, name: str) -> None:
    """Keras's default for its layers: Glorot's uniform weights, bias 0."""
    _set(module, glorot_uniform(module.weight.shape), 0.0)


def keras_uniform_convolutions(module: Module, name: str) -> None:
    """Keras's ``kernel_initializer="uniform"`` (+-0.05) in convolutions, its default in dense layers."""
    draw = uniform if module.weight.ndim == 4 else glorot_uniform
    _set(module, draw(module.weight.shape), 0.0)


def keras_he_normal_convolutions(module: Module, name: str) -> None:
    """Keras's ``kernel_initializer="he_normal"`` in convolutions, its default in dense layers."""
    draw = he_normal if module.weight.ndim == 4 else glorot_uniform
    _set(module, draw(module.weight.shape), 0.0)


def he(module: Module, name: str) -> None:
    """He's normal weights by fan-in, bias 0, in every layer: the safe choice with ReLU."""
    _set(module, he_normal(module.weight.shape), 0.0)


def he_fan_out(module: Module, name: str) -> None:
    """He's normal weights by fan-out in convolutions, N(0, 0.01) in dense layers, bias 0."""
    if module.weight.ndim == 4:
        _set(module, he_normal(module.weight.shape, "fan_out"), 0.0)
    else:
        _set(module, normal(module.weight.shape, 0.01), 0.0)


RECIPES: dict[str, Callable[[Module, str], None]] = {
    recipe.__name__: recipe
    for recipe in (
        paper,
        caffe,
        caffenet,
        pytorch,
        keras,
        keras_uniform_convolutions,
        keras_he_normal_convolutions,
        he,
        he_fan_out,
    )
}


_deferred = False


@contextmanager
def deferred() -> Iterator[None]:
    """Build layers without drawing their default weights, for a caller who sets them afterwards."""
    global _deferred
    before, _deferred = _deferred, True
    try:
        yield
    finally:
        _deferred = before


def default(module: Module) -> None:
    """Draw a new layer's first weights, as PyTorch's layers do; nothing inside of `deferred`."""
    if not _deferred:
        pytorch(module, "")


def initialise(network: Module, recipe: str) -> None:
    """Draw the weights of every convolution and dense layer of a network by a named recipe.

    Raises
    ------
    ModelError
        If there is no recipe of that name; the message has those there are.
    """
    from minialex.nn.layers import Conv2d, Linear  # layers draw their first values from here

    if recipe not in RECIPES:
        raise ModelError(f"initialiser {recipe!r} is unknown; there are: {', '.join(RECIPES)}")
    for name, module in network.named_modules():
        if isinstance(module, Conv2d | Linear):
            RECIPES[recipe](module, name)
