"""The run folder: everything that a training run leaves behind.

settings.json       what was asked for, and how images are prepared
metrics.jsonl       one JSON object a line and epoch
last.safetensors    the weights after the last epoch
best.safetensors    the weights after the epoch with the highest test accuracy
result.json         the final figures
pictures/           learning curves, confusion matrix, filters, worst errors
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from datetime import datetime
from pathlib import Path

from minialex.data import Preprocessing
from minialex.errors import DataError, MiniAlexError, RunError
from minialex.files import write_json, write_text
from minialex.models import Network, get_architecture
from minialex.training.checkpoint import load_checkpoint, save_checkpoint
from minialex.training.settings import Settings
from minialex.version import __version__

CHECKPOINTS = ("best", "last")
# Settings files are a few kilobytes; anything larger is not one.
_MAX_SETTINGS_BYTES = 2**20


def default_folder(settings: Settings) -> Path:
    """Name a folder for a run after the model, the data and the time."""
    return Path("runs") / f"{settings.model}-{settings.data}-{datetime.now():%Y%m%d-%H%M%S}"


class RunFolder:
    """A run folder, open for writing (`create`) or reading (`open`).

    Attributes
    ----------
    path : Path
    settings : Settings
    preprocessing : Preprocessing
    classes : tuple of str
    """

    def __init__(self, path: Path, settings: Settings, preprocessing: Preprocessing, classes):
        self.path, self.settings, self.preprocessing = path, settings, preprocessing
        self.classes = tuple(classes)
        self._metrics: list[str] = []
        self._created = False

    @classmethod
    def create(cls, path: Path, settings: Settings, preprocessing: Preprocessing, classes) -> RunFolder:
        """Make a new folder, and see that files can be written to it.

        Raises
        ------
        RunError
            If it exists and holds something, or cannot be written.
        """
        run = cls(path, settings, preprocessing, classes)
        if path.exists() and not path.is_dir():
            raise RunError(f"run folder {str(path)!r} is a file; name another with --out")
        try:
            if path.exists() and any(path.iterdir()):
                raise RunError(f"run folder {str(path)!r} is not empty; name another with --out")
            run._created = not path.exists()
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            raise RunError(
                f"run folder {str(path)!r} cannot be written: {os.strerror(error.errno or 0)}; "
                "name another with --out"
            ) from None
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Read the settings of a run.

        Raises
        ------
        RunError
            If the folder or its settings are missing or damaged.
        """
        file = path / "settings.json"
        if not path.is_dir():
            raise RunError(f"run folder {str(path)!r} does not exist")
        if not file.is_file():
            raise RunError(f"{str(path)!r} is not a run folder: it has no settings.json")
        try:
            if file.stat().st_size > _MAX_SETTINGS_BYTES:
                raise RunError(f"{str(file)!r} is too large to be the settings of a run")
            values = json.loads(file.read_text(encoding="utf-8"))
            settings = Settings.from_dict(values["settings"])
            preprocessing = Preprocessing.from_dict(values["preprocessing"])
            classes = values["classes"]
            if not classes or not all(isinstance(name, str) for name in classes):
                raise RunError("classes should be a list of names")
            get_architecture(settings.model).require_fit(
                (preprocessing.channels, preprocessing.height, preprocessing.width)
            )
        except (ValueError, KeyError, TypeError, MiniAlexError, DataError) as error:
            reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else error
            raise RunError(f"{str(file)!r} is damaged: {reason}") from None
        return cls(path, settings, preprocessing, classes)

    @property
    def pictures(self) -> Path:
        return self.path / "pictures"

    def checkpoint(self, name: str) -> Path:
        """The path of the checkpoint ``"best"`` or ``"last"``."""
        return self.path / f"{name}.safetensors"

    def write_epoch(self, metrics: dict, network: Network, best: bool) -> None:
        """Write what an epoch brought: settings with the first one, metrics and checkpoints."""
        if not self._metrics:
            write_json(
                self.path / "settings.json",
                {
                    "minialex": __version__,
                    "settings": self.settings.to_dict(),
                    "preprocessing": self.preprocessing.to_dict(),
                    "classes": list(self.classes),
                },
            )
        notes = {"epoch": metrics["epoch"], "test_accuracy": metrics["test_accuracy"]}
        save_checkpoint(self.checkpoint("last"), network, **notes)
        if best:
            save_checkpoint(self.checkpoint("best"), network, **notes)
        self._metrics.append(json.dumps(metrics, allow_nan=False))
        write_text(self.path / "metrics.jsonl", "".join(f"{line}\n" for line in self._metrics))

    def write_result(self, result: dict) -> None:
        """Write the final figures."""
        write_json(self.path / "result.json", result)

    def discard_if_empty(self) -> None:
        """Remove the folder if no epoch was completed and it was made for this run."""
        if not self._metrics and self._created:
            shutil.rmtree(self.path, ignore_errors=True)

    def load_network(self, checkpoint: str = "best") -> Network:
        """Build the network of the run with the weights of a checkpoint, set to evaluation and frozen.

        Raises
        ------
        CheckpointError
            If the checkpoint is missing, damaged, or of another model.
        """
        network = get_architecture(self.settings.model).build(len(self.classes))
        load_checkpoint(self.checkpoint(checkpoint), network)
        return network.eval().freeze()
