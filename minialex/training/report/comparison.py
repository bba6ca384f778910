"""Runs side by side: one row of figures each, and what to know before comparing them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from minialex.models import get_architecture, summarise
from minialex.training.learning_curves import RunCurves
from minialex.training.report.recorded_run import RecordedRun


@dataclass(frozen=True)
class ComparedRun:
    """A row of the comparison; None stands for what an unfinished run does not have yet.

    Attributes
    ----------
    name : str
        The end of the folder's path, as long as it takes to tell the runs apart.
    path, recipe, model, data : str
    state : str
        ``"finished"``, or how far the run came.
    part : str
        What `best_accuracy` to `last_loss` were measured on: ``"validation"`` or ``"test"`` images.
    parameters : int
        The trained ones.
    weight_bytes : int
        The size of all weights and running statistics in float32, of which a checkpoint consists.
    epochs, planned_epochs : int
        Completed, and asked for.
    best_accuracy : float or None
        The highest after an epoch, 0 to 1.
    best_epoch : int or None
        The first epoch that reached it.
    last_accuracy, last_loss : float or None
        After the last epoch.
    test_accuracy : float or None
        On the test part, measured when the run had finished; None as well if `part` is the test part.
    seconds : float or None
        Of training, all epochs together.
    images_per_second : float or None
        Of training, the mean over its epochs, each counted by its time.
    """

    name: str
    path: str
    recipe: str
    model: str
    data: str
    state: str
    part: str
    parameters: int
    weight_bytes: int
    epochs: int
    planned_epochs: int
    best_accuracy: float | None
    best_epoch: int | None
    last_accuracy: float | None
    last_loss: float | None
    test_accuracy: float | None
    seconds: float | None
    images_per_second: float | None

    def to_dict(self) -> dict:
        """The row in types that JSON has."""
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes
    ----------
    rows : list of ComparedRun
        In the order in which they were named.
    notes : list of str
        What makes figures not comparable: sentences.
    runs : list of RecordedRun
    """

    rows: list[ComparedRun]
    notes: list[str]
    runs: list[RecordedRun]

    def curves(self) -> list[RunCurves]:
        """What a picture of the runs is drawn from."""
        return [
            RunCurves(row.name, run.history, run.part) for row, run in zip(self.rows, self.runs, strict=True)
        ]


def compare(runs: Sequence[RecordedRun]) -> Comparison:
    """Put the figures that runs have recorded side by side; nothing is computed again."""
    names = distinct_names([run.path for run in runs])
    rows = [_row(run, name) for run, name in zip(runs, names, strict=True)]
    return Comparison(rows, _notes(runs, names), list(runs))


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Name folders by the last parts of their paths: one, or as many for all as tell them apart.

    Folders that are the same one, however they are written, keep the same name.
    """
    resolved = [path.resolve() for path in paths]
    deepest = max((len(path.parts) for path in resolved), default=0)
    for parts in range(1, deepest + 1):
        names = ["/".join(path.parts[-parts:]) for path in resolved]
        if len(set(names)) == len(set(resolved)):
            break
    return names


def _row(run: RecordedRun, name: str) -> ComparedRun:
    history = run.history
    summary = summarise(get_architecture(run.recipe.model.name).build(len(run.classes)))
    measured = [epoch for epoch in history if epoch["validation_accuracy"] is not None]
    best = max(measured, key=lambda epoch: epoch["validation_accuracy"], default=None)
    last = measured[-1] if measured else None
    seconds = sum(epoch["seconds"] for epoch in history)
    images = sum(epoch["images_per_second"] * epoch["seconds"] for epoch in history)
    tested = run.part != "test" and run.result is not None
    return ComparedRun(
        name=name,
        path=str(run.path),
        recipe=run.recipe.name,
        model=run.recipe.model.name,
        data=run.recipe.data.source,
        state=run.state,
        part=run.part,
        parameters=summary.trainable_parameters,
        weight_bytes=4 * summary.parameters,
        epochs=len(history),
        planned_epochs=run.recipe.training.epochs,
        best_accuracy=best and best["validation_accuracy"],
        best_epoch=best and best["epoch"],
        last_accuracy=last and last["validation_accuracy"],
        last_loss=last and last["validation_loss"],
        test_accuracy=run.result.get("test_accuracy") if tested else None,
        seconds=seconds if history else None,
        images_per_second=images / seconds if seconds else None,
    )


def _notes(runs: Sequence[RecordedRun], names: Sequence[str]) -> list[str]:
    notes = [f"{name} is {run.state}." for run, name in zip(runs, names, strict=True) if run.result is None]
    groups: dict[str, list[str]] = {}
    for run, name in zip(runs, names, strict=True):
        groups.setdefault(run.measured_on, []).append(name)
    if len(groups) > 1:
        listed = "; ".join(f"{', '.join(members)}: {what}" for what, members in groups.items())
        notes.append(
            "The accuracies and losses are not comparable throughout, being measured on different images. "
            + listed
            + "."
        )
    return notes
