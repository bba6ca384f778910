"""What may follow training."""

from __future__ import annotations

from typing import Protocol

from minialex.models import Network
from minialex.training.evaluation import Evaluation
from minialex.training.metrics import EpochMetrics, Step
from minialex.training.state import TrainingState


class Training(Protocol):
    """What a callback sees of the `Trainer` that it follows; see there."""

    epoch: int
    batch: int
    steps: int
    history: list[EpochMetrics]

    def stop(self, reason: str) -> None: ...

    def require_metric(self, name: str) -> None: ...

    def state_dict(self) -> TrainingState: ...


class Callback:
    """What may follow a training. Subclasses define what they need.

    The trainer calls, in this order: `before_training`; after each step of the optimiser `after_step`, then
    `save`; after each epoch and its validation `after_epoch`, then `save`; at a KeyboardInterrupt
    `interrupted`; in the end `after_training`. Each is called for all callbacks, in their order, before the
    next.

    A callback whose state decides the further run returns it from `state_dict`, and is given it by
    `load_state_dict`.

    Attributes
    ----------
    key : str
        Names its state among those of the other callbacks.
    """

    key: str = ""

    def before_training(self, trainer: Training) -> None:
        """Follow the beginning of `Trainer.fit`, after a state was loaded, if there was one."""

    def after_step(self, step: Step) -> None:
        """Follow a step of the optimiser."""

    def after_epoch(self, metrics: EpochMetrics, network: Network, validation: Evaluation | None) -> None:
        """Follow an epoch and its validation, if there is one."""

    def save(self, trainer: Training) -> None:
        """Follow a step or an epoch that all callbacks have seen: here `Trainer.state_dict` is whole.

        After an epoch, `trainer.batch` is 0.
        """

    def interrupted(self, trainer: Training) -> None:
        """Follow a KeyboardInterrupt: `Trainer.state_dict` is whole, and that after the last complete step.

        It is not called if the update of a step was broken off, by a second interruption.
        """

    def after_training(self) -> None:
        """Follow the end of `Trainer.fit`, by an error too: close what is open."""

    def state_dict(self) -> dict | None:
        """What `load_state_dict` needs to go on bit for bit, in types that JSON has; None if nothing."""
        return None

    def load_state_dict(self, state: dict) -> None:
        """Take over what `state_dict` gave, from a file that anyone may have made.

        Raises
        ------
        CheckpointError
            If it does not fit; nothing is changed then.
        """
