"""The rectified linear unit."""

from __future__ import annotations

from minialex.autograd import Operation
from minialex.kernels.relu import BACKWARD, FORWARD
from minialex.operations.inputs import require_floats
from minialex.tensor import Tensor


class ReLU(Operation):
    saved_outputs = (0,)

    def forward(self, x):
        return self.kernel(FORWARD, x)

    def branch(self, inputs, results):
        return results[0] > 0

    def backward(self, g):
        (y,) = self.saved
        return (ReLUBackward(y.data)(g),)


class ReLUBackward(Operation):
    """g where y > 0, else 0: linear in g, and constant in y except at the kink."""

    def __init__(self, y):
        self.y = y

    def forward(self, g):
        return self.kernel(BACKWARD, g, self.y)

    def backward(self, u):
        return (ReLUBackward(self.y)(u),)


def relu(x: Tensor) -> Tensor:
    """max(x, 0); its gradient at 0 is 0."""
    require_floats("relu", x)
    return ReLU()(x)
