"""What a module does with inputs of given shapes, found by running a copy of it on the device ``meta``.

Nothing is computed, and nothing of the module changes. Each module without modules of its own is a *layer*;
so is one that has them and also runs kernels or holds parameters itself. `trace` tells which layers ran, in
their order, with the shapes that they took and gave, and the kernels that they called.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from minialex.autograd import no_grad
from minialex.checks import in_words, is_int
from minialex.devices import META
from minialex.errors import ShapeError
from minialex.kernels.contract.results import calls_heard
from minialex.nn.module import Module, Parameter
from minialex.nn.parts import is_layer
from minialex.random import seeded
from minialex.stand_ins import stand_in
from minialex.tensor import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class KernelCall:
    """One call of a kernel: its name, the shapes of its arrays (None for one left out), its parameters."""

    name: str
    shapes: tuple[Any, ...]
    parameters: dict

    @classmethod
    def of(cls, name: str, arrays: tuple, parameters: dict) -> KernelCall:
        """The call with these arrays."""
        shapes = tuple(None if each is None else each.shape for each in arrays)
        return cls(name, shapes, parameters)

    @property
    def macs(self) -> int:
        """The multiply-accumulate operations of a matrix product or a convolution; 0 for all others."""
        operation = self.name.partition(".")[0]
        if operation == "conv2d":
            return self.parameters["call"].products
        if operation in ("matmul", "linear"):
            (rows, inner), other = self.shapes[0], self.shapes[1]
            # The weights (O, I) of a dense layer's forward have their rows where other products have columns.
            return rows * inner * other[0 if self.name == "linear.forward" else 1]
        return 0


@dataclass(frozen=True)
class TracedLayer:
    """One run of a layer.

    Attributes
    ----------
    name : str
        Dotted, as in `Module.named_modules`; "" for the traced module itself.
    module : Module
        Of the module that was given, not of its copy.
    inputs : tuple of tuple of int
        The shapes of its positional arguments that are tensors.
    outputs : tuple of tuple of int
        The shapes of the tensors that it returned.
    calls : tuple of KernelCall
        What it ran itself, without the modules below it.
    """

    name: str
    module: Module
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    calls: tuple[KernelCall, ...]

    @property
    def x(self) -> Shape:
        """The shape of the first input."""
        return self.inputs[0]

    @property
    def y(self) -> Shape:
        """The shape of the first output."""
        return self.outputs[0]

    @property
    def macs(self) -> int:
        """The multiply-accumulate operations of its products."""
        return sum(call.macs for call in self.calls)


@dataclass(frozen=True)
class Trace:
    """A run of a module: its layers in the order in which they began, and the shapes of its outputs."""

    layers: tuple[TracedLayer, ...]
    outputs: tuple[Shape, ...]


def trace(module: Module, *shapes: Sequence[int], dtype: Any = None, training: bool = False) -> Trace:
    """Run a copy of a module on inputs of these shapes, on the device ``meta``.

    Parameters
    ----------
    module : Module
    *shapes : tuple of int
        Of each input, such as (N, C, H, W).
    dtype : dtype, optional
        Of the inputs; that of the module's parameters if not given, float32 where it has none.
    training : bool
        Whether to run it as in training.

    Raises
    ------
    DeviceError
        If it asks for values, which stand-ins have not.
    ShapeError
        If a shape is none, or does not fit the module, whose message it then is.
    TypeError
        If `module` is not a Module.
    """
    _require_module("trace", module)
    twin = on_meta(module).train(training)
    originals = dict(module.named_modules())
    recorder = _Recorder(originals)
    for name, each in twin.named_modules():
        each.register_forward_pre_hook(functools.partial(recorder.before, name))
        each.register_forward_hook(functools.partial(recorder.after, name))
    inputs = inputs_on_meta("trace", module, shapes, dtype)
    with no_grad(), seeded(0), calls_heard(recorder.hear):
        result = twin(*inputs)
    layers = [run.layer() for run in recorder.runs if run.is_layer]
    return Trace(tuple(layers), shapes_in(result))


def _require_module(who: str, module: Any) -> None:
    if not isinstance(module, Module):
        raise TypeError(f"{who}: the network must be a Module, not {in_words(module)}")


def inputs_on_meta(
    who: str, module: Module, shapes: Sequence[Any], dtype: Any = None, requires_grad: bool = False
) -> list[Tensor]:
    """Inputs of these shapes without values, for a function of this name.

    Raises
    ------
    ShapeError
        If a shape is not a tuple of integers 0 or more.
    TypeError
        If `module` is not a Module.
    """
    _require_module(who, module)
    for shape in shapes:
        lengths = shape if isinstance(shape, tuple | list) else (None,)
        if not all(is_int(length, 0) for length in lengths):
            raise ShapeError(
                f"{who}: the shape of an input must be a tuple of integers 0 or more, such as "
                f"(1, 3, 224, 224), not {in_words(shape)}"
            )
    dtype = dtype or next((p.dtype for p in module.parameters() if p.dtype.kind == "f"), "float32")
    return [Tensor(stand_in(shape, dtype), requires_grad, META) for shape in shapes]


def on_meta(module: Module) -> Module:
    """A copy of a module on ``meta``, without its hooks; its parameters take no memory."""
    memo: dict[int, Any] = {}
    for each in module.modules():
        for kept in (*each._parameters.values(), *each._buffers.values()):
            if kept is not None:
                memo[id(kept)] = _on_meta(kept)
        if each._hooks is not None:
            memo[id(each._hooks)] = None
    return copy.deepcopy(module, memo)


def _on_meta(kept: Any) -> Any:
    values = stand_in(kept.shape, kept.dtype)
    if isinstance(kept, Parameter):
        return Parameter(values, kept.requires_grad, META)
    return Tensor(values, device=META) if isinstance(kept, Tensor) else values


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in what a module took or returned: a tensor, or tuples, lists and dicts of them."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors_in(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for each in value:
            yield from tensors_in(each)


def shapes_in(value: Any) -> tuple[Shape, ...]:
    """The shapes of the tensors in what a module took or returned."""
    return tuple(tensor.shape for tensor in tensors_in(value))


@dataclass
class _Run:
    name: str
    module: Module
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...] = ()
    calls: list[KernelCall] = field(default_factory=list)

    @property
    def is_layer(self) -> bool:
        """Whether it has no modules of its own, or does something besides running them."""
        own = any(each is not None for each in self.module._parameters.values())
        return is_layer(self.module) or own or any(call.macs for call in self.calls)

    def layer(self) -> TracedLayer:
        return TracedLayer(self.name, self.module, self.inputs, self.outputs, tuple(self.calls))


class _Recorder:
    """Follows a run through hooks: which module is at work, and what it calls."""

    def __init__(self, originals: dict[str, Module]):
        self.originals = originals
        self.runs: list[_Run] = []
        self._at_work: list[_Run] = []

    def before(self, name: str, module: Module, args: tuple) -> None:
        run = _Run(name, self.originals[name], shapes_in(args))
        self.runs.append(run)
        self._at_work.append(run)

    def after(self, name: str, module: Module, args: tuple, output: Any) -> None:
        self._at_work.pop().outputs = shapes_in(output)

    def hear(self, name: str, arrays: tuple, parameters: dict) -> None:
        if self._at_work:
            self._at_work[-1].calls.append(KernelCall.of(name, arrays, parameters))
