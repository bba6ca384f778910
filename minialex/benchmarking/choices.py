"""Which kernel the engine runs for each layer of a model, and what it takes."""

from __future__ import annotations

from dataclasses import dataclass

from minialex.benchmarking.layers import placed_layers
from minialex.benchmarking.workloads import model_workloads
from minialex.checks import require_int
from minialex.errors import KernelError
from minialex.kernels import list_kernels, select
from minialex.kernels.contract.examples import Example
from minialex.models import load_model

# They run for second derivatives, or with another optimiser.
_OF_OTHER_STEPS = {"channel_window_sum.forward", "max_pool2d.gather", "adam.update", "conv2d.forward_relu"}


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
    """The calls of a training step of a model with momentum SGD, in order, each with its layer's name.

    Raises
    ------
    ModelError
        If there is no such model.
    KernelError
        If the batch is below 1.
    """
    require_int("batch", batch, 1, error=KernelError)
    order = [layer.name for layer in placed_layers(load_model(model).build())]
    found = [
        (layer, workload)
        for workload in model_workloads(model, batch)
        if workload.operation not in _OF_OTHER_STEPS
        for layer in workload.name.removeprefix(f"{model} ").split(", ")
        if layer in order
    ]
    # Layers that share a call have it where the first of them does: the sum of a bias comes last in each.
    return sorted(found, key=lambda call: (order.index(call[0]), call[1].operation == "sum.forward"))


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
