"""A run as reports see it: what its folder holds, read once, and what its figures were measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minialex.data import DataLoader, ImageDataset
from minialex.data.registry import SOURCES
from minialex.training.assembly import make_test_loader
from minialex.training.recipes import Recipe
from minialex.training.run import open_data
from minialex.training.run_folder import RunFolder


@dataclass(frozen=True)
class RecordedRun:
    """A run folder with its metrics and figures.

    Attributes
    ----------
    folder : RunFolder
    history : list of dict
        The metrics of the epochs that were completed, as `EpochMetrics.to_dict` gives them.
    result : dict or None
        The final figures; None if the run is not finished.
    """

    folder: RunFolder
    history: list[dict]
    result: dict | None

    @classmethod
    def open(cls, path: Path) -> RecordedRun:
        """Read a run folder.

        Raises
        ------
        RunError
            If it is missing or damaged; the message names the file.
        """
        folder = RunFolder.open(path)
        return cls(folder, folder.history(), folder.result())

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def classes(self) -> tuple[str, ...]:
        return self.folder.classes

    @property
    def device(self) -> str:
        """Where the run computed, as it was asked for."""
        return self.folder.device

    @property
    def recipe(self) -> Recipe:
        return self.folder.recipe

    @property
    def settings(self) -> dict:
        """Everything that was asked for; tables may hold tables."""
        run = self.folder
        return run.recipe.to_dict() | {"data_dir": run.data_dir, "seed": run.seed, "device": run.device}

    @property
    def state(self) -> str:
        """``"finished"``, or how far it came."""
        if self.result is not None:
            return "finished"
        return f"unfinished, {len(self.history)} of {self.recipe.training.epochs} epochs done"

    @property
    def part(self) -> str:
        """What the figures after each epoch were measured on: ``"validation"`` or ``"test"`` images."""
        data = self.recipe.data
        return "test" if data.validation == "test" and SOURCES[data.source].has_test else "validation"

    @property
    def tested_part(self) -> str:
        """What the trained network is tested on: ``"test"`` images, or ``"validation"`` if that is all."""
        return "test" if SOURCES[self.recipe.data.source].has_test else "validation"

    @property
    def measured_on(self) -> str:
        """What the figures after each epoch were measured on, in full: the same text, the same images."""
        run, data = self.folder, self.recipe.data
        text = f"the {self.part} images of {data.source}, {len(run.classes)} classes"
        # What chooses among the images of the source.
        names = ["test_samples"] if data.validation == "test" else ["validation", "reserve", "train_samples"]
        chosen = {name: getattr(data, name) for name in names if getattr(data, name)}
        if chosen.keys() & {"test_samples", "train_samples"}:
            chosen |= {"replacement": data.replacement, "seed": run.seed}
        if not SOURCES[data.source].has_test:
            chosen["data_dir"] = run.data_dir
        return ", ".join([text, *(f"{name} {value}" for name, value in chosen.items())])

    def open_test_part(self, data_dir: str | None = None) -> ImageDataset:
        """The images that the network is tested on when it is trained.

        `data_dir` is where the data set's files are now, if not where they were.
        """
        return open_data(self.folder, data_dir).test

    def loader(self, dataset: ImageDataset) -> DataLoader:
        """The batches of a test part, prepared as the run prepares them."""
        return make_test_loader(dataset, self.folder.pipeline, self.recipe.data)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """An image uint8 (C, H, W) as the run tests it: float32 (1, C, H, W), or crops (1, 10, C, H, W)."""
        return self.folder.pipeline(image)[None]
