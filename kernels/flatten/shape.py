"""The output shape of joining axes into one."""

import math

from minialex.errors import ShapeError
from minialex.kernels.contract.shapes import Shape, require_axis, shape_rule


@shape_rule("flatten")
def flatten_shape(x: Shape, *, start_dim: int = 1, end_dim: int = -1) -> Shape:
    """The axes from start_dim to end_dim become one; by default all but the first."""
    require_axis("flatten: start_dim", start_dim, x)
    require_axis("flatten: end_dim", end_dim, x)
    start, end = int(start_dim) % len(x), int(end_dim) % len(x)
    if start > end:
        raise ShapeError(
            f"flatten: end_dim must be an axis of shape {x} from start_dim={start_dim} on, not {end_dim}"
        )
    return (*x[:start], math.prod(x[start : end + 1]), *x[end + 1 :])
