"""The output shape of joining axes into one."""

import math

from minialex.checks import is_int
from minialex.errors import ShapeError
from minialex.kernels.contract.shapes import Shape, shape_rule


@shape_rule("flatten")
def flatten_shape(x: Shape, *, start_dim: int = 1, end_dim: int = -1) -> Shape:
    """The axes from start_dim to end_dim become one; by default all but the first."""
    fits = all(is_int(d, -len(x), len(x) - 1) for d in (start_dim, end_dim))
    start, end = (int(d) % len(x) for d in (start_dim, end_dim)) if fits else (0, -1)
    if start > end:
        raise ShapeError(f"flatten: axes {start_dim} to {end_dim} are no range of shape {x}")
    return (*x[:start], math.prod(x[start : end + 1]), *x[end + 1 :])
