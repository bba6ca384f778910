"""Where the time of a training step goes: per layer and direction, and per kernel.

    with profiled(network) as profile:
        step()
    profile.layers, profile.kernels

The engine knows nothing of it. For as long as the block lasts, each layer's forward pass is timed where
it is called; the operations that it recorded get a timed `backward`; and `minialex.kernels.run`, through
which the engine runs every kernel, is replaced by one that takes the time.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minialex import kernels, nn
from minialex.autograd import Operation
from minialex.nn.parts import named_parts
from minialex.nn.trace import tensors_in

# The part of a step that belongs to no layer: loss, update, and adding up gradients.
OUTSIDE = "loss and update"


@dataclass
class Profile:
    """Seconds, added up over the calls that were profiled."""

    # By layer and "forward" or "backward", in the order of the network; kernels that ran outside of any layer
    # are under `OUTSIDE`.
    layers: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    # Calls and seconds, by layer, operation and shapes.
    kernels: dict[tuple[str, str, str], list] = field(default_factory=lambda: defaultdict(lambda: [0, 0.0]))

    def to_dict(self, steps: int) -> dict:
        """The seconds of one step, in types that JSON has."""
        layers = [
            {"layer": layer, "direction": direction, "seconds": seconds / steps}
            for (layer, direction), seconds in self.layers.items()
        ]
        kernels = []
        for (layer, operation, shapes), (calls, seconds) in self.kernels.items():
            call = {"layer": layer, "operation": operation, "shapes": shapes}
            kernels.append({**call, "calls": calls / steps, "seconds": seconds / steps})
        return {"steps": steps, "layers": layers, "kernels": kernels}


@contextmanager
def profiled(network: nn.Module, clock: Callable[[], float] = time.perf_counter) -> Iterator[Profile]:
    """Profile everything that `network` computes inside the block, by its parts (`minialex.nn.parts`)."""
    profile = Profile()
    current = [OUTSIDE, ""]  # the layer and direction that is being computed

    def timed(function: Callable, layer: str, direction: str) -> Callable:
        def run(*arguments, **options):
            before = current[:]
            current[:] = layer, direction
            start = clock()
            try:
                return function(*arguments, **options)
            finally:
                profile.layers[layer, direction] += clock() - start
                current[:] = before

        return run

    def forward_of(layer: str, module: nn.Module) -> Callable:
        forward = timed(module.forward, layer, "forward")

        def run(*inputs, **options) -> Any:
            results = forward(*inputs, **options)
            for operation in operations_between(inputs, results):
                operation.backward = timed(operation.backward, layer, "backward")
            return results

        return run

    run_kernel = kernels.run

    def run(operation: str, device: str, *arrays, **parameters):
        start = clock()
        try:
            return run_kernel(operation, device, *arrays, **parameters)
        finally:
            seconds = clock() - start
            entry = profile.kernels[current[0], operation, _shapes(arrays)]
            entry[0] += 1
            entry[1] += seconds
            if current[0] == OUTSIDE:
                profile.layers[OUTSIDE, "forward"] += seconds

    parts = list(named_parts(network))
    for name, module in parts:
        # Entered here in the order of the network, whatever is called first.
        profile.layers[name, "forward"] = profile.layers[name, "backward"] = 0.0
        object.__setattr__(module, "forward", forward_of(name, module))
    kernels.run = run
    try:
        yield profile
    finally:
        kernels.run = run_kernel
        for _, module in parts:
            object.__delattr__(module, "forward")


def operations_between(inputs: Any, results: Any) -> Iterator[Operation]:
    """The operations recorded on the way from the inputs of a module to its results."""
    seen: set[Operation | None] = {tensor.creator for tensor in tensors_in(inputs)} | {None}
    pending = [tensor.creator for tensor in tensors_in(results)]
    while pending:
        operation = pending.pop()
        if operation in seen:
            continue
        seen.add(operation)
        yield operation
        pending += [edge.source for edge in operation.edges if edge and isinstance(edge.source, Operation)]


def _shapes(arrays) -> str:
    """The shapes of a call's arrays, written for a table."""
    return ", ".join("x".join(map(str, a.shape)) or "()" for a in arrays if isinstance(a, np.ndarray))
