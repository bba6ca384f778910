"""Why a training run failed, and what helps."""

from __future__ import annotations

import math

import numpy as np

from minialex.autograd import no_grad
from minialex.models import Network
from minialex.tensor import Tensor

# A network whose loss is not at least this share below that of guessing has learned nothing.
_GUESSING_MARGIN = 0.03
# How many steps a network is given to learn something before that counts as a failure.
PATIENCE_STEPS = 50


def first_non_finite_layer(network: Network, x: np.ndarray, device: str) -> str | None:
    """The first layer to hold or give a number that is not finite, for a batch (N, C, H, W).

    Or (N, K, C, H, W), with K crops of each image. None if every layer's parameters and output are finite.
    """
    value = Tensor(x.reshape(-1, *x.shape[-3:]), device=device)
    with no_grad():
        for name, layer in network.named_children():
            kind = type(layer).__name__
            for part, parameter in layer.named_parameters():
                if not np.isfinite(parameter.numpy()).all():
                    return f"layer {name} ({kind}), whose {part} is no longer finite"
            value = layer(value)
            if not np.isfinite(value.numpy()).all():
                return f"layer {name} ({kind})"
    return None


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
