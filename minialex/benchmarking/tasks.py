"""What every contestant of a run does: the same network, weights, images and labels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex import random
from minialex.checks import require_int
from minialex.errors import ModelError
from minialex.models import Architecture, Network, OwnModel, load_model, summarise
from minialex.models.architecture import rewritten
from minialex.models.initialisers import initialise

LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 1e-3, 0.9, 5e-4


@dataclass(frozen=True)
class Task:
    """A training step or an inference, described.

    Attributes
    ----------
    model : str
        One of `minialex.models.list_models`, or FILE.py:NAME.
    batch : int
    training : bool
        A step (forward, cross-entropy, backward, momentum SGD with weight decay), or inference.
    without_lrn : bool
        Leave out the model's local response normalisation.
    size : int or None
        Another height and width of the images; the first dense layer grows or shrinks with it.
    without_dropout : bool
        Leave out the model's dropout.
    device : str
        Where the contestants compute.

    Raises
    ------
    ModelError
        If the model is unknown or has no LRN or dropout to leave out, the batch is below 1, or the network
        does not fit images of that size.
    """

    model: str
    batch: int
    training: bool = True
    without_lrn: bool = False
    size: int | None = None
    without_dropout: bool = False
    device: str = "cpu"

    def __post_init__(self):
        require_int("batch", self.batch, 1, error=ModelError)
        if self.size is not None:
            require_int("size", self.size, 1, error=ModelError)
        self.architecture().build()

    def architecture(self) -> Architecture | OwnModel:
        """The model's table, changed as asked."""
        architecture = load_model(self.model)
        changed = self.without_lrn or self.without_dropout or self.size is not None
        if isinstance(architecture, OwnModel):
            if changed:
                raise ModelError(f"{self.model} is no table of layers: it runs as it is, without changes")
            return architecture
        if self.without_lrn:
            architecture = self._without(architecture, "norm", "local response normalisation")
        if self.without_dropout:
            architecture = self._without(architecture, "drop", "dropout")
        if self.size is not None:
            shape = (architecture.input_shape[0], self.size, self.size)
            architecture = dataclasses.replace(architecture, input_shape=shape)
        return architecture

    def _without(self, architecture: Architecture, prefix: str, what: str) -> Architecture:
        layers = rewritten(architecture.layers, lambda layer: None if layer.prefix == prefix else layer)
        if layers == architecture.layers:
            raise ModelError(f"model {self.model!r} has no {what} to leave out")
        return dataclasses.replace(architecture, layers=layers)

    def network(self) -> Network:
        """The network, with the same weights at every call."""
        architecture = self.architecture()
        with random.seeded(0):
            network: Any = architecture.build()
            if architecture.initialiser is not None:
                initialise(network, architecture.initialiser)
        return network.train(self.training)

    def images(self) -> np.ndarray:
        """Standard normal images, float32 (N, C, H, W)."""
        shape = (self.batch, *self.architecture().input_shape)
        return np.random.default_rng(0).standard_normal(shape, np.float32)

    def labels(self) -> np.ndarray:
        """Random classes, int64 (N,)."""
        return np.random.default_rng(1).integers(0, self.architecture().num_classes, self.batch)

    @property
    def title(self) -> str:
        size = "" if self.size is None else f", {self.size} x {self.size}"
        choices = (("LRN", self.without_lrn), ("dropout", self.without_dropout))
        left_out = " and ".join(name for name, is_out in choices if is_out)
        return f"{self.model}{left_out and f' without {left_out}'}{size}, batch {self.batch}"

    @property
    def operations(self) -> int:
        """The floating-point operations of the products: two each.

        A training step has three passes of products (forward, and two gradients), less the gradient of
        the images.
        """
        summary = summarise(self.architecture().build(), self.batch)
        if not self.training:
            return 2 * summary.macs
        return 6 * summary.macs - 2 * next(layer.macs for layer in summary.layers if layer.macs)

    def to_dict(self) -> dict:
        """The description, in types that JSON has; ``Task(**task.to_dict())`` is the same again."""
        return dataclasses.asdict(self)
