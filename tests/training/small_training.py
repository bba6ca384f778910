"""A training small enough to be repeated many times that has everything a state must hold.

The network has dropout (its random numbers), batch normalisation (running statistics) and what these are
between; the images are shuffled and augmented.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open

import minialex as ma
from minialex import optim
from minialex.data import ArrayDataset, DataLoader
from minialex.data.transforms import Pipeline
from minialex.models import Network
from minialex.models.architecture import Architecture, batch_norm, conv, dense, dropout, flatten, relu
from minialex.models.initialisers import initialise
from minialex.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    MultiStepLR,
    ReduceLROnPlateau,
    StepLR,
    WarmupLR,
)
from minialex.training.callbacks import Callback, Checkpoints, EarlyStopping, MetricsFile
from minialex.training.state import load_latest_state
from minialex.training.trainer import Options, Trainer

SEED = 5
IMAGES, BATCH, EPOCHS = 52, 8, 3
BATCHES = 7  # an epoch; the last has four images
TIMES = ("seconds", "images_per_second")

ARCHITECTURE = Architecture(
    "small",
    "a test",
    (1, 6, 6),
    3,
    (conv(4, 3), batch_norm(), relu(), dropout(0.25), flatten(), dense("classes")),
    "he",
    0,
    "Everything.",
)

OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.05),
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "nesterov": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "adamw": lambda p: optim.AdamW(p, lr=0.01),
}

# The plateau takes nothing for an improvement after the first epoch, so that the rate falls in these three.
SCHEDULES = {
    "none": lambda o: None,
    "step": lambda o: StepLR(o, 4, 0.5),
    "milestones": lambda o: MultiStepLR(o, [3, 9], 0.5),
    "exponential": lambda o: ExponentialLR(o, 0.95),
    "cosine": lambda o: CosineAnnealingLR(o, EPOCHS * BATCHES),
    "warm-up": lambda o: WarmupLR(o, 5, CosineAnnealingLR(o, EPOCHS * BATCHES - 5)),
    "epochs": lambda o: StepLR(o, 1, 0.5, per="epoch"),
    "plateau": lambda o: ReduceLROnPlateau(o, "max", 0.5, 0, threshold=5, monitor="train_accuracy"),
}


def network() -> Network:
    """The network with its first weights, which follow from the seed."""
    ma.manual_seed(SEED)
    built = ARCHITECTURE.build()
    initialise(built, "he")
    return built


def dataset(seed: int) -> ArrayDataset:
    """Three classes that differ in which third of the image is bright, hidden in noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(IMAGES) % 3
    images = random.integers(0, 200, (IMAGES, 1, 6, 6))
    for image, label in zip(images, labels, strict=True):
        image[0, 2 * label : 2 * label + 2] += 50
    return ArrayDataset(images.astype(np.uint8), labels, ("a", "b", "c"), "thirds")


def make(
    folder: Path,
    *,
    optimizer: str = "adam",
    schedule: str = "cosine",
    every_seconds: float = 0.0,
    device: str = "cpu",
    first: Sequence[Callback] = (),
    **options,
) -> Trainer:
    """A trainer at its beginning, with the files of a run in a folder; `first` are its first callbacks."""
    trained = network().to(device)
    chosen = OPTIMIZERS[optimizer](trained.parameters())
    augmented = Pipeline.from_list(
        [
            {"name": "random_crop", "size": [6, 6], "padding": 1},
            {"name": "horizontal_flip"},
            {"name": "scale"},
        ]
    )
    return Trainer(
        trained,
        chosen,
        DataLoader(dataset(0), BATCH, transform=augmented, shuffle=True, seed=SEED),
        DataLoader(dataset(1), 20, transform=Pipeline.from_list([{"name": "scale"}])),
        Options(schedule=SCHEDULES[schedule](chosen), device=device, **options),
        callbacks=(
            *first,
            MetricsFile(folder / "metrics.jsonl"),
            EarlyStopping("train_loss", patience=50),
            Checkpoints(folder, every_seconds=every_seconds),
        ),
    )


def resume(folder: Path, **options) -> tuple[Trainer, str | None]:
    """A trainer that goes on from the latest state in a folder, and the note about that state."""
    trainer = make(folder, **options)
    state, note = load_latest_state(folder)
    # Whatever ran in this process before must not matter.
    ma.manual_seed(99)
    trainer.load_state_dict(state)
    return trainer, note


def bits(trainer: Trainer) -> dict:
    """Everything that must be the same after a resume: numbers as they are, arrays by their SHA-256."""
    state = trainer.state_dict()
    arrays = dict(state.network)
    for index, entry in state.optimizer["state"].items():
        arrays |= {f"optimizer.{index}.{name}": np.asarray(value) for name, value in entry.items()}
    history = [metrics.to_dict() for metrics in state.history]
    for line in history:
        for name in TIMES:
            assert line.pop(name) > 0
    return json.loads(
        json.dumps(
            {
                "position": [state.epoch, state.batch, state.steps, state.stopped],
                "arrays": {
                    name: hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
                    for name, array in sorted(arrays.items())
                },
                "options": state.optimizer["param_groups"],
                "schedule": state.schedule,
                "random": state.random,
                "callbacks": state.callbacks,
                "history": history,
            }
        )
    )


def files(folder: Path) -> dict:
    """What a run leaves that must be the same after a resume: weights, and metrics without the times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {
        "metrics": [{name: line[name] for name in line if name not in TIMES} for line in lines],
        **{name: _checkpoint(folder / f"{name}.safetensors") for name in ("last", "best")},
    }


def _checkpoint(path: Path) -> dict:
    """The notes and the arrays' SHA-256; safetensors writes the notes in any order."""
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        return {
            "notes": file.metadata(),
            "arrays": {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()},
        }
