"""The named networks: `create_model`, `list_models`, and how large they are."""

from __future__ import annotations

import difflib

from minialex.errors import ModelError
from minialex.models import (
    alexnet,
    inception,
    lenet,
    nin,
    resnet,
    squeezenet,
    vgg,
    zfnet,
)
from minialex.models.architecture import Architecture, Network
from minialex.models.initialisers import initialise
from minialex.models.summary import LayerSummary, Summary, summarise

__all__ = [
    "Architecture",
    "LayerSummary",
    "Network",
    "Summary",
    "create_model",
    "get_architecture",
    "list_models",
    "summarise",
]

_FAMILY = (
    alexnet,
    inception,
    lenet,
    nin,
    resnet,
    squeezenet,
    vgg,
    zfnet,
)
_BY_NAME = {architecture.name: architecture for member in _FAMILY for architecture in member.ARCHITECTURES}


def list_models() -> list[str]:
    """The names that `create_model` knows."""
    return sorted(_BY_NAME)


def get_architecture(name: str) -> Architecture:
    """The description of a model; `ModelError`, with the nearest name, if there is none."""
    if not isinstance(name, str) or name not in _BY_NAME:
        near = difflib.get_close_matches(str(name), _BY_NAME, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ModelError(f"model {name!r} is unknown; {hint}There are: {', '.join(list_models())}")
    return _BY_NAME[name]


def create_model(name: str, num_classes: int | None = None, initialiser: str | None = None) -> Network:
    """Build a named network and draw its weights; `minialex.manual_seed` makes them reproducible.

    Parameters
    ----------
    name : str
        One of `list_models`.
    num_classes : int, optional
        The outputs of the last layer; the model's own number if not given.
    initialiser : str, optional
        A name in `models.initialisers.INITIALISERS`; the model's own if not given.

    Returns
    -------
    Network
        In training mode. It takes images (N, C, H, W) and returns logits (N, num_classes).

    Raises
    ------
    ModelError
        If the name or the initialiser is unknown, or the number of classes is not a positive int.
    """
    architecture = get_architecture(name)
    network = architecture.build(num_classes)
    initialise(network, initialiser or architecture.initialiser)
    return network
