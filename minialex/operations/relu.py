"""The rectified linear unit."""

from __future__ import annotations

from typing import Any

from minialex.autograd import Operation, is_followed
from minialex.kernels.relu import BACKWARD, FORWARD, MASK
from minialex.operations.inputs import require_floats
from minialex.tensor import Tensor


class ReLU(Operation):
    """Keeps the mask of its result, where a gradient may be asked for (`followed`), and not the result."""

    mask: Any = None

    def __init__(self, followed: bool):
        self.followed = followed

    def forward(self, x):
        y = self.kernel(FORWARD, x)
        if self.followed:
            self.mask = self.kernel(MASK, y)
        return y

    def branch(self, inputs, results):
        return results[0] > 0

    def backward(self, g):
        return (ReLUBackward(self.mask)(g),)

    def release(self):
        super().release()
        self.mask = None


class ReLUBackward(Operation):
    """g where the bit of the mask is 1, else 0: linear in g."""

    def __init__(self, mask):
        self.mask = mask

    def forward(self, g):
        return self.kernel(BACKWARD, g, self.mask)

    def backward(self, u):
        return (ReLUBackward(self.mask)(u),)


def relu(x: Tensor) -> Tensor:
    """max(x, 0); its gradient at 0 is 0."""
    require_floats("relu", x)
    return ReLU(is_followed(x))(x)
