"""Initial weights: functions that draw them, and the default of new layers.

The functions take the shape of a weight, (O, I, KH, KW) or (O, I), and return float32 values drawn from
`minialex.random.generator`. The fan-in is I * KH * KW, the fan-out O * KH * KW. Named initialisers of
whole networks are in `minialex.models.initialisers`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from minialex import random
from minialex.checks import require_choice
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

    Keras's ``he_normal`` has the same variance, but truncates the distribution at two standard deviations.
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
    require_choice("mode", mode, ("fan_in", "fan_out"), error=ModelError)
    return _fans(shape)[mode == "fan_out"]


def assign(module: Module, weight: np.ndarray, bias: float | np.ndarray) -> None:
    """Set the weights of a layer, and its bias if it has one."""
    module.weight.data[...] = weight
    if module.bias is not None:
        module.bias.data[...] = bias


def pytorch(module: Module, name: str = "") -> None:
    """PyTorch's default for its layers: weight and bias uniform within +-1 / sqrt(fan-in)."""
    bound = 1 / math.sqrt(_fans(module.weight.shape)[0])
    weight = uniform(module.weight.shape, -bound, bound)
    bias = 0.0 if module.bias is None else uniform(module.bias.shape, -bound, bound)
    assign(module, weight, bias)


_deferred = False


@contextmanager
def deferred() -> Iterator[None]:
    """Build layers without drawing their default weights, for callers who set them afterwards."""
    global _deferred
    before, _deferred = _deferred, True
    try:
        yield
    finally:
        _deferred = before


def default(module: Module) -> None:
    """Draw a new layer's initial weights, as PyTorch's layers do; do nothing inside `deferred`."""
    if not _deferred:
        pytorch(module)
