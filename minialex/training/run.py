"""A whole run: from settings to a run folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minialex.data import ArrayDataset, DataLoader
from minialex.devices import choose_device
from minialex.models import Network, create_model
from minialex.optim import Adam
from minialex.optim.lr_scheduler import CosineAnnealingLR, WarmupLR
from minialex.random import manual_seed
from minialex.training import pictures
from minialex.training.diagnosis import PATIENCE_STEPS, guessing_message, is_guessing
from minialex.training.evaluation import Evaluation, evaluate
from minialex.training.run_folder import RunFolder, default_folder
from minialex.training.settings import Settings
from minialex.training.sources import load_source
from minialex.training.trainer import Callback, EpochMetrics, Trainer

TEST_BATCH = 250
_WARMUP_SHARE = 0.1


@dataclass(frozen=True)
class Result:
    """What a run came to.

    Attributes
    ----------
    run : RunFolder
    figures : dict
        As result.json holds them.
    guessing : str or None
        What to tell the user if the network has learned nothing.
    failed : bool
        Whether it had the time to learn something, and has not.
    """

    run: RunFolder
    figures: dict
    guessing: str | None
    failed: bool


class _Recorder(Callback):
    """Writes the run folder as the epochs pass."""

    def __init__(self, run: RunFolder):
        self.run = run
        self.history: list[EpochMetrics] = []
        self.best: EpochMetrics | None = None
        self.test: Evaluation | None = None

    def after_epoch(self, metrics, network, test):
        is_best = self.best is None or metrics.test_accuracy > self.best.test_accuracy
        if is_best:
            self.best = metrics
        self.run.write_epoch(metrics.to_dict(), network, is_best)
        self.history.append(metrics)
        self.test = test


def load_parts(settings: Settings) -> tuple[ArrayDataset, ArrayDataset]:
    """The training and the test part of the run's data set."""
    return load_source(settings.data, settings.data_dir)


def train(
    settings: Settings,
    parts: tuple[ArrayDataset, ArrayDataset],
    out: Path | None = None,
    callbacks: Sequence[Callback] = (),
) -> Result:
    """Train a network, and leave a run folder.

    Adam, with a rate that rises over the first tenth of the steps and falls along a cosine to zero.

    Parameters
    ----------
    settings : Settings
    parts : (ArrayDataset, ArrayDataset)
        What to train and what to test on; see `load_parts`.
    out : Path, optional
        The run folder; named after the model, data and time if not given.
    callbacks : sequence of Callback

    Raises
    ------
    MiniAlexError
        If the device, the folder or the model's input do not fit, or training fails.
    """
    device, _ = choose_device(settings.device)
    train_set, test_set = parts
    preprocessing = settings.preprocessing()
    preprocessing.steps(train_set.images.shape[1:])
    run = RunFolder.create(out or default_folder(settings), settings, preprocessing, train_set.classes)
    try:
        manual_seed(settings.seed)
        network = create_model(settings.model, len(train_set.classes)).to(device)
        train_loader = DataLoader(
            train_set, settings.batch_size, preprocess=preprocessing, shuffle=True, seed=settings.seed
        )
        test_loader = DataLoader(test_set, TEST_BATCH, preprocess=preprocessing)
        optimizer = Adam(network.parameters(), lr=settings.lr)
        steps = settings.epochs * len(train_loader)
        warmup = max(1, round(_WARMUP_SHARE * steps))
        schedule = WarmupLR(optimizer, warmup, CosineAnnealingLR(optimizer, max(1, steps - warmup)))
        recorder = _Recorder(run)
        trainer = Trainer(
            network, optimizer, schedule, train_loader, test_loader,
            device=device, callbacks=(recorder, *callbacks),
        )  # fmt: skip
        start = time.perf_counter()
        last = trainer.fit(settings.epochs)
        seconds = time.perf_counter() - start
    except BaseException:
        run.discard_if_empty()
        raise
    _draw(run, network, recorder, test_set)
    figures = {
        "model": settings.model,
        "data": settings.data,
        "device": device,
        "seed": settings.seed,
        "epochs": settings.epochs,
        "parameters": sum(p.size for p in network.parameters()),
        "train_images": len(train_set),
        "test_images": len(test_set),
        "train_loss": last.train_loss,
        "test_loss": last.test_loss,
        "test_accuracy": last.test_accuracy,
        "best_test_accuracy": recorder.best.test_accuracy,
        "best_epoch": recorder.best.epoch,
        "seconds": seconds,
        "images_per_second": sum(m.images_per_second for m in recorder.history) / len(recorder.history),
        "run": str(run.path),
    }
    run.write_result(figures)
    classes = len(train_set.classes)
    guessing = None
    if is_guessing(last.train_loss, classes):
        guessing = guessing_message(last.train_loss, classes, settings.lr)
    return Result(run, figures, guessing, guessing is not None and trainer.steps >= PATIENCE_STEPS)


def _draw(run: RunFolder, network: Network, recorder: _Recorder, test_set: ArrayDataset) -> None:
    run.pictures.mkdir(exist_ok=True)
    pictures.draw_curves(run.pictures / "curves.png", recorder.history)
    pictures.draw_confusion(run.pictures / "confusion.png", recorder.test.confusion(), run.classes)
    pictures.draw_filters(run.pictures / "filters.png", network)
    pictures.draw_worst(run.pictures / "worst.png", recorder.test, test_set)


def evaluate_run(
    run: RunFolder, checkpoint: str, data_dir: str | None = None, device: str | None = None
) -> Evaluation:
    """Test a checkpoint of a run on the test part of its data set.

    Parameters
    ----------
    data_dir : str, optional
        Where the data set's files are now, if not where they were.
    device : str, optional
        Where to compute, if not where the run did.
    """
    settings = run.settings
    device, _ = choose_device(device or settings.device)
    network = run.load_network(checkpoint).to(device)
    _, test_set = load_source(settings.data, data_dir or settings.data_dir)
    loader = DataLoader(test_set, TEST_BATCH, preprocess=run.preprocessing)
    return evaluate(network, loader, device)
