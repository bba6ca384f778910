"""The output shape of reductions."""

from minialex.errors import ShapeError
from minialex.kernels.contract.shapes import Shape, require_axis, shape_rule


def reduced_axes(x: Shape, axis) -> tuple[int, ...]:
    """Convert None (all axes), an int or a tuple to a sorted tuple of distinct axes >= 0."""
    if axis is None:
        return tuple(range(len(x)))
    axes = tuple(axis) if isinstance(axis, tuple | list) else (axis,)
    for each in axes:
        require_axis("axis", each, x)
    positive = tuple(sorted(int(i) % len(x) for i in axes))
    if len(set(positive)) != len(positive):
        raise ShapeError(f"axis must name different axes of shape {x}, not {axis!r}")
    return positive


@shape_rule("sum")
def sum_shape(x: Shape, *, axis=None, keepdims: bool = False) -> Shape:
    """The given axes are dropped, or kept with length 1."""
    axes = reduced_axes(x, axis)
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(x))
    return tuple(n for i, n in enumerate(x) if i not in axes)


@shape_rule("amax")
def amax_shape(x: Shape, *, axis=None, keepdims: bool = False) -> Shape:
    """The given axes, none of them empty, are dropped, or kept with length 1."""
    if any(x[i] == 0 for i in reduced_axes(x, axis)):
        raise ShapeError(f"amax: shape {x} has no elements along axis={axis!r}")
    return sum_shape(x, axis=axis, keepdims=keepdims)
