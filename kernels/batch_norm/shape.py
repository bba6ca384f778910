"""The output shape of batch normalisation."""

from minialex.kernels.contract.shapes import Shape, require_axis, require_shape, shape_rule


@shape_rule("batch_norm")
def batch_norm_shape(
    x: Shape, weight: Shape | None = None, bias: Shape | None = None, *, axis: int = 1, **_
) -> Shape:
    """Any shape with the feature axis, unchanged; weight and bias hold one number per feature."""
    require_axis("batch_norm: axis", axis, x)
    for name, shape in (("weight", weight), ("bias", bias)):
        if shape is not None:
            require_shape(f"batch_norm: {name}", shape, (x[axis],), f"for axis {axis} of the input {x}")
    return x
