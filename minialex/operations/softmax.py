"""Softmax and its logarithm along an axis."""

from __future__ import annotations

from minialex.autograd import Operation
from minialex.kernels import output_shape
from minialex.kernels.softmax import BACKWARD, FORWARD, LOG_BACKWARD, LOG_FORWARD
from minialex.operations.axes import takes_dim
from minialex.operations.inputs import require_floats
from minialex.tensor import Tensor


class Softmax(Operation):
    saved_outputs = (0,)

    def __init__(self, axis: int):
        self.axis = axis

    def forward(self, x):
        return self.kernel(FORWARD, x, axis=self.axis)

    def backward(self, g):
        (y,) = self.saved
        return (SoftmaxBackward(self.axis)(g, y),)


class SoftmaxBackward(Operation):
    """z = y (g - sum(g y)), a symmetric map of g."""

    saved_inputs = (0, 1)

    def __init__(self, axis: int):
        self.axis = axis

    def forward(self, g, y):
        return self.kernel(BACKWARD, g, y, axis=self.axis)

    def backward(self, u):
        g, y = self.saved
        gg = SoftmaxBackward(self.axis)(u, y)
        inner = (g * y).sum(self.axis, keepdims=True)
        gy = u * (g - inner) - g * (u * y).sum(self.axis, keepdims=True)
        return gg, gy


class LogSoftmax(Operation):
    saved_outputs = (0,)

    def __init__(self, axis: int):
        self.axis = axis

    def forward(self, x):
        return self.kernel(LOG_FORWARD, x, axis=self.axis)

    def backward(self, g):
        (y,) = self.saved
        return (LogSoftmaxBackward(self.axis)(g, y),)


class LogSoftmaxBackward(Operation):
    """z = g - exp(y) sum(g)."""

    saved_inputs = (0, 1)

    def __init__(self, axis: int):
        self.axis = axis

    def forward(self, g, y):
        return self.kernel(LOG_BACKWARD, g, y, axis=self.axis)

    def backward(self, u):
        g, y = self.saved
        share = u * y.exp()
        gg = u - share.sum(self.axis, keepdims=True)
        gy = -share * g.sum(self.axis, keepdims=True)
        return gg, gy


@takes_dim
def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """exp(x) divided by its sum along an axis, for x of any shape."""
    require_floats("softmax", x)
    output_shape("softmax", x.shape, axis=axis)
    return Softmax(axis % x.ndim)(x)


@takes_dim
def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """The logarithm of softmax along an axis, without the loss of precision of log(softmax(x))."""
    require_floats("log_softmax", x)
    output_shape("log_softmax", x.shape, axis=axis)
    return LogSoftmax(axis % x.ndim)(x)
