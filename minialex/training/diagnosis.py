"""Why a training run failed, and what helps."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from minialex import nn
from minialex.autograd import no_grad
from minialex.nn.parts import named_layers
from minialex.nn.trace import tensors_in
from minialex.tensor import Tensor

# A network whose loss is not at least this share below that of guessing has learned nothing.
_GUESSING_MARGIN = 0.03
# How many steps a network is given to learn something before that counts as a failure.
PATIENCE_STEPS = 50
IMAGES = "the images"


def first_non_finite_layer(network: nn.Module, x: np.ndarray, device: str) -> str | None:
    """The first layer to hold or give a number that is not finite, for a batch (N, C, H, W).

    Or (N, K, C, H, W), with K crops of each image. Where a layer is given such numbers, a function that is
    called between layers has made them, or they are in the images. None if everything is finite.
    """
    if not np.isfinite(x).all():
        return IMAGES
    found: list[str] = []
    passed: list[str] = []

    def see(name: str, layer: nn.Module, inputs: tuple, output: Any) -> None:
        if found:
            return
        title = f"layer {name} ({type(layer).__name__})"
        for part, parameter in layer.named_parameters():
            if not np.isfinite(parameter.numpy()).all():
                found.append(f"{title}, whose {part} is no longer finite")
                return
        if not _is_finite(inputs):
            found.append(f"a function that is called before {title}")
        elif not _is_finite(output):
            found.append(title)
        passed.append(title)

    hooks = [
        layer.register_forward_hook(functools.partial(see, name)) for name, layer in named_layers(network)
    ]
    try:
        with no_grad():
            output = network(Tensor(x.reshape(-1, *x.shape[-3:]), device=device))
    finally:
        for hook in hooks:
            hook.remove()
    if not found and not _is_finite(output):
        found.append(f"a function that is called after {passed[-1]}" if passed else "a function")
    return found[0] if found else None


def _is_finite(values: Any) -> bool:
    return all(np.isfinite(tensor.numpy()).all() for tensor in tensors_in(values))


def is_guessing(loss: float, classes: int) -> bool:
    """Whether a mean cross-entropy is no better than that of guessing, ln(classes)."""
    return classes > 1 and loss > (1 - _GUESSING_MARGIN) * math.log(classes)


def guessing_message(loss: float, classes: int, lr: float, why: str = "") -> str:
    """Say that a network has learned nothing, why, where that is known, and what helps."""
    return (
        f"the loss stays at {loss:.4f}, no better than guessing among {classes} classes "
        f"(ln {classes} = {math.log(classes):.4f})"
        + (f", as this recipe's is expected to: {why}. " if why else ". ")
        + f"What helps: another learning rate (it is {lr:g}; "
        "try a tenth, or ten times, of it), He's initial weights, batch normalisation, or longer training"
    )
