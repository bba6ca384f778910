"""The output shape of batch normalisation."""

from minialex.checks import is_int
from minialex.errors import ShapeError
from minialex.kernels.contract.shapes import Shape, shape_rule


@shape_rule("batch_norm")
def batch_norm_shape(
    x: Shape, weight: Shape | None = None, bias: Shape | None = None, *, axis: int = 1, **_
) -> Shape:
    """Any shape with the feature axis, unchanged; weight and bias hold one number per feature."""
    if not is_int(axis, -len(x), len(x) - 1):
        raise ShapeError(f"batch_norm: axis={axis!r} is not an axis of the input {x}")
    for name, shape in (("weight", weight), ("bias", bias)):
        if shape is not None and shape != (x[axis],):
            raise ShapeError(
                f"batch_norm: {name} {shape} should have shape ({x[axis]},), "
                f"the length of axis {axis} of the input {x}"
            )
    return x
