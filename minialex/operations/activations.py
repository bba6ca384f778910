"""Activation functions beside ReLU: compositions, with the names and formulas of ``torch.nn.functional``."""

from __future__ import annotations

import math

from minialex.checks import is_number
from minialex.errors import ShapeError
from minialex.operations.elementwise import erf, expm1, multiply, sigmoid, softplus_of, tanh
from minialex.operations.inputs import require_floats
from minialex.operations.layout import reshape
from minialex.operations.selection import clamp, where
from minialex.tensor import Tensor, as_tensor


def relu6(x: Tensor) -> Tensor:
    """x between 0 and 6 (Krizhevsky 2010)."""
    require_floats("relu6", x)
    return clamp(x, 0, 6)


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where it is above 0, else negative_slope * x (Maas et al. 2013)."""
    require_floats("leaky_relu", x)
    return where(x > 0, x, x * negative_slope)


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """x where it is above 0, else weight * x; one weight, or one for each channel (He et al. 2015)."""
    require_floats("prelu", x)
    weight = as_tensor(weight, x)
    if weight.size > 1:
        if x.ndim < 2 or weight.shape != (x.shape[1],):
            raise ShapeError(
                f"prelu: weight {weight.shape} must have one number, or one a channel of {x.shape}"
            )
        weight = reshape(weight, (1, -1, *(1,) * (x.ndim - 2)))
    return where(x > 0, x, multiply(weight, x))


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where it is above 0, else alpha * (exp(x) - 1) (Clevert et al. 2016)."""
    require_floats("elu", x)
    return where(x > 0, x, expm1(clamp(x, max=0)) * alpha)


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x times the standard normal distribution function of x (Hendrycks and Gimpel 2016).

    Parameters
    ----------
    x : Tensor
    approximate : "none" or "tanh"
        "tanh": 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3))).
    """
    require_floats("gelu", x)
    if approximate == "none":
        return x * (erf(x * math.sqrt(0.5)) + 1) * 0.5
    if approximate == "tanh":
        return x * (tanh((x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)) + 1) * 0.5
    raise ShapeError(f'gelu: approximate must be "none" or "tanh", not {approximate!r}')


def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x), also called swish (Ramachandran et al. 2017)."""
    require_floats("silu", x)
    return x * sigmoid(x)


def hardsigmoid(x: Tensor) -> Tensor:
    """relu6(x + 3) / 6 (Howard et al. 2019, section 5.2)."""
    require_floats("hardsigmoid", x)
    return relu6(x + 3) / 6


def hardswish(x: Tensor) -> Tensor:
    """x * relu6(x + 3) / 6 (Howard et al. 2019, section 5.2)."""
    require_floats("hardswish", x)
    return x * hardsigmoid(x)


def softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * x)) / beta (Dugas et al. 2001); x itself where beta * x is above the threshold."""
    require_floats("softplus", x)
    if not is_number(beta) or beta == 0:
        raise ShapeError(f"softplus: beta must be a number other than 0, not {beta!r}")
    scaled = x * beta
    return where(scaled > threshold, x, softplus_of(scaled) / beta)


def logsigmoid(x: Tensor) -> Tensor:
    """log(sigmoid(x)), without overflow."""
    require_floats("logsigmoid", x)
    return -softplus_of(-x)


def mish(x: Tensor) -> Tensor:
    """x * tanh(softplus(x)) (Misra 2020)."""
    require_floats("mish", x)
    return x * tanh(softplus_of(x))
