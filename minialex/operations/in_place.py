"""Changes in place, for what is outside of the graph: buffers, parameters under `no_grad`, prepared arrays.

Inside of the graph a tensor is what an operation made of others; changed, it would be that no longer.
Whatever a backward pass has kept is noticed by the tensor's version.
"""

from __future__ import annotations

import numpy as np

from minialex.autograd import is_grad_enabled
from minialex.devices import is_array, is_read_only, to_device_array
from minialex.errors import GraphError
from minialex.reading import require_readable
from minialex.tensor import Tensor, as_tensor, require_tensor


def _writable(name: str, x: Tensor) -> None:
    require_tensor(name, x)
    require_readable()
    if x.creator is not None:
        raise GraphError(
            f"{name} would change a result inside of the graph, whose gradient would then be wrong: write "
            "y = x + ..., or detach() it first"
        )
    if x.requires_grad and is_grad_enabled():
        raise GraphError(
            f"{name} would change a leaf that requires a gradient, unseen by the graph: do it under "
            "minialex.no_grad(), as optimisers do"
        )
    if is_read_only(x.data):
        raise ValueError(
            f"{name}: the tensor's array is read-only; call unfreeze() on its network, or clone() it"
        )


def _values(name: str, x: Tensor, other):
    """The other operand as an array that broadcasts to x."""
    if isinstance(other, Tensor) and other.requires_grad and is_grad_enabled():
        raise GraphError(f"{name}: the gradient of the other tensor would be lost; pass .detach()")
    values = as_tensor(other, x).data
    try:
        fits = np.broadcast_shapes(values.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name}: shape {values.shape} must be one that broadcasts to {x.shape}")
    return values


def _changed(x: Tensor) -> Tensor:
    x.version += 1
    return x


def fill_(x: Tensor, value) -> Tensor:
    """Set every element to a number."""
    _writable("fill_", x)
    x.data[...] = _values("fill_", x, value)
    return _changed(x)


def copy_(x: Tensor, source) -> Tensor:
    """Set the values to those of another tensor or array, in the dtype of x."""
    _writable("copy_", x)
    values = source.data if isinstance(source, Tensor) else source
    if is_array(values) and values.dtype != x.dtype:
        values = values.astype(x.dtype)
    x.data[...] = _values("copy_", x, to_device_array(values, x.device))
    return _changed(x)


def add_(x: Tensor, other, *, alpha=1) -> Tensor:
    """x += alpha * other."""
    _writable("add_", x)
    values = _values("add_", x, other)
    x.data[...] += values if alpha == 1 else values * x.dtype.type(alpha)
    return _changed(x)


def mul_(x: Tensor, other) -> Tensor:
    """x *= other."""
    _writable("mul_", x)
    x.data[...] *= _values("mul_", x, other)
    return _changed(x)


def div_(x: Tensor, other) -> Tensor:
    """x /= other, of floats."""
    _writable("div_", x)
    x.data[...] /= _values("div_", x, other)
    return _changed(x)


def setitem_(x: Tensor, index, value) -> Tensor:
    """x[index] = value."""
    _writable("x[...] =", x)
    index = tuple(
        item.data if isinstance(item, Tensor) else item
        for item in (index if isinstance(index, tuple) else (index,))
    )
    part = x.data[index]
    x.data[index] = _values("x[...] =", Tensor(part, device=x.device), value)
    return _changed(x)
