"""Functions without a gradient, such as comparisons: operations, so that a recorded run does them, too."""

from __future__ import annotations

from collections.abc import Callable

from minialex.autograd import Operation
from minialex.tensor import Tensor


class Constant(Operation):
    """What a function of arrays gives, of bools or integers: outside the graph."""

    def __init__(self, function: Callable):
        self.function = function

    def forward(self, *arrays):
        return self.function(*arrays)


def constant(function: Callable, *tensors: Tensor) -> Tensor:
    """A function of the arrays of tensors, whose result has no gradient."""
    return Constant(function)(*tensors)
