"""Weights and exact states in the run folder."""

from __future__ import annotations

import time
from pathlib import Path

from minialex.checks import require_number
from minialex.files import remove_leftovers
from minialex.training.callbacks.best import Best
from minialex.training.callbacks.callback import Callback
from minialex.training.checkpoint import save_checkpoint
from minialex.training.state import STATE_FILE, save_state


class Checkpoints(Callback):
    """Writes weights after every epoch, and the exact state that a killed run goes on from.

        last.safetensors            the weights after the last epoch
        best.safetensors            the weights after the epoch with the best value of a metric
        state.safetensors           everything that decides the further run
        state-previous.safetensors  the one before

    The state is written after every epoch, within one whenever `every_seconds` have passed since it was
    written last, and at a KeyboardInterrupt. With `minialex.training.state.load_latest_state` and
    `Trainer.load_state_dict` a run goes on from it.

    Parameters
    ----------
    folder : Path
        The run folder, which exists.
    monitor : str
        A name of `EpochMetrics.to_dict`: which metric makes an epoch the best.
    mode : "min" or "max"
        Whether smaller or larger is better.
    every_seconds : float
        0 writes the state after every step.

    Attributes
    ----------
    best : Best
        The best value so far, ``best.value``, and its epoch, ``best.epoch``.

    Raises
    ------
    MiniAlexError
        If an argument is out of range; from `before_training` if the run has no such metric.
    CheckpointError
        From `save`, if a file cannot be written.
    """

    key = "checkpoints"

    def __init__(
        self,
        folder: Path,
        *,
        monitor: str = "validation_accuracy",
        mode: str = "max",
        every_seconds: float = 300.0,
    ):
        require_number("every_seconds", every_seconds, 0)
        self.folder, self.every_seconds = folder, every_seconds
        self.best = Best(monitor, mode)

    def before_training(self, trainer) -> None:
        trainer.require_metric(self.best.monitor)
        for name in ("last.safetensors", "best.safetensors", STATE_FILE):
            remove_leftovers(self.folder / name)
        self._saved_at, self._saved = time.monotonic(), None

    def after_epoch(self, metrics, network, validation) -> None:
        notes = {"epoch": metrics.epoch, self.best.monitor: metrics.to_dict()[self.best.monitor]}
        save_checkpoint(self.folder / "last.safetensors", network, **notes)
        if self.best.update(metrics):
            save_checkpoint(self.folder / "best.safetensors", network, **notes)

    def save(self, trainer) -> None:
        epoch_ended = trainer.batch == 0
        if epoch_ended or time.monotonic() - self._saved_at >= self.every_seconds:
            save_state(self.folder, trainer.state_dict())
            self._saved_at, self._saved = time.monotonic(), (trainer.epoch, trainer.batch)

    def interrupted(self, trainer) -> None:
        if self._saved != (trainer.epoch, trainer.batch):
            save_state(self.folder, trainer.state_dict())

    def state_dict(self) -> dict:
        return self.best.state_dict()

    def load_state_dict(self, state) -> None:
        self.best.load_state_dict(state)
