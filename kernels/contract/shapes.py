"""The one function that computes output shapes.

The engine (on every device), the model summary and the documentation all ask `output_shape`. Each
operation's rule is in its own folder (``kernels/<operation>/shape.py``), and also checks that shapes
and parameters fit: a rule that returns has accepted the call.
"""

from __future__ import annotations

from collections.abc import Callable

from minialex.checks import in_words, is_int
from minialex.errors import ShapeError

Shape = tuple[int, ...]

_rules: dict[str, Callable[..., Shape]] = {}


def shape_rule(operation: str) -> Callable[[Callable], Callable]:
    """Register the decorated function as the shape rule of an operation."""

    def register(rule: Callable) -> Callable:
        _rules[operation] = rule
        return rule

    return register


def output_shape(operation: str, *shapes: Shape | None, **parameters) -> Shape:
    """The shape of an operation's result.

    Parameters
    ----------
    operation : str
        Such as ``"conv2d"``; see `operations_with_shapes`.
    *shapes : tuple of int
        The shapes of its array arguments, in the order of its signature; None for one left out.
    **parameters
        Its other arguments, as its function in `minialex.functional` takes them.

    Raises
    ------
    ShapeError
        If shapes and parameters do not fit together; the message gives all of them.

    Examples
    --------
    >>> output_shape("conv2d", (1, 3, 227, 227), (96, 3, 11, 11), stride=4)
    (1, 96, 55, 55)
    """
    if operation not in _rules:
        raise ShapeError(
            f"operation={operation!r} has no shape rule; there are: {', '.join(operations_with_shapes())}"
        )
    return _rules[operation](*(None if shape is None else tuple(shape) for shape in shapes), **parameters)


def operations_with_shapes() -> list[str]:
    """The operations that `output_shape` knows."""
    return sorted(_rules)


def require_rank(shape: Shape, rank: int, name: str, layout: str) -> None:
    """Raise `ShapeError` unless `shape` has `rank` axes."""
    if len(shape) != rank:
        raise ShapeError(f"{name} must have {rank} axes {layout}, not shape {shape}")


def require_shape(name: str, shape: Shape, expected: Shape, reason: str) -> None:
    """Raise `ShapeError` unless `shape` is the expected one; `reason` says why it is."""
    if shape != expected:
        raise ShapeError(f"{name} must have shape {expected} {reason}, not {shape}")


def require_axis(name: str, axis: int, shape: Shape) -> int:
    """The axis counted from 0, or `ShapeError` unless it is one of the shape's; -1 is the last."""
    if not is_int(axis, -len(shape), len(shape) - 1):
        raise ShapeError(f"{name} must be an axis of shape {shape}, not {in_words(axis)}")
    return int(axis) % len(shape)


def require_same_shape(operation: str, **shapes: Shape) -> Shape:
    """The one shape that the arrays have; `ShapeError` with all of them if they differ."""
    if len(set(shapes.values())) != 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ShapeError(f"{operation}: the arrays must have one shape, not {listed}")
    return next(iter(shapes.values()))
