"""Activations: the functions of `minialex.functional`, element by element, and softmax.

``inplace=True`` is accepted, as PyTorch's habits have it, and without effect: the same values are computed,
and the input is left as it is.
"""

from __future__ import annotations

import math

import numpy as np

from minialex import functional as F
from minialex.checks import require_number
from minialex.errors import ShapeError
from minialex.nn import init
from minialex.nn.layer import InPlace, Layer, require_positive
from minialex.nn.module import Parameter
from minialex.tensor import Tensor


class ReLU(InPlace):
    """The rectified linear unit; see `minialex.functional.relu`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x)


class ReLU6(InPlace):
    """min(max(x, 0), 6); see `minialex.functional.relu6`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(x)


class Sigmoid(Layer):
    """1 / (1 + exp(-x)); see `minialex.functional.sigmoid`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.sigmoid(x)


class Tanh(Layer):
    """The hyperbolic tangent; see `minialex.functional.tanh`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.tanh(x)


class SiLU(InPlace):
    """x sigmoid(x), also called swish; see `minialex.functional.silu`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x)


class Hardswish(InPlace):
    """x hardsigmoid(x); see `minialex.functional.hardswish`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.hardswish(x)


class Hardsigmoid(InPlace):
    """min(max(x + 3, 0), 6) / 6; see `minialex.functional.hardsigmoid`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.hardsigmoid(x)


class Mish(InPlace):
    """x tanh(softplus(x)); see `minialex.functional.mish`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.mish(x)


class LogSigmoid(Layer):
    """log(sigmoid(x)); see `minialex.functional.logsigmoid`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.logsigmoid(x)


class LeakyReLU(InPlace):
    """x, times `negative_slope` where it is negative; see `minialex.functional.leaky_relu`."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        super().__init__(inplace)
        require_number("negative_slope", negative_slope, -math.inf, error=ShapeError)
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class ELU(InPlace):
    """x, or alpha (exp(x) - 1) where it is negative; see `minialex.functional.elu`."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__(inplace)
        require_number("alpha", alpha, -math.inf, error=ShapeError)
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class GELU(Layer):
    """x times the normal distribution up to x; see `minialex.functional.gelu`."""

    def __init__(self, approximate: str = "none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Softplus(Layer):
    """log(1 + exp(beta x)) / beta, and x from beta x = threshold on; see `minialex.functional.softplus`."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class PReLU(Layer):
    """x, times a trained slope where it is negative (He et al. 2015); see `minialex.functional.prelu`.

    Parameters
    ----------
    num_parameters : int
        One slope, or one a channel of (N, C, ...).
    init : float
        The first slope.
    device : str, optional
    dtype : float32 or float64, optional
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device=None, dtype=None):
        super().__init__()
        require_positive(num_parameters=num_parameters)
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(np.full(num_parameters, init, np.float32))
        self.to(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Set the slopes to their first value."""
        init.constant_(self.weight, self.init)

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class Softmax(Layer):
    """Softmax over one axis; see `minialex.functional.softmax`.

    Parameters
    ----------
    dim : int, optional
        The axis. None is PyTorch's old rule: 0 for inputs of 0, 1 or 3 axes, else 1.
    """

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, _axis(self.dim, x))

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Layer):
    """The logarithm of softmax; see `minialex.functional.log_softmax`.

    Parameters
    ----------
    dim : int, optional
        As of `Softmax`.
    """

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(x, _axis(self.dim, x))

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


def _axis(dim: int | None, x: Tensor) -> int:
    if dim is not None:
        return dim
    return 0 if x.ndim in (0, 1, 3) else 1
