"""The output shape of cross-entropy before it is reduced to a mean or a sum."""

from minialex.errors import ShapeError
from minialex.kernels.contract.fit import alike
from minialex.kernels.contract.shapes import Shape, require_rank, shape_rule


@shape_rule("cross_entropy")
def cross_entropy_shape(x: Shape, target: Shape) -> Shape:
    """Logits (N, C) against labels (N,) or a distribution (N, C) give (N,)."""
    require_rank(x, 2, "cross_entropy input", "(N, C)")
    if x[1] < 1:
        raise ShapeError(f"cross_entropy: input must have one class or more, not shape {x}")
    if target not in (x, x[:1]):
        raise ShapeError(
            f"cross_entropy: target must have shape {x[:1]} (labels) or {x} (a distribution) for the "
            f"input {x}, not {target}"
        )
    return x[:1]


alike("cross_entropy.forward", 0, 1)
alike("cross_entropy.backward", 1, 2)
