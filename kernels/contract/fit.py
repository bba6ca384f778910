"""Whether arrays fit the call that a kernel is called with, for whoever calls one directly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minialex.checks import in_words
from minialex.errors import KernelError, ShapeError
from minialex.kernels.contract.call import class_of
from minialex.kernels.contract.shapes import Shape

_rules: dict[str, Callable[..., tuple[Shape, ...]]] = {}


def fitting(name: str) -> Callable[[Callable], Callable]:
    """Register the decorated function as what says which shapes the arrays of a direction must have.

    It takes the shapes of the arrays of ``<operation>.<direction>`` and returns those that they must have.
    """

    def register(rule: Callable) -> Callable:
        _rules[name] = rule
        return rule

    return register


def alike(name: str, *positions: int) -> None:
    """Declare that the arrays at these positions of ``<operation>.<direction>`` have one shape."""

    def rule(*shapes: Shape) -> tuple[Shape, ...]:
        first = shapes[positions[0]]
        return tuple(first if i in positions else shape for i, shape in enumerate(shapes))

    _rules[name] = rule


def require_fit(name: str, arrays: tuple, call: Any) -> None:
    """Refuse arrays of other shapes than a call's, and those that differ where they must be alike.

    The engine makes a call from the arrays themselves; whoever calls a kernel directly may mistake one, and
    compiled loops would read beyond an array.

    Raises
    ------
    KernelError
        If the call is not one of the operation.
    ShapeError
        If an array does not fit.
    """
    calls, direction = class_of(name), name.partition(".")[2]
    expected: dict[int, Shape | None] = {}
    if name in _rules:
        shapes = tuple(None if array is None else array.shape for array in arrays)
        expected = dict(enumerate(_rules[name](*shapes)))
    if calls is not None:
        if not isinstance(call, calls):
            raise KernelError(
                f"{name}: call must be a {calls.__name__}, not {in_words(call)}; or write the parameters"
            )
        expected = dict(enumerate(call.operand_shapes(direction, arrays)))
    for i, shape in expected.items():
        if i < len(arrays) and arrays[i] is not None and arrays[i].shape != shape:
            raise ShapeError(f"{name}: array {i} must have shape {shape}, not {arrays[i].shape}")
