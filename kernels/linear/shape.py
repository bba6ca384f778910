"""The output shape of the fully connected layer."""

from minialex.errors import ShapeError
from minialex.kernels.contract.shapes import Shape, require_rank, require_shape, shape_rule


@shape_rule("linear")
def linear_shape(x: Shape, weight: Shape, bias: Shape | None = None) -> Shape:
    """(N, I) and (O, I) give (N, O)."""
    require_rank(x, 2, "linear input", "(N, I)")
    require_rank(weight, 2, "linear weight", "(O, I)")
    if x[1] != weight[1]:
        raise ShapeError(f"linear: input {x} has {x[1]} features and weight {weight} takes {weight[1]}")
    if bias is not None:
        require_shape("linear: bias", bias, weight[:1], f"for weight {weight}")
    return x[0], weight[0]
