"""How much memory a training step takes, from shapes only.

The step itself runs on the device ``meta`` (`minialex.stand_ins`): forward, loss and backward of the engine,
with arrays that take no memory but are counted as long as they are alive. So what each operation keeps for
its backward, when it is freed, and when gradients appear, is not modelled but observed. What kernels allocate
beyond their results is what they say of themselves (`workspace` in `minialex.kernels.contract.registry`).
"""

from __future__ import annotations

import numpy as np

from minialex import functional as F
from minialex import nn
from minialex.checks import require_int
from minialex.devices import META
from minialex.errors import ModelError
from minialex.kernels.contract.registry import select
from minialex.kernels.contract.results import calls_heard
from minialex.models.auxiliary import objective
from minialex.models.summary import input_shape_of
from minialex.nn.trace import on_meta
from minialex.random import seeded
from minialex.stand_ins import counting, stand_in
from minialex.tensor import Tensor

_FLOAT = 4


def predict_step_memory(
    network: nn.Module, batch: int, *, optimizer_arrays: int = 1, device: str = "cpu"
) -> int:
    """The peak memory of a training step in bytes, everything included, in float32.

    Parameters
    ----------
    network : Module
        With an attribute `input_shape`, (C, H, W), from images to logits (N, classes).
    batch : int
        Images.
    optimizer_arrays : int
        How many arrays the optimiser keeps for each parameter: 1 for SGD with momentum, 2 for Adam.
    device : str
        Whose kernels run.

    Raises
    ------
    ModelError
        If the batch is not a positive int.
    """
    require_int("batch", batch, 1, error=ModelError)
    twin = on_meta(network).train()
    trained = sum(p.size for p in twin.parameters() if p.requires_grad)
    stored = sum(p.size for p in twin.parameters()) + sum(b.size for b in twin.buffers())
    with counting() as live, seeded(0):
        images = Tensor(stand_in((batch, *input_shape_of(network))), device=META)

        def hear(name: str, arrays: tuple, parameters: dict) -> None:
            live.pass_through(_workspace(name, device, arrays, parameters))

        with calls_heard(hear):
            # Each may be the last user of what the one before made.
            objective(twin(images), np.zeros(batch, np.int64), F.cross_entropy).backward()
        peak = live.peak
    return peak + _FLOAT * (stored + optimizer_arrays * trained)


def largest_batch(
    network: nn.Module, available: int, limit: int, *, optimizer_arrays: int = 1, device: str = "cpu"
) -> int:
    """The largest batch below a limit whose step fits the available bytes; 0 if none does."""
    fits, too_large = 0, limit
    while too_large - fits > 1:
        middle = (fits + too_large) // 2
        needed = predict_step_memory(network, middle, optimizer_arrays=optimizer_arrays, device=device)
        if needed <= available:
            fits = middle
        else:
            too_large = middle
    return fits


def _workspace(name: str, device: str, arrays: tuple, parameters: dict) -> int:
    """What the kernel of a call allocates beyond its results."""
    return select(name, device, *arrays, **parameters).workspace_bytes(*arrays, **parameters)
