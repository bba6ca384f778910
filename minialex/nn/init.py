"""Initial weights: functions that draw them, and the default of new layers.

The functions whose names end with an underscore are PyTorch's, and fill a tensor in place. The others take
the shape of a weight, (O, I, KH, KW) or (O, I), and return float32 values. Both draw from
`minialex.random.generator`. The fan-in of a weight is I * KH * KW, its fan-out O * KH * KW. Named
initialisers of whole networks are in `minialex.models.initialisers`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import NormalDist

import numpy as np

from minialex import random
from minialex.autograd import no_grad
from minialex.checks import in_words, is_number, require_choice, require_number
from minialex.errors import ModelError, ShapeError
from minialex.nn.module import Module
from minialex.operations.in_place import copy_
from minialex.tensor import FLOATS, Tensor, require_tensor

Shape = tuple[int, ...]


def _fans(shape: Shape) -> tuple[int, int]:
    if len(shape) < 2:
        raise ShapeError(f"a weight must have 2 or more axes to have fans, not shape {shape}")
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def normal(shape: Shape, std: float = 0.01, mean: float = 0.0) -> np.ndarray:
    """A normal distribution (Krizhevsky et al. 2012, section 5: mean 0, standard deviation 0.01)."""
    require_number("std", std, 0, error=ModelError)
    require_number("mean", mean, -math.inf, error=ModelError)
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
        module.reset_parameters()


# PyTorch's, in place

_GAINS = {"sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4} | dict.fromkeys(
    ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), 1.0
)
NONLINEARITIES = (*_GAINS, "leaky_relu")


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By what the deviation of weights is multiplied before a nonlinearity, so that signals keep their size.

    Parameters
    ----------
    nonlinearity : str
        "linear" and the convolutions (1), "sigmoid" (1), "tanh" (5/3), "relu" (sqrt(2)), "leaky_relu"
        (sqrt(2 / (1 + slope**2))) or "selu" (3/4).
    param : float, optional
        The slope of "leaky_relu", 0.01 if not given.
    """
    require_choice("nonlinearity", nonlinearity, NONLINEARITIES, error=ModelError)
    if nonlinearity != "leaky_relu":
        return _GAINS[nonlinearity]
    slope = 0.01 if param is None else param
    if not is_number(slope):
        raise ModelError(f"param must be a number, the slope of leaky_relu, not {in_words(slope)}")
    return math.sqrt(2 / (1 + slope**2))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator=None) -> Tensor:
    """Fill a tensor with a normal distribution.

    Parameters
    ----------
    tensor : Tensor, any shape
        Of floats; a leaf, which may require a gradient.
    mean, std : float
    generator : numpy.random.Generator, optional
        Draws in place of MiniAlex's own.

    Returns
    -------
    Tensor
        The same one.

    Raises
    ------
    TypeError
        If it is no tensor of floats.
    """
    mean, std = require_number("mean", mean, -math.inf), require_number("std", std, 0)
    values = _generator("normal_", tensor, generator).standard_normal(tensor.shape, tensor.dtype)
    return _filled(tensor, np.asarray(values) * std + mean)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator=None) -> Tensor:
    """Fill a tensor with a uniform distribution from a to b; see `normal_`."""
    a = require_number("a", a, -math.inf)
    b = require_number("b", b, a)
    values = _generator("uniform_", tensor, generator).random(tensor.shape, tensor.dtype)
    return _filled(tensor, np.asarray(values) * (b - a) + a)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator=None
) -> Tensor:
    """Fill a tensor with a normal distribution that is cut off at a and b, values and not deviations.

    What is drawn outside is drawn again; where little lies inside, uniform numbers go through the inverse of
    the distribution. See `normal_` for the parameters.
    """
    mean, std = require_number("mean", mean, -math.inf), require_number("std", std, 0)
    a = require_number("a", a, -math.inf)
    b = require_number("b", b, a)
    source = _generator("trunc_normal_", tensor, generator)
    if std == 0:
        return _filled(tensor, np.full(tensor.shape, min(max(mean, a), b)))
    low, high = (a - mean) / std, (b - mean) / std
    sign = 1.0 if low + high < 0 else -1.0  # in the lower tail small probabilities are exact
    first, last = sorted((_below(sign * low), _below(sign * high)))
    count = math.prod(tensor.shape)
    if last - first > 0.1:
        values = source.standard_normal(count)
        while (outside := (values < low) | (values > high)).any():
            values[outside] = source.standard_normal(int(outside.sum()))
    elif last > first:
        inverse, uniform = NormalDist().inv_cdf, source.random(count)
        values = sign * np.array([inverse(first + u * (last - first) or last) for u in uniform])
    else:
        raise ModelError(f"a and b must leave room for mean={mean} and std={std}, not be {a} and {b}")
    return _filled(tensor, np.clip(values.reshape(tensor.shape) * std + mean, a, b))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill a tensor with a number."""
    require_tensor("constant_", tensor)
    return _filled(tensor, np.full(tensor.shape, require_number("val", val, -math.inf)))


def zeros_(tensor: Tensor) -> Tensor:
    """Fill a tensor with zeros."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill a tensor with ones."""
    return constant_(tensor, 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """Fill a tensor (O, I) with ones on the diagonal and zeros beside it."""
    require_tensor("eye_", tensor)
    if tensor.ndim != 2:
        raise ShapeError(f"eye_: the tensor must have 2 axes, not shape {tensor.shape}")
    return _filled(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator=None) -> Tensor:
    """Uniform in +-gain sqrt(6 / (fan-in + fan-out)) (Glorot and Bengio 2010, equation 16).

    Parameters
    ----------
    tensor : Tensor (O, I, ...)
    gain : float
        See `calculate_gain`.
    generator : numpy.random.Generator, optional

    Raises
    ------
    ShapeError
        If it has fewer than two axes, and so no fans.
    """
    bound = require_number("gain", gain, -math.inf) * math.sqrt(6 / (sum(_fans_of(tensor)) or 1))
    return uniform_(tensor, -abs(bound), abs(bound), generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator=None) -> Tensor:
    """Normal with deviation gain sqrt(2 / (fan-in + fan-out)) (Glorot and Bengio 2010).

    The parameters are those of `xavier_uniform_`.
    """
    gain = require_number("gain", gain, 0)
    return normal_(tensor, 0.0, gain * math.sqrt(2 / (sum(_fans_of(tensor)) or 1)), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator=None,
) -> Tensor:
    """Uniform in +-gain sqrt(3 / fan) (He et al. 2015, equation 14).

    Parameters
    ----------
    tensor : Tensor (O, I, ...)
    a : float
        The slope of "leaky_relu"; 0 makes it that of ReLU.
    mode : "fan_in" or "fan_out"
        Whether signals keep their size forward, or gradients backward.
    nonlinearity : str
        What comes after the layer; see `calculate_gain`.
    generator : numpy.random.Generator, optional

    Raises
    ------
    ShapeError
        If it has fewer than two axes, and so no fans.
    """
    bound = math.sqrt(3) * _kaiming(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator=None,
) -> Tensor:
    """Normal with deviation gain / sqrt(fan) (He et al. 2015, equation 14).

    The parameters are those of `kaiming_uniform_`.
    """
    return normal_(tensor, 0.0, _kaiming(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator=None) -> Tensor:
    """Fill a tensor with an orthogonal matrix (O, I * ...), times gain (Saxe et al. 2014).

    Its rows are orthogonal to each other, or its columns if there are more rows than columns: Q of a normal
    matrix, with the signs that make it uniform among all.

    Raises
    ------
    ShapeError
        If the tensor has fewer than two axes.
    """
    gain = require_number("gain", gain, -math.inf)
    _fans_of(tensor)
    source = _generator("orthogonal_", tensor, generator)
    if not tensor.data.size:
        return tensor
    matrix = source.standard_normal((len(tensor), tensor.data.size // len(tensor)))
    wide = matrix.shape[0] < matrix.shape[1]
    q, r = np.linalg.qr(matrix.T if wide else matrix)
    q *= np.sign(np.diagonal(r))
    return _filled(tensor, gain * (q.T if wide else q).reshape(tensor.shape))


def _below(x: float) -> float:
    """The probability of a standard normal number below x, exact in the lower tail."""
    return math.erfc(-x / math.sqrt(2)) / 2


def _kaiming(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    require_choice("mode", mode, ("fan_in", "fan_out"), error=ModelError)
    fan = _fans_of(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan or 1)


def _fans_of(tensor: Tensor) -> tuple[int, int]:
    require_tensor("initialisation", tensor)
    return _fans(tensor.shape)


def _generator(name: str, tensor: Tensor, generator) -> np.random.Generator:
    require_tensor(name, tensor)
    if tensor.dtype not in FLOATS:
        raise TypeError(f"{name}: the tensor must be of floats, not {tensor.dtype}")
    if generator is not None and not isinstance(generator, np.random.Generator):
        raise TypeError(f"generator must be a numpy.random.Generator, not {type(generator).__name__}")
    return generator or random.generator()


def _filled(tensor: Tensor, values: np.ndarray) -> Tensor:
    with no_grad():
        return copy_(tensor, values)
