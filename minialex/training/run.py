"""A whole run: from a recipe to a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from minialex.availability import choose_device
from minialex.data import DataLoader
from minialex.data.registry import SOURCES
from minialex.errors import RunError
from minialex.models import get_architecture
from minialex.random import manual_seed
from minialex.training import pictures
from minialex.training.assembly import (
    make_loss,
    make_network,
    make_optimizer,
    make_schedule,
    make_test_loader,
)
from minialex.training.callbacks import Callback, Checkpoints, EarlyStopping, MetricsFile, TensorBoard
from minialex.training.callbacks.best import Best
from minialex.training.data_parts import Parts, colour_statistics, load_parts
from minialex.training.diagnosis import PATIENCE_STEPS, guessing_message, is_guessing
from minialex.training.evaluation import Evaluation, evaluate
from minialex.training.run_folder import RunFolder, RunSettings, default_folder
from minialex.training.state import TrainingState
from minialex.training.trainer import Options, Trainer

_TOP_K, _TOP_NAME = 5, "top5_accuracy"


@dataclass(frozen=True)
class Result:
    """The outcome of a run.

    Attributes
    ----------
    run : RunFolder
    figures : dict
        As result.json holds them.
    part : "test" or "validation"
        What `accuracy` was measured on.
    guessing : str or None
        What to tell the user if the network has learned nothing.
    failed : bool
        Whether it had the time to learn something, was expected to, and did not.
    stopped : str or None
        Why training ended before the last epoch, if it did.
    """

    run: RunFolder
    figures: dict
    part: str
    guessing: str | None
    failed: bool
    stopped: str | None

    @property
    def accuracy(self) -> float:
        """What the run ends with: on the test part if there is one, else on the validation images."""
        return self.figures[f"{self.part}_accuracy"]


class _LastValidation(Callback):
    """Remembers what the network gave for the validation images after the last epoch."""

    def __init__(self):
        self.evaluation: Evaluation | None = None

    def after_epoch(self, metrics, network, validation):
        self.evaluation = validation


def prepare(settings: RunSettings) -> tuple[RunSettings, Parts]:
    """Load the data of a new run, and write its transforms out for the model and the data.

    Raises
    ------
    MiniAlexError
        If the data cannot be read, or the transforms do not make the model's input of it.
    """
    recipe = settings.recipe
    input_shape = get_architecture(recipe.model.name).input_shape
    parts = load_parts(recipe.data, settings.data_dir, input_shape[0], settings.seed)
    statistics = None
    if recipe.transforms.need_statistics:
        statistics = colour_statistics(parts.train, recipe.data.damaged, settings.seed)
    transforms = recipe.transforms.resolved(input_shape, statistics)
    for part in ("train", "validation", "test"):
        transforms.pipeline(part).check_output(parts.source_shape, input_shape)
    return replace(settings, recipe=replace(recipe, transforms=transforms)), parts


def open_data(run: RunFolder, data_dir: str | None = None) -> Parts:
    """Load the data of a run that has been made, divided as it was then.

    Parameters
    ----------
    data_dir : str, optional
        Where the data set's files are now, if not where they were.

    Raises
    ------
    DataError
        If the data cannot be read.
    RunError
        If its classes are not those of the run.
    """
    recipe = run.recipe
    channels = get_architecture(recipe.model.name).input_shape[0]
    parts = load_parts(recipe.data, data_dir or run.data_dir, channels, run.seed)
    if parts.classes != run.classes:
        raise RunError(
            f"the data has the classes {', '.join(parts.classes)}, the run {', '.join(run.classes)}; "
            "name the folder of the run's data with --data-dir"
        )
    return parts


def train(
    settings: RunSettings, parts: Parts, out: Path | None = None, callbacks: Sequence[Callback] = ()
) -> Result:
    """Train a network as a recipe says, and leave a run folder.

    Parameters
    ----------
    settings, parts
        As `prepare` gives them.
    out : Path, optional
        The run folder; see `default_folder` if not given.
    callbacks : sequence of Callback

    Raises
    ------
    MiniAlexError
        If the device, the folder or the model's input do not fit, or training fails.
    """
    choose_device(settings.device)
    run = RunFolder.create(out or default_folder(settings.recipe), settings, parts.classes)
    try:
        return resume(run, parts, None, callbacks)
    except BaseException:
        run.discard_if_empty()
        raise


def resume(
    run: RunFolder, parts: Parts, state: TrainingState | None, callbacks: Sequence[Callback] = ()
) -> Result:
    """Go on with a run from a state; the result is bit for bit that of a run without the interruption.

    Parameters
    ----------
    run : RunFolder
    parts : Parts
        As `open_data` gives them.
    state : TrainingState or None
        As `load_latest_state` gives it; None is the beginning.
    callbacks : sequence of Callback

    Raises
    ------
    MiniAlexError
        If the state does not fit the run, or training fails.
    """
    recipe = run.recipe
    last_validation = _LastValidation()
    checkpoints = Checkpoints(
        run.path,
        monitor=recipe.checkpoint.monitor,
        mode=recipe.checkpoint.mode,
        every_seconds=recipe.checkpoint.every_seconds,
    )
    own = [MetricsFile(run.path / "metrics.jsonl"), checkpoints, last_validation]
    if recipe.training.tensorboard:
        own.append(TensorBoard(run.path / "tensorboard"))
    if recipe.training.early_stop is not None:
        own.append(
            EarlyStopping(recipe.checkpoint.monitor, recipe.training.early_stop, recipe.checkpoint.mode)
        )
    trainer = _make_trainer(run, parts, (*own, *callbacks))
    if not SOURCES[recipe.data.source].has_test:
        run.write_class_indices()
    if state is not None:
        trainer.load_state_dict(state)
    trainer.fit(recipe.training.epochs)

    network, device = trainer.network, trainer.options.device
    validation = last_validation.evaluation
    if validation is None:
        # The state was that of the end: no epoch was left.
        validation = evaluate(network, trainer.validation, device)
    test = None
    if parts.test is not parts.validation or recipe.transforms.validation is not None:
        loader = make_test_loader(parts.test, recipe.transforms.pipeline("test"), recipe.data)
        test = evaluate(network, loader, device)
    elif parts.validation_name == "test":
        test = validation
    _draw(run, parts, trainer, validation if test is None else test)
    figures = _figures(run, parts, trainer, checkpoints.best, test)
    run.finish(figures)
    return _judge(run, trainer, figures, "validation" if test is None else "test")


def _make_trainer(run: RunFolder, parts: Parts, callbacks: Sequence[Callback]) -> Trainer:
    """The trainer of a run, at its beginning."""
    recipe, training = run.recipe, run.recipe.training
    device, _ = choose_device(run.device)
    manual_seed(run.seed)
    network = make_network(recipe.model, len(run.classes)).to(device)
    loader = DataLoader(
        parts.train,
        training.batch_size,
        transform=recipe.transforms.pipeline("train"),
        shuffle=True,
        seed=run.seed,
        on_error=recipe.data.damaged,
    )
    validation = make_test_loader(parts.validation, recipe.transforms.pipeline("validation"), recipe.data)
    optimizer = make_optimizer(network, recipe.optimizer)
    measures = {}
    if SOURCES[recipe.data.source].wants_top5 and len(run.classes) > _TOP_K:
        measures[f"validation_{_TOP_NAME}"] = _top_5
    options = Options(
        schedule=make_schedule(optimizer, recipe.schedule, loader, training),
        device=device,
        clip_norm=training.clip_norm,
        accumulate=training.accumulate,
        loss=make_loss(recipe.data.labels),
        validation_metrics=measures,
    )
    return Trainer(network, optimizer, loader, validation, options, callbacks)


def _top_5(evaluation: Evaluation) -> float:
    return evaluation.top_k(_TOP_K)


def _figures(run: RunFolder, parts: Parts, trainer: Trainer, best: Best, test: Evaluation | None) -> dict:
    """What result.json holds."""
    history, last = trainer.history, trainer.history[-1]
    figures = {
        "recipe": run.recipe.name,
        "model": run.recipe.model.name,
        "data": run.recipe.data.source,
        "device": trainer.options.device,
        "seed": run.seed,
        "epochs": trainer.epoch,
        "parameters": sum(p.size for p in trainer.network.parameters()),
        "train_images": len(parts.train),
        "validation_images": len(parts.validation),
        "train_loss": last.train_loss,
        "validation_loss": last.validation_loss,
        "validation_accuracy": last.validation_accuracy,
        **last.extra,
        "best_epoch": best.epoch,
        f"best_{best.monitor}": best.value,
    }
    if test is not None:
        figures |= {
            "test_images": len(test.labels),
            "test_loss": test.loss,
            "test_accuracy": test.accuracy,
        }
        if trainer.options.validation_metrics:
            figures[f"test_{_TOP_NAME}"] = _top_5(test)
    return figures | {
        "seconds": trainer.seconds,
        "images_per_second": sum(m.images_per_second for m in history) / len(history),
        "run": str(run.path),
    }


def _judge(run: RunFolder, trainer: Trainer, figures: dict, part: str) -> Result:
    """Say whether the network has learned anything, and whether it should have."""
    classes, why, loss = len(run.classes), run.recipe.report.guessing, trainer.history[-1].train_loss
    guessing = None
    if is_guessing(loss, classes):
        guessing = guessing_message(loss, classes, run.recipe.optimizer.lr, why)
    failed = guessing is not None and not why and trainer.steps >= PATIENCE_STEPS
    return Result(run, figures, part, guessing, failed, trainer.stopped)


def _draw(run: RunFolder, parts: Parts, trainer: Trainer, last: Evaluation) -> None:
    """Draw the pictures; `last` is of the test part, or of the validation images if they are all there is."""
    part = parts.test_name
    run.pictures.mkdir(exist_ok=True)
    pictures.draw_first(run.pictures / "first.png", parts.train)
    pictures.draw_curves(run.pictures / "curves.png", trainer.history, parts.validation_name)
    pictures.draw_confusion(run.pictures / "confusion.png", last.confusion(), run.classes, part)
    pictures.draw_filters(run.pictures / "filters.png", trainer.network)
    pictures.draw_worst(run.pictures / "worst.png", last, parts.test, part=part)
