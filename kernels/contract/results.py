"""What the results of a kernel look like: shapes and dtypes, stated once for all algorithms of an operation.

The device ``meta`` runs no kernel. It answers each call with stand-ins of its results (`minialex.stand_ins`),
and tells whoever listens which calls there were: so summaries, predictions of memory and exporters see what
a network runs.

By default the result of ``<operation>.forward`` has the shape that the operation's shape rule gives
(`minialex.kernels.contract.shapes`), or `y_shape` of its call; that of ``.input_grad`` is the call's
`x_shape`, of ``.weight_grad`` its `weight_shape`, and that of ``.backward`` is the shape of the second array.
An operation with other results says so in its folder:

    @results("max_pool2d.forward")
    def winners(x, *, call):
        return (call.y_shape, x.dtype), (call.y_shape, np.int32)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from minialex.errors import DeviceError, ShapeError
from minialex.kernels.contract.call import class_of
from minialex.kernels.contract.shapes import output_shape
from minialex.stand_ins import stand_in

_rules: dict[str, Callable] = {}
_listener: ContextVar[Callable | None] = ContextVar("listener", default=None)


def results(*names: str) -> Callable[[Callable], Callable]:
    """Register the decorated function as what describes the results of ``<operation>.<direction>``.

    It takes what a kernel takes, and returns a pair (shape, dtype), a tuple of pairs, or None for a kernel
    that only changes its arrays.
    """

    def register(rule: Callable) -> Callable:
        _rules.update(dict.fromkeys(names, rule))
        return rule

    return register


def stand_ins_of(name: str, arrays: tuple, parameters: dict) -> Any:
    """Stand-ins of the results of a call: one, a tuple of them, or None.

    Raises
    ------
    ShapeError
        If shapes do not fit together.
    DeviceError
        If the operation says nothing about its results.
    """
    described = _rules[name](*arrays, **parameters) if name in _rules else _usual(name, arrays, parameters)
    made = None if described is None else _made(described)
    listen = _listener.get()
    if listen is not None:
        listen(name, arrays, parameters)
    return made


def _made(described: tuple) -> Any:
    several = isinstance(described[1], tuple)
    return tuple(stand_in(*each) for each in described) if several else stand_in(*described)


@contextmanager
def calls_heard(listen: Callable[[str, tuple, dict], None]) -> Iterator[None]:
    """Call `listen` with the name, arrays and parameters of each kernel called on ``meta`` in the block."""
    token = _listener.set(listen)
    try:
        yield
    finally:
        _listener.reset(token)


# The attribute of a call that is the shape of a direction's result.
_OF_CALL = {
    "forward": "y_shape",
    "evaluate": "y_shape",
    "forward_relu": "y_shape",
    "input_grad": "x_shape",
    "weight_grad": "weight_shape",
}


def _usual(name: str, arrays: tuple, parameters: dict) -> tuple:
    operation, _, direction = name.partition(".")
    dtype = next(each.dtype for each in arrays if each is not None)
    call = parameters.get("call")
    of_call = _OF_CALL.get(direction)
    if class_of(name) is not None and of_call is not None and hasattr(call, of_call):
        return getattr(call, of_call), dtype
    if direction == "backward":
        return arrays[1].shape, dtype
    try:
        shapes = (None if each is None else each.shape for each in arrays)
        options = {} if call is not None else parameters
        return output_shape(operation, *shapes, **options), dtype
    except (ShapeError, TypeError) as error:
        if direction == "forward" and "no shape rule" not in str(error):
            raise
        raise DeviceError(
            f"{name} does not say what its results look like, so it cannot run on 'meta'; "
            "register that with @results of minialex.kernels.contract.results"
        ) from None
