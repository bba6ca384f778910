"""The course of a training for TensorBoard."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from minialex.checks import require_int
from minialex.errors import MiniAlexError
from minialex.training.callbacks.callback import Callback

# The tags of an epoch's metrics.
_EPOCH_TAGS = {
    "train_loss": "loss/train",
    "train_accuracy": "accuracy/train",
    "validation_loss": "loss/validation",
    "validation_accuracy": "accuracy/validation",
    "lr": "learning_rate",
    "images_per_second": "images_per_second",
}


class TensorBoard(Callback):
    """Writes event files that ``tensorboard --logdir`` shows. Needs the extra ``tensorboard``.

        epochs/    by the number of the epoch: loss/train, loss/validation, accuracy/train,
                   accuracy/validation, learning_rate, images_per_second, and any extra metrics
        steps/     by the number of the step: loss/step, accuracy/step, learning_rate/step, and
                   gradient_norm/step where gradients are clipped

    They are two folders because TensorBoard drops what a killed run wrote after its last state by comparing
    the numbers in a folder (``purge_step``), which must therefore count the same thing.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.
    every_steps : int
        Steps whose number is a multiple of this are written.

    Raises
    ------
    MiniAlexError
        If tensorboardX is not installed, or every_steps is not a positive int.
    """

    def __init__(self, folder: Path, every_steps: int = 50):
        require_int("every_steps", every_steps, 1)
        try:
            import tensorboardX  # noqa: F401 - it must be there before a long training begins
        except ImportError:
            raise MiniAlexError(
                "TensorBoard event files need tensorboardX; pip install 'minialex[tensorboard]'"
            ) from None
        self.folder, self.every_steps = folder, every_steps

    def before_training(self, trainer) -> None:
        resumed = trainer.steps > 0
        self._epochs = _EventFile(self.folder / "epochs", trainer.epoch + 1 if resumed else None)
        self._steps = _EventFile(self.folder / "steps", trainer.steps + 1 if resumed else None)

    def after_step(self, step) -> None:
        if step.number % self.every_steps:
            return
        scalars = {
            "loss/step": step.step_loss,
            "accuracy/step": step.step_accuracy,
            "learning_rate/step": step.lr,
            "gradient_norm/step": step.gradient_norm,
        }
        self._steps.write(scalars, step.number)

    def after_epoch(self, metrics, network, validation) -> None:
        scalars = {
            _EPOCH_TAGS.get(name, name): value
            for name, value in metrics.to_dict().items()
            if name not in ("epoch", "seconds")
        }
        self._epochs.write(scalars, metrics.epoch)

    def after_training(self) -> None:
        self._epochs.close()
        self._steps.close()


class _EventFile:
    """One event file.

    tensorboardX's SummaryWriter hands events to a thread, and its `flush` does not wait for it: a killed run
    would have written a state that is ahead of its event file. So the events are written here, with
    tensorboardX's messages and records.
    """

    def __init__(self, folder: Path, purge_step: int | None):
        from tensorboardX import RecordWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files of a folder in the order of their names.
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        name = f"events.out.tfevents.{seconds:010}.{nanoseconds:09}.{socket.gethostname()}"
        self._records = RecordWriter(str(folder / name))
        self._add(Event(file_version="brain.Event:2"))
        if purge_step is not None:
            self._add(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))
        self._records.flush()

    def write(self, scalars: dict[str, float | None], step: int) -> None:
        """Write scalars by their tags, and see them on the disk."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        for tag, value in scalars.items():
            if value is not None:
                self._add(Event(step=step, summary=scalar(tag, value)))
        self._records.flush()

    def _add(self, event) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())

    def close(self) -> None:
        self._records.close()
