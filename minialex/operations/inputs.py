"""The first arguments of functions: what they must be, said by the function's name."""

from __future__ import annotations

from minialex.tensor import Tensor, as_tensor, require_tensor


def require_floats(name: str, x) -> None:
    """Raise `TypeError` unless x, the first argument of the named function, is a tensor of floats."""
    require_tensor(name, x)
    if x.data.dtype.kind != "f":
        raise TypeError(f"{name}: x must be of float32 or float64, not {x.dtype}; convert it with x.float()")


def weight_tensor(name: str, weight, like: Tensor) -> Tensor:
    """The weight of the named function, as `as_tensor` gives it; None has a message of its own."""
    if weight is None:
        raise TypeError(f"{name}: weight must be a tensor, not None")
    return as_tensor(weight, like)
