"""What NumPy's functions do with a tensor.

    np.asarray(t)                  the values, as t.numpy() returns them
    array + t, np.add(array, t)    the operation of that name: a tensor, with its place in the graph
    np.isnan(t), np.argmax(t)      NumPy's result for the values
    np.sin(t), np.mean(t)          the same, unless it would leave the graph unseen: a result of floats, which
                                   has a derivative, of a tensor that requires a gradient, is refused

The last three go through NumPy's protocols ``__array_ufunc__`` (NEP 13) and ``__array_function__``
(NEP 18).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minialex import autograd, operations
from minialex.devices import is_array
from minialex.tensor import Tensor, functions

_OF_THE_ENGINE = (
    "absolute", "add", "bitwise_and", "bitwise_or", "bitwise_xor", "divide", "equal", "exp", "greater",
    "greater_equal", "invert", "less", "less_equal", "log", "matmul", "maximum", "minimum", "multiply",
    "negative", "not_equal", "power", "sqrt", "subtract", "tanh",
)  # fmt: skip
# Their results depend only on shape and dtype.
_CONSTANTS = (np.empty_like, np.full_like, np.ones_like, np.zeros_like)


def call_ufunc(ufunc: np.ufunc, method: str, inputs: tuple, options: dict):
    """``ufunc(*inputs, **options)`` for a call, otherwise its method (``reduce``, ``outer``, ...)."""
    if method == "__call__" and not options and ufunc.__name__ in _OF_THE_ENGINE:
        return getattr(operations, ufunc.__name__)(*inputs)
    return call_with_values(getattr(ufunc, method), inputs, options, name=ufunc.__name__)


def call_with_values(function: Callable, arguments: tuple, options: dict, *, name: str | None = None):
    """Call a function with the values of the tensors among its arguments.

    Raises
    ------
    TypeError
        If a tensor requires a gradient and the result has a derivative, or if a tensor is to be written.
    """
    name = name or function.__name__
    tensors: list[Tensor] = []
    out = options.get("out")
    if any(isinstance(each, Tensor) for each in (out if isinstance(out, tuple) else (out,))):
        raise TypeError(f"np.{name}: out must be an array, not a Tensor; tensors are not written in place")

    def values(item) -> Any:
        if isinstance(item, Tensor):
            tensors.append(item)
            # Read-only: np.copyto and its like would silently change what the graph has saved.
            array = item.numpy().view()
            array.flags.writeable = False
            return array
        if type(item) in (list, tuple):
            return type(item)(map(values, item))
        if type(item) is dict:
            return {key: values(each) for key, each in item.items()}
        return item

    arguments, options = values(arguments), values(options)
    in_graph = autograd.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    refusal = TypeError(
        f"np.{name} knows nothing of gradients, and one of its tensors requires one: use the tensor's own "
        "operations, or pass .detach()"
    )
    if in_graph and out is not None:
        raise refusal
    try:
        result = function(*arguments, **options)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise TypeError(
            f"np.{name} writes to one of its arguments; tensors are not written in place: pass t.numpy(), "
            "and add 1 to t.version"
        ) from error
    if in_graph and function not in _CONSTANTS and _has_derivative(result):
        raise refusal
    return result


def _has_derivative(result) -> bool:
    if isinstance(result, list | tuple):
        return any(map(_has_derivative, result))
    if is_array(result) or isinstance(result, np.generic):
        return result.dtype.kind in "fc"
    return isinstance(result, float | complex)


functions.call_ufunc, functions.call_with_values = call_ufunc, call_with_values
