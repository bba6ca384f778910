"""Looking at the gradients of a backward pass, and changing them, under the names of ``torch.Tensor``."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from weakref import ref

from minialex.errors import GraphError
from minialex.tensor import Tensor, functions


class Hook:
    """A function that was registered, to be removed again: PyTorch's handle."""

    _numbers = count()

    def __init__(self, hooks: dict, function: Callable):
        self._hooks, self._number = hooks, next(Hook._numbers)
        hooks[self._number] = function

    def remove(self) -> None:
        """Call the function no more."""
        self._hooks.pop(self._number, None)

    def __enter__(self) -> Hook:
        return self

    def __exit__(self, *_) -> None:
        self.remove()


def register_hook(x: Tensor, function: Callable) -> Hook:
    """Call a function with the gradient of x in each backward pass, before anyone else gets it.

    Parameters
    ----------
    x : Tensor
        A leaf or a result, that requires a gradient.
    function : callable
        Takes the gradient, a tensor; returns another one in its place, or None.

    Returns
    -------
    Hook
        With a method `remove`; also a context manager.

    Raises
    ------
    GraphError
        If x requires no gradient.
    """
    if not x.requires_grad:
        raise GraphError("register_hook: the tensor must require a gradient; this one has none")
    if x.creator is None:
        return Hook(x.hooks, function)
    if x.creator.hooks is None:
        x.creator.hooks = {}
    return Hook(x.creator.hooks.setdefault(x.index, {}), function)


def retain_grad(x: Tensor) -> None:
    """Let a result keep its gradient in ``grad``, too, as leaves do."""
    if x.creator is None:
        return
    kept = ref(x)

    def keep(gradient: Tensor) -> None:
        result = kept()
        if result is not None:
            result.grad = gradient if result.grad is None else result.grad + gradient

    register_hook(x, keep)


functions.register_hook, functions.retain_grad = register_hook, retain_grad
