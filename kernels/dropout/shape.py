"""The output shape of dropout."""

from minialex.kernels.contract.shapes import Shape, shape_rule


@shape_rule("dropout")
def dropout_shape(x: Shape, **_) -> Shape:
    """Any shape, unchanged."""
    return x
