"""The fully connected layer. It and its two gradients form a closed family."""

from __future__ import annotations

import math

from minialex.autograd import Operation
from minialex.kernels import output_shape
from minialex.kernels.linear import FORWARD, INPUT_GRAD, WEIGHT_GRAD
from minialex.operations.inputs import require_floats, weight_tensor
from minialex.operations.layout import reshape
from minialex.operations.reduction import sum
from minialex.tensor import Tensor, as_tensor


class Linear(Operation):
    saved_inputs = (0, 1)

    def forward(self, x, weight, bias):
        return self.kernel(FORWARD, x, weight, bias)

    def backward(self, g):
        x, weight = self.saved
        gx = LinearInputGrad()(g, weight) if self.needs(0) else None
        gw = LinearWeightGrad()(g, x) if self.needs(1) else None
        gb = sum(g, 0) if self.needs(2) else None
        return gx, gw, gb


class LinearInputGrad(Operation):
    saved_inputs = (0, 1)

    def forward(self, g, weight):
        return self.kernel(INPUT_GRAD, g, weight)

    def backward(self, u):
        g, weight = self.saved
        gg = Linear()(u, weight, None) if self.needs(0) else None
        gw = LinearWeightGrad()(g, u) if self.needs(1) else None
        return gg, gw


class LinearWeightGrad(Operation):
    saved_inputs = (0, 1)

    def forward(self, g, x):
        return self.kernel(WEIGHT_GRAD, g, x)

    def backward(self, u):
        g, x = self.saved
        gg = Linear()(x, u, None) if self.needs(0) else None
        gx = LinearInputGrad()(g, u) if self.needs(1) else None
        return gg, gx


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias.

    Parameters
    ----------
    x : Tensor (..., I)
    weight : Tensor (O, I)
    bias : Tensor (O,), optional

    Returns
    -------
    Tensor (..., O)

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    """
    require_floats("linear", x)
    weight = weight_tensor("linear", weight, x)
    bias = None if bias is None else as_tensor(bias, x)
    y_shape = output_shape("linear", x.shape, weight.shape, None if bias is None else bias.shape)
    # The kernels take rows (N, I).
    rows = x if x.ndim == 2 else reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))
    y = Linear()(rows, weight, bias)
    return y if x.ndim == 2 else reshape(y, y_shape)
