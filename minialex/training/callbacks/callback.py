"""What may follow training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minialex.models import Network
from minialex.training.evaluation import Evaluation
from minialex.training.metrics import EpochMetrics, Step

if TYPE_CHECKING:
    from minialex.training.trainer import Trainer


class Callback:
    """What may follow a training. Subclasses define what they need.

    The trainer calls, in this order: `before_training`; after each step of the optimiser `after_step`, then
    `save`; after each epoch and its validation `after_epoch`, then `save`; at a KeyboardInterrupt
    `interrupted`; in the end `after_training`. Each is called for all callbacks, in their order, before the
    next.

    A callback whose state decides the further run returns it from `state`, and is given it by `restore`.

    Attributes
    ----------
    key : str
        Names its state among those of the other callbacks.
    """

    key: str = ""

    def before_training(self, trainer: Trainer) -> None:
        """Follow the beginning of `Trainer.fit`, after a state was restored, if there was one."""

    def after_step(self, step: Step) -> None:
        """Follow a step of the optimiser."""

    def after_epoch(self, metrics: EpochMetrics, network: Network, validation: Evaluation | None) -> None:
        """Follow an epoch and its validation, if there is one."""

    def save(self, trainer: Trainer) -> None:
        """Follow a step or an epoch that all callbacks have seen: here `Trainer.state` is whole.

        After an epoch, `trainer.batch` is 0.
        """

    def interrupted(self, trainer: Trainer) -> None:
        """Follow a KeyboardInterrupt: `Trainer.state` is whole, and that after the last complete step.

        It is not called if the update of a step was broken off, by a second interruption.
        """

    def after_training(self) -> None:
        """Follow the end of `Trainer.fit`, by an error too: close what is open."""

    def state(self) -> dict | None:
        """What JSON can hold, and `restore` needs to go on to the bit; None if nothing."""
        return None

    def restore(self, state: dict) -> None:
        """Take over what `state` gave, from a file that anyone may have made.

        Raises
        ------
        CheckpointError
            If it does not fit; nothing is changed then.
        """
