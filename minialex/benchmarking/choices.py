"""Which kernel the engine runs for each layer of a model, and what it takes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from minialex import functional as F
from minialex import nn
from minialex.autograd import Operation
from minialex.benchmarking.profiling import operations_between
from minialex.benchmarking.tasks import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY
from minialex.checks import require_int
from minialex.devices import META
from minialex.errors import KernelError
from minialex.kernels import list_kernels, select
from minialex.kernels.contract.examples import Example, Filling, Operand
from minialex.kernels.contract.results import calls_heard
from minialex.kernels.contract.shapes import Shape
from minialex.kernels.sgd.examples import update as sgd
from minialex.models import load_model
from minialex.models.auxiliary import objective
from minialex.models.summary import input_shape_of
from minialex.nn.trace import KernelCall, on_meta
from minialex.random import seeded
from minialex.stand_ins import stand_in
from minialex.tensor import Tensor


@dataclass(frozen=True)
class Choice:
    """A kernel of a training step.

    `workspace` is the bytes that it allocates beyond its results, and `predicted_ms` its time by
    `minialex.kernels.contract.cost`: None where the kernel does not state them.
    """

    layer: str
    operation: str
    algorithm: str
    workspace: int | None
    predicted_ms: float | None


def choices(model: str, batch: int, operation: str | None = None) -> list[Choice]:
    """The kernels of a training step of a model on the cpu, in float32, layer by layer: all of them, or those
    of one operation, such as ``"conv2d"``, or of one direction of it.

    Raises
    ------
    ModelError
        If there is no such model.
    KernelError
        If the batch is below 1, or the model does not run the operation.
    """
    found = [
        _choice(workload, layer)
        for layer, workload in calls_of_step(model, batch)
        if operation in (None, workload.operation, workload.operation.split(".")[0])
    ]
    if not found:
        known = sorted({entry.operation.split(".")[0] for entry in list_kernels()})
        raise KernelError(f"{model} does not run operation {operation!r}; operations: {', '.join(known)}")
    return found


def calls_of_step(model: str, batch: int) -> list[tuple[str, Example]]:
    """The calls of a training step of a model with momentum SGD, each with its layer's name.

    They are heard in a step on the device ``meta``: forward and backward of each layer, in the order in which
    the layers run, then the update of its weights. What belongs to no layer, such as the loss, is left out.

    Raises
    ------
    ModelError
        If there is no such model.
    KernelError
        If the batch is below 1.
    """
    require_int("batch", batch, 1, error=KernelError)
    network = load_model(model).build()
    twin = on_meta(network).train()
    heard = _CallsByLayer(twin)
    images = Tensor(stand_in((batch, *input_shape_of(network))), device=META)
    with calls_heard(heard.hear), seeded(0):
        objective(twin(images), np.zeros(batch, np.int64), F.cross_entropy).backward()
    for name, parameter in twin.named_parameters():
        # Those of one axis together take less time than one large one.
        if parameter.grad is not None and parameter.ndim > 1:
            options = {"lr": LEARNING_RATE, "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY}
            heard.add(name.rpartition(".")[0], sgd(parameter.shape, **options))
    return [(layer, example) for layer, examples in heard.layers.items() for example in examples]


class _CallsByLayer:
    """The kernels that a network calls on ``meta``, by the innermost module that is at work, or was when it
    recorded the operation whose gradient is computed.

    Attributes
    ----------
    layers : dict
        Lists of `Example` by the names of modules, in the order in which they ran first.
    """

    def __init__(self, network: nn.Module):
        self.layers: dict[str, list[Example]] = {}
        self._at_work: list[str] = []
        self._claimed: set[Operation] = set()
        for name, module in network.named_modules():
            object.__setattr__(module, "forward", functools.partial(self._forward, name, module.forward))

    def hear(self, name: str, arrays: tuple, parameters: dict) -> None:
        """Listen to a call (`minialex.kernels.contract.results.calls_heard`)."""
        if self._at_work:
            call = KernelCall.of(name, arrays, parameters)
            operands = tuple(a if a is None else Operand(a.shape, _no_values, a.dtype) for a in arrays)
            self.add(self._at_work[-1], [Example(name, operands, parameters, call.macs)])

    def add(self, layer: str, examples: Iterable[Example]) -> None:
        """Add calls of a layer."""
        self.layers.setdefault(layer, []).extend(examples)

    def _forward(self, name: str, forward: Callable, *inputs: Any, **options: Any) -> Any:
        self.layers.setdefault(name, [])
        self._at_work.append(name)
        try:
            output = forward(*inputs, **options)
        finally:
            self._at_work.pop()
        # Modules inside of this one have claimed theirs.
        for operation in operations_between(inputs, output):
            if operation not in self._claimed:
                self._claimed.add(operation)
                operation.backward = self._during(name, operation.backward)
        return output

    def _during(self, name: str, backward: Callable) -> Callable:
        def run(*gradients: Any) -> Any:
            self._at_work.append(name)
            try:
                return backward(*gradients)
            finally:
                self._at_work.pop()

        return run


def _no_values(filling: Filling, shape: Shape) -> NoReturn:
    raise TypeError("the arrays of a call that was heard on meta have no values")


def _choice(workload: Example, layer: str) -> Choice:
    arrays = workload.undefined()
    entry = select(workload.operation, "cpu", *arrays, **workload.parameters)
    seconds = entry.predicted_seconds(*arrays, **workload.parameters) if entry.cost else None
    return Choice(
        layer,
        workload.operation,
        entry.algorithm,
        entry.workspace_bytes(*arrays, **workload.parameters) if entry.workspace else None,
        None if seconds is None else 1e3 * seconds,
    )
