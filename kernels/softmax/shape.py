"""The output shape of softmax and log_softmax."""

from minialex.errors import ShapeError
from minialex.kernels.contract.fit import alike
from minialex.kernels.contract.shapes import Shape, require_axis, shape_rule


@shape_rule("softmax")
def softmax_shape(x: Shape, *, axis: int = -1) -> Shape:
    """Any shape with that axis, unchanged."""
    return _with_axis("softmax", x, axis)


@shape_rule("log_softmax")
def log_softmax_shape(x: Shape, *, axis: int = -1) -> Shape:
    """Any shape with that axis, unchanged."""
    return _with_axis("log_softmax", x, axis)


def _with_axis(name: str, x: Shape, axis: int) -> Shape:
    require_axis(f"{name}: axis", axis, x)
    if x[axis] == 0:
        raise ShapeError(f"{name}: axis {axis} of the input {x} is empty")
    return x


alike("softmax.backward", 0, 1)
alike("log_softmax.backward", 0, 1)
