"""Auxiliary heads: classifiers on the way, which bring gradients to the lower layers in training.

Szegedy, Liu, Jia et al., "Going Deeper with Convolutions", CVPR 2015, section 5: "By adding auxiliary
classifiers connected to these intermediate layers, we would expect to encourage discrimination in the lower
stages in the classifier, increase the gradient signal that gets propagated back [...]. During training, their
loss gets added to the total loss of the network with a discount weight (the losses of the auxiliary
classifiers were weighted by 0.3). At inference time, these auxiliary networks are discarded."
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minialex import nn
from minialex.checks import in_words
from minialex.errors import ModelError
from minialex.tensor import Tensor

# What the loss of each head is multiplied with.
WEIGHT = 0.3


class AuxiliaryHead(nn.Sequential):
    """A classifier beside the trunk: from feature maps (N, C, H, W) to logits (N, classes)."""


class AuxiliaryOutputs(NamedTuple):
    """What a network with auxiliary heads gives in training, under torchvision's names: (N, classes) each."""

    logits: Tensor
    aux_logits2: Tensor
    aux_logits1: Tensor


def logits_of(outputs: Tensor | AuxiliaryOutputs) -> Tensor:
    """What the network itself predicts (N, classes)."""
    return outputs.logits if isinstance(outputs, AuxiliaryOutputs) else outputs


def objective(outputs: Tensor | AuxiliaryOutputs, targets, loss: Callable) -> Tensor:
    """What training minimises: the loss of the logits and `WEIGHT` times that of each auxiliary head.

    Parameters
    ----------
    outputs : Tensor (N, classes), or AuxiliaryOutputs
        What the network gives.
    targets
        What the loss takes.
    loss : callable
        Takes logits and targets.

    Raises
    ------
    ModelError
        If the network gives something else.
    """
    if isinstance(outputs, Tensor):
        return loss(outputs, targets)
    if not isinstance(outputs, AuxiliaryOutputs):
        raise ModelError(
            f"in training the network must give logits (N, classes), not {in_words(outputs)}; with auxiliary "
            "heads, models.auxiliary.AuxiliaryOutputs"
        )
    heads = loss(outputs.aux_logits1, targets) + loss(outputs.aux_logits2, targets)
    return loss(outputs.logits, targets) + WEIGHT * heads
