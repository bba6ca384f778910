"""The output shape of the fully connected layer."""

from minialex.errors import ShapeError
from minialex.kernels.contract.shapes import Shape, require_rank, require_shape, shape_rule


@shape_rule("linear")
def linear_shape(x: Shape, weight: Shape, bias: Shape | None = None) -> Shape:
    """(..., I) and (O, I) give (..., O)."""
    if not x:
        raise ShapeError(f"linear input must have axes (..., I), not shape {x}")
    require_rank(weight, 2, "linear weight", "(O, I)")
    if x[-1] != weight[1]:
        raise ShapeError(f"linear: input {x} has {x[-1]} features and weight {weight} takes {weight[1]}")
    if bias is not None:
        require_shape("linear: bias", bias, weight[:1], f"for weight {weight}")
    return *x[:-1], weight[0]
