"""Which kernel the engine runs for each layer of a model, and what it takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minialex.benchmarking.workloads import Workload, model_workloads
from minialex.errors import KernelError
from minialex.kernels import list_kernels, select
from minialex.models import get_architecture

# They run for second derivatives, or with another optimiser.
_OF_OTHER_STEPS = {"channel_window_sum.forward", "max_pool2d.gather", "adam.update"}


@dataclass(frozen=True)
class Choice:
    """A kernel of a training step.

    Attributes
    ----------
    layer, operation, algorithm : str
    workspace : int or None
        The bytes that it allocates beyond its results; None where it does not say.
    predicted_ms : float or None
        By `minialex.kernels.cost`; None for a kernel that states no cost.
    """

    layer: str
    operation: str
    algorithm: str
    workspace: int | None
    predicted_ms: float | None


def choices(model: str, batch: int, operation: str | None = None) -> list[Choice]:
    """The kernels of a training step of a model on the cpu, in float32, layer by layer.

    Parameters
    ----------
    model : str
    batch : int
    operation : str, optional
        One operation, such as ``"conv2d"``, or one direction of it.

    Raises
    ------
    ModelError
        If there is no such model.
    KernelError
        If the batch is below 1, or the model does not run the operation.
    """
    if batch < 1:
        raise KernelError(f"batch={batch} should be 1 or more")
    order = [name for name, _ in get_architecture(model).build().named_children()]
    found = [
        _choice(workload, name)
        for workload in model_workloads(model, batch)
        if workload.operation not in _OF_OTHER_STEPS and operation in (None, *_names(workload))
        for name in workload.name.removeprefix(f"{model} ").split(", ")
        if name in order
    ]
    found.sort(key=lambda each: order.index(each.layer))
    if not found:
        known = sorted({entry.operation.split(".")[0] for entry in list_kernels()})
        raise KernelError(f"{model} does not run operation {operation!r}; operations: {', '.join(known)}")
    return found


def _names(workload: Workload) -> tuple[str, str]:
    return workload.operation, workload.operation.split(".")[0]


def _choice(workload: Workload, layer: str) -> Choice:
    arrays = tuple(None if each is None else _stand_in(*each) for each in workload.arrays)
    entry = select(workload.operation, "cpu", *arrays, **workload.parameters)
    seconds = entry.predicted_seconds(*arrays, **workload.parameters) if entry.cost else None
    return Choice(
        layer,
        workload.operation,
        entry.algorithm,
        entry.workspace(*arrays, **workload.parameters) if entry.workspace else None,
        None if seconds is None else 1e3 * seconds,
    )


def _stand_in(shape, fill) -> np.ndarray:
    """An array of a shape and type, which nobody reads: the system gives it no memory."""
    one = fill(np.random.default_rng(0), (1,) * len(shape), np.float32)
    return np.empty(shape, one.dtype)
