"""The output shape of element-wise operations."""

import numpy as np

from minialex.errors import ShapeError
from minialex.kernels.contract.shapes import Shape, shape_rule

BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum")
# Their results have the operands' dtype for integers, too.
OF_INTEGERS = ("add", "subtract", "multiply", "maximum", "minimum", "negative", "absolute", "power")
UNARY = (
    "negative",
    "exp",
    "expm1",
    "log",
    "log1p",
    "sqrt",
    "tanh",
    "sigmoid",
    "softplus",
    "erf",
    "absolute",
    "power",
    "clamp",
)
WITH_PARAMETERS = ("power", "clamp")


def broadcast_shape(operation: str, a: Shape, b: Shape) -> Shape:
    """The shape that two broadcast to; a `ShapeError` that names the operation if they do not."""
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        raise ShapeError(f"{operation}: shapes {a} and {b} do not broadcast") from None


def _binary_rule(operation: str):
    def rule(a: Shape, b: Shape) -> Shape:
        return broadcast_shape(operation, a, b)

    rule.__doc__ = f"{operation}: two shapes that broadcast give the broadcast shape."
    return rule


def _unary_rule(x: Shape, **_) -> Shape:
    """Any shape, unchanged."""
    return x


for _operation in BINARY:
    shape_rule(_operation)(_binary_rule(_operation))
for _operation in UNARY:
    shape_rule(_operation)(_unary_rule)
