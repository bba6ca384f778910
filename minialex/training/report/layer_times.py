"""How long each layer of a network takes in training, measured now on this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

import numpy as np

from minialex import functional as F
from minialex.benchmarking.profiling import OUTSIDE, profiled
from minialex.models import Network
from minialex.models.auxiliary import objective
from minialex.tensor import Tensor

_STEPS = 5
# No further step is begun after this many seconds, so that a large network does not take minutes.
_ENOUGH_SECONDS = 15.0


@dataclass(frozen=True)
class LayerTimes:
    """The times of training steps, without the optimiser's update.

    Attributes
    ----------
    forward, backward : dict from layer to seconds
        Medians over the steps, in the order of the network.
    steps : int
        How many were measured, after one that was not.
    batch : int
        Images a step.
    """

    forward: dict[str, float]
    backward: dict[str, float]
    steps: int
    batch: int


def time_layers(network: Network, x: np.ndarray, labels: np.ndarray, device: str = "cpu") -> LayerTimes:
    """Time the forward and backward pass of every layer in up to five training steps on one batch.

    The steps are not taken: the weights stay as they are. Running statistics of batch normalisation do move.

    Parameters
    ----------
    network : Network
        On the device, not frozen; it is left in training mode.
    x : float32 (N, C, H, W)
    labels : int64 (N,)
    device : str
        Not ``"cuda"``, whose kernels run on after their call has returned.
    """
    network.train()
    images = Tensor(x, device=device)

    def step() -> None:
        network.zero_grad()
        objective(network(images), labels, F.cross_entropy).backward()

    step()  # compiles kernels, and brings memory and caches to where later steps find them
    profiles = []
    start = time.perf_counter()
    while len(profiles) < _STEPS and (not profiles or time.perf_counter() - start < _ENOUGH_SECONDS):
        with profiled(network) as profile:
            step()
        profiles.append(profile.layers)
    network.zero_grad()
    layers = dict.fromkeys(layer for layer, _ in profiles[0] if layer != OUTSIDE)
    medians = {
        direction: {layer: median(times[layer, direction] for times in profiles) for layer in layers}
        for direction in ("forward", "backward")
    }
    return LayerTimes(**medians, steps=len(profiles), batch=len(x))
