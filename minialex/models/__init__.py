"""The named networks: `create_model`, `list_models`, and how large they are."""

from __future__ import annotations

import difflib
from typing import Any

from minialex.errors import ModelError, UnloadedModelError
from minialex.models import (
    alexnet,
    densenet,
    inception,
    lenet,
    mobilenet,
    nin,
    resnet,
    shufflenet,
    squeezenet,
    vgg,
    zfnet,
)
from minialex.models.architecture import Architecture, Network
from minialex.models.initialisers import initialise
from minialex.models.own import OwnModel, is_own, load_own, require_name
from minialex.models.summary import LayerSummary, Summary, summarise

__all__ = [
    "Architecture",
    "LayerSummary",
    "Network",
    "OwnModel",
    "Summary",
    "create_model",
    "get_architecture",
    "list_models",
    "load_model",
    "summarise",
]

_FAMILY = (
    alexnet,
    densenet,
    inception,
    lenet,
    mobilenet,
    nin,
    resnet,
    shufflenet,
    squeezenet,
    vgg,
    zfnet,
)
_BY_NAME = {architecture.name: architecture for member in _FAMILY for architecture in member.ARCHITECTURES}


# Networks of one's own, by FILE.py:NAME.
_LOADED: dict[str, Architecture | OwnModel] = {}


def list_models() -> list[str]:
    """The names that `create_model` knows."""
    return sorted(_BY_NAME)


def get_architecture(name: str) -> Architecture | OwnModel:
    """The description of a model, or of a loaded one of one's own; `ModelError`, with the nearest name, if
    there is none.
    """
    if isinstance(name, str) and name in _LOADED:
        return _LOADED[name]
    if isinstance(name, str) and is_own(name):
        raise UnloadedModelError(
            f"model {name!r} is in a file that is run when it is loaded; if it is yours, name the file with "
            f"its folder: --model FOLDER/{name}, or minialex.models.load_model('FOLDER/{name}')"
        )
    if not isinstance(name, str) or name not in _BY_NAME:
        near = difflib.get_close_matches(str(name), _BY_NAME, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ModelError(f"model {name!r} is unknown; {hint}There are: {', '.join(list_models())}")
    return _BY_NAME[name]


def load_model(target: str) -> Architecture | OwnModel:
    """Load a network of one's own, by FILE.py:NAME, so that it is known by that name; the file is run.

    The folder of the file is left out of the name: ``nets/my_net.py:LeNet`` is known as ``my_net.py:LeNet``.
    The name of a model of `list_models` gives that one.

    Raises
    ------
    ModelError
        If there is no such file or model, or it is no network; see `minialex.models.own`.
    """
    if not is_own(target):
        require_name(target)
        return get_architecture(target)
    model = load_own(target)
    _LOADED[model.name] = model
    return model


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
    network: Any = architecture.build(num_classes)
    chosen = initialiser or architecture.initialiser
    if chosen is not None:  # a network of one's own has drawn its weights
        initialise(network, chosen)
    return network
