"""The run folder: everything that a training run leaves behind.

settings.json        the recipe, written out in full; classes, data folder, seed and device
metrics.jsonl        one JSON object a line and epoch
last.safetensors     the weights after the last epoch
best.safetensors     the weights after the epoch that the recipe's [checkpoint] calls the best
state.safetensors    what `minialex train --resume` resumes from, and state-previous.safetensors, the one
                     before; a finished run has neither
result.json          the final figures
class_indices.json   the classes by number, for data sets of image files
pictures/            first images, learning curves, confusion matrix, filters, worst errors
tensorboard/         event files, if the recipe wants them
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from minialex.checks import require_int
from minialex.data.transforms import Pipeline
from minialex.errors import MiniAlexError, RunError, UnloadedModelError
from minialex.files import write_json, write_text
from minialex.models import Network, get_architecture
from minialex.training.checkpoint import load_checkpoint
from minialex.training.metrics import EpochMetrics
from minialex.training.recipes import DEFAULT, Recipe
from minialex.training.state import DAMAGED_STATE_FILE, PREVIOUS_STATE_FILE, STATE_FILE
from minialex.version import __version__

# Settings are a few kilobytes, and metrics a few hundred bytes an epoch; anything larger is neither.
_MAX_SETTINGS_BYTES = 2**20
_MAX_METRICS_BYTES = 2**28
_KEYS = ("minialex", "recipe", "classes", "data_dir", "seed", "device")


@dataclass(frozen=True)
class RunSettings:
    """What a run is asked to do.

    Attributes
    ----------
    recipe : Recipe
    data_dir : str, optional
        The folder of a data set that reads one.
    seed : int
        What initial weights, the order of the images, augmentation and dropout follow from.
    device : str

    Raises
    ------
    RunError
        If the seed is out of range.
    """

    recipe: Recipe
    data_dir: str | None = None
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self):
        require_int("seed", self.seed, 0, 2**64 - 1, error=RunError)


def default_folder(recipe: Recipe) -> Path:
    """Name a run's folder after the recipe and the time.

    The default recipe's name says little, since ``--model`` and ``--data`` decide; they name its folder.
    """
    model = recipe.model.name.rpartition(":")[2]  # of FILE.py:NAME
    name = f"{model}-{recipe.data.source}" if recipe.name == DEFAULT else recipe.name
    return Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"


class RunFolder:
    """A run folder, made by `create` or read by `open`.

    Attributes
    ----------
    path : Path
    settings : RunSettings
    recipe : Recipe
        Resolved: transforms are written out, with the statistics of the training set in them.
    classes : tuple of str
    data_dir : str or None
    seed : int
    device : str
    """

    def __init__(self, path: Path, settings: RunSettings, classes: Sequence[str]):
        self.path, self.settings, self.classes = path, settings, tuple(classes)
        self.recipe, self.data_dir = settings.recipe, settings.data_dir
        self.seed, self.device = settings.seed, settings.device
        self._created = False

    @classmethod
    def create(cls, path: Path, settings: RunSettings, classes: Sequence[str]) -> RunFolder:
        """Make a new folder with its settings, and check that files can be written to it.

        Raises
        ------
        RunError
            If it exists and holds something, or cannot be written.
        """
        run = cls(path, settings, classes)
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
        write_json(
            path / "settings.json",
            {
                "minialex": __version__,
                "recipe": settings.recipe.to_dict(),
                "classes": list(run.classes),
                "data_dir": settings.data_dir,
                "seed": settings.seed,
                "device": settings.device,
            },
        )
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Read the settings of a run, trusting nothing about them.

        A network of one's own is loaded before, by `minialex.models.load_model`: nothing that the folder
        names is run.

        Raises
        ------
        RunError
            If the folder or its settings are missing or damaged.
        """
        path = Path(path)
        if not path.is_dir():
            raise RunError(f"run folder {str(path)!r} does not exist")
        file = path / "settings.json"
        if not file.is_file():
            raise RunError(f"{str(path)!r} is not a run folder: it has no settings.json")
        try:
            values = _read_json(file, _MAX_SETTINGS_BYTES)
            if not isinstance(values, dict) or set(values) != set(_KEYS):
                raise RunError(f"it must have exactly the entries {', '.join(_KEYS)}")
            classes = values["classes"]
            if (
                not isinstance(classes, list)
                or not classes
                or not all(isinstance(each, str) for each in classes)
            ):
                raise RunError("classes must be a list of names")
            if not isinstance(values["data_dir"], str | None) or not isinstance(values["device"], str):
                raise RunError("data_dir and device must be text")
            recipe = Recipe.from_dict(values["recipe"])
            if recipe.transforms.need_statistics:
                raise RunError("a transform lacks its statistics")
            settings = RunSettings(recipe, values["data_dir"], values["seed"], values["device"])
        except UnloadedModelError as error:
            raise RunError(f"the run {str(path)!r} needs its network: {error}") from None
        except (ValueError, MiniAlexError) as error:
            raise RunError(f"{str(file)!r} is damaged: {error}") from None
        return cls(path, settings, classes)

    @property
    def pictures(self) -> Path:
        return self.path / "pictures"

    @property
    def pipeline(self) -> Pipeline:
        """What images go through before testing and predicting."""
        return self.recipe.transforms.pipeline("test")

    def checkpoint(self, name: str) -> Path:
        """The path of the checkpoint ``"best"`` or ``"last"``."""
        return self.path / f"{name}.safetensors"

    def history(self) -> list[dict]:
        """The metrics of the completed epochs, as `EpochMetrics.to_dict` gives them; empty before the first.

        Raises
        ------
        RunError
            If the file is damaged; the message names the line.
        """
        file = self.path / "metrics.jsonl"
        if not file.exists():
            return []
        if file.stat().st_size > _MAX_METRICS_BYTES:
            raise RunError(f"{str(file)!r} is too large to be the metrics of a run")
        history = []
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            try:
                metrics = EpochMetrics.from_dict(json.loads(line))
                if metrics.epoch != number:
                    raise RunError(f"it is of epoch {metrics.epoch}")
            except (ValueError, RecursionError, MiniAlexError) as error:
                raise RunError(f"{str(file)!r} is damaged: line {number}: {error}") from None
            history.append(metrics.to_dict())
        return history

    def result(self) -> dict | None:
        """The final figures; None if the run is not finished.

        Raises
        ------
        RunError
            If the file is damaged.
        """
        file = self.path / "result.json"
        if not file.exists():
            return None
        try:
            result = _read_json(file, _MAX_SETTINGS_BYTES)
        except (ValueError, MiniAlexError) as error:
            raise RunError(f"{str(file)!r} is damaged: {error}") from None
        if not isinstance(result, dict):
            raise RunError(f"{str(file)!r} is damaged: it must hold a table of figures")
        return result

    def finish(self, result: dict) -> None:
        """Write the final figures, and remove the states: there is nothing left to go on with."""
        write_json(self.path / "result.json", result)
        for name in (STATE_FILE, PREVIOUS_STATE_FILE, DAMAGED_STATE_FILE):
            (self.path / name).unlink(missing_ok=True)

    def write_class_indices(self) -> None:
        """Write the classes by number, as the PyTorch document "AlexNet in detail" does."""
        text = json.dumps(dict(enumerate(self.classes)), indent=4)
        write_text(self.path / "class_indices.json", text)

    def discard_if_empty(self) -> None:
        """Remove the folder if it was made for this run and holds nothing to resume from."""
        kept = (STATE_FILE, PREVIOUS_STATE_FILE, "metrics.jsonl")
        if self._created and not any((self.path / name).exists() for name in kept):
            shutil.rmtree(self.path, ignore_errors=True)

    def load_network(self, checkpoint: str = "last") -> Network:
        """Build the network of the run with the weights of a checkpoint, set to evaluation and frozen.

        Parameters
        ----------
        checkpoint : "last" or "best"
            As the commands' ``--checkpoint``: after the last epoch, or after the best one.

        Raises
        ------
        CheckpointError
            If the checkpoint is missing, damaged, or of another model.
        """
        network = get_architecture(self.recipe.model.name).build(len(self.classes))
        load_checkpoint(self.checkpoint(checkpoint), network)
        return network.eval().freeze()


def _read_json(file: Path, max_bytes: int):
    if file.stat().st_size > max_bytes:
        raise RunError(f"it has more than {max_bytes:,} bytes")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except RecursionError:
        raise RunError("its tables are nested too deeply") from None
