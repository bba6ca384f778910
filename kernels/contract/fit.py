"""Whether arrays fit the call that a kernel is called with, for whoever calls one directly."""

from __future__ import annotations

from typing import Any

from minialex.checks import in_words
from minialex.errors import KernelError, ShapeError
from minialex.kernels.contract.call import class_of

_alike: dict[str, tuple[int, ...]] = {}


def alike(name: str, *positions: int) -> None:
    """Declare that the arrays at these positions of ``<operation>.<direction>`` have one shape."""
    _alike[name] = positions


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
    places = [i for i in _alike.get(name, ()) if i < len(arrays)]
    expected = dict.fromkeys(places, arrays[places[0]].shape) if places else {}
    if calls is not None:
        if not isinstance(call, calls):
            raise KernelError(
                f"{name}: call must be a {calls.__name__}, not {in_words(call)}; or write the parameters"
            )
        expected = dict(enumerate(call.operand_shapes(direction, arrays)))
    for i, shape in expected.items():
        if i < len(arrays) and arrays[i] is not None and arrays[i].shape != shape:
            raise ShapeError(f"{name}: array {i} must have shape {shape}, not {arrays[i].shape}")
