"""The metrics of each epoch in a file."""

from __future__ import annotations

import json
from pathlib import Path

from minialex.files import remove_leftovers, write_text
from minialex.training.callbacks.callback import Callback


class MetricsFile(Callback):
    """Writes ``metrics.jsonl``: one JSON object a line and epoch, as `EpochMetrics.to_dict` gives it.

    The file is written anew, atomically, from the trainer's history: after a resume it holds the epochs of
    the restored state, whatever the process before had added.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path):
        self.path = path

    def before_training(self, trainer) -> None:
        remove_leftovers(self.path)
        self._history = trainer.history
        if self._history or self.path.exists():
            self._write()

    def after_epoch(self, metrics, network, validation) -> None:
        self._write()

    def _write(self) -> None:
        lines = (json.dumps(metrics.to_dict(), allow_nan=False) for metrics in self._history)
        write_text(self.path, "".join(f"{line}\n" for line in lines))
