"""A call as one object: what is asked of an operation, and all that follows from it.

An operation with parameters has a call class. Its kernels take the arrays and, as ``call``, an instance of
it: shapes and parameters, checked and resolved, with the shape of the result. It is made once, by the
public function (`minialex.operations`), and read by everyone else: the kernels, what they say about
themselves (``supports``, ``workspace``, ``cost``), the backward pass, summaries and benchmarks.

    @kernel("conv2d.forward", algo="im2col", workspace=lambda *arrays, call: ...)
    def conv2d_forward(x, weight, bias, *, call): ...

To call a kernel directly, one may pass the parameters instead; the call is made from them:

    find_kernel("conv2d.forward", algo="im2col")(x, weight, bias, stride=1, padding=2, dilation=1, groups=1)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np

from minialex.errors import KernelError
from minialex.kernels.contract.shapes import Shape


class Call(Protocol):
    """What a call class provides."""

    @classmethod
    def of_arrays(cls, direction: str, arrays: tuple, **parameters) -> Call:
        """The call of one direction, such as ``"input_grad"``, on these arrays."""
        ...

    def operand_shapes(self, direction: str, arrays: tuple) -> tuple[Shape, ...]:
        """The shapes that the first arrays of a direction must have."""
        ...


class Parameters:
    """A base for calls that depend on no shape: the operation's parameters, as plain numbers."""

    DIRECTIONS: tuple[str, ...]
    ALIKE = False  # whether all arrays of a direction have one shape

    def operand_shapes(self, direction: str, arrays: tuple) -> tuple[Shape, ...]:
        """The shapes that the first arrays of a direction must have."""
        return tuple(arrays[0].shape for _ in arrays) if self.ALIKE else ()

    @classmethod
    def of(cls, **parameters):
        """The call; NumPy scalars become Python numbers, which do not promote float32 arrays."""
        return cls(**{name: plain_number(value) for name, value in parameters.items()})

    @classmethod
    def of_arrays(cls, direction: str, arrays: tuple, **parameters):
        """The call; it does not depend on the arrays."""
        return cls.of(**parameters)


def plain_number(value):
    """A parameter as a Python number if it is a NumPy scalar."""
    return value.item() if isinstance(value, np.generic) else value


C = TypeVar("C", bound=type[Call])
_classes: dict[str, Any] = {}


def calls_of(operation: str) -> Callable[[C], C]:
    """Register the decorated class as the call class of an operation."""

    def register(calls: C) -> C:
        _classes[operation] = calls
        return calls

    return register


def class_of(name: str) -> Any | None:
    """The call class of ``<operation>.<direction>``; None if its kernels take no call."""
    operation, _, direction = name.partition(".")
    calls = _classes.get(operation)
    return calls if calls is not None and direction in calls.DIRECTIONS else None


def takes_call(name: str) -> bool:
    """Whether kernels of ``<operation>.<direction>`` take a call."""
    return class_of(name) is not None


def as_taken(name: str, arrays: tuple, parameters: dict) -> dict:
    """The parameters as kernels of ``<operation>.<direction>`` take them: as one call, where it has calls.

    Raises
    ------
    ShapeError
        If shapes and parameters do not fit together.
    TypeError
        If a parameter is missing or unknown.
    """
    calls = None if "call" in parameters else class_of(name)
    if calls is None:
        return parameters
    return {"call": calls.of_arrays(name.partition(".")[2], arrays, **parameters)}


def require_call(name: str, function: Callable, what: str = "a kernel") -> None:
    """Refuse a function of ``<operation>.<direction>`` that does not take the call it will be passed.

    Parameters
    ----------
    name : str
    function : callable
        A kernel, or what it says about itself.
    what : str, optional
        What a message calls it.

    Raises
    ------
    KernelError
        If its signature lacks ``call``, where the operation has a call class.
    """
    calls = class_of(name)
    if calls is None:
        return
    signature = inspect.signature(function)
    takes = signature.parameters.values()
    if not any(each.name == "call" or each.kind is each.VAR_KEYWORD for each in takes):
        raise KernelError(
            f"{what} of {name} must take its arrays and `call`, an object with all parameters "
            f"({calls.__name__} in minialex.kernels.{name.partition('.')[0]}); "
            f"{getattr(function, '__name__', 'it')} takes {signature}"
        )
