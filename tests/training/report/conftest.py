"""A run without a folder: an untrained network, random images, and figures that the test chooses."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minialex as ma
from minialex.data import ArrayDataset
from minialex.errors import DamagedSample
from minialex.models.architecture import (
    CLASSES as OUTPUTS,
)
from minialex.models.architecture import (
    Architecture,
    batch_norm,
    conv,
    dense,
    dropout,
    flatten,
    max_pool,
    relu,
)
from minialex.models.initialisers import initialise
from minialex.training.recipes.recipe import Adam
from minialex.training.report.run_page import write_run_page

CLASSES = (
    "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen_of_1908",
    "<script>document.title = 'ran'</script>",
    '"><img src=x>',
    "$x$ & co",
    "猫",
)

TINY = Architecture(
    name="tiny",
    source="",
    input_shape=(3, 16, 16),
    num_classes=5,
    layers=(
        conv(8, 3, padding=1),
        relu(),
        max_pool(2, 2),
        conv(6, 3),
        batch_norm(),
        relu(),
        flatten(),
        dense(150),
        relu(),
        dropout(),
        dense(OUTPUTS),
    ),
    initialiser="he",
    # (3 * 9 + 1) * 8 + (8 * 9 + 1) * 6 + 2 * 6 + (6 * 6 * 6 + 1) * 150 + (150 + 1) * 5
    trainable_parameters=33_979,
    differs="",
)


def epoch(number, accuracy, loss=1.0, **changes):
    """One epoch's metrics; the training figures are a little better."""
    return {
        "epoch": number,
        "train_loss": loss * 0.9,
        "train_accuracy": min(1.0, accuracy + 0.01),
        "validation_loss": loss,
        "validation_accuracy": accuracy,
        "lr": 0.001,
        "seconds": 10.0,
        "images_per_second": 100.0,
        **changes,
    }


class _Batches:
    """A loader: the batches of an epoch, all alike."""

    def __init__(self, run, dataset):
        self._run, self._dataset = run, dataset

    def __iter__(self):
        return self._run.batches_of(self._dataset)

    def batches(self, epoch):
        return iter(self)


@dataclass
class SmallRun:
    """What `RecordedRun` tells of a run folder, made up."""

    path: Path = Path("/runs/small")
    recipe_name: str = "small"
    model: str = "alexnet_cifar_thinner4"
    data: str = "noise"
    classes: tuple = CLASSES
    history: list = field(default_factory=lambda: [epoch(1, 0.5, 1.2), epoch(2, 0.7, 0.8)])
    result: dict | None = field(default_factory=dict)
    epochs: int = 2
    batch_size: int = 4
    part: str = "validation"
    tested_part: str = "test"
    title: str = "A small run"
    expected: str = ""
    why_guessing: str = ""
    damaged: tuple = ()  # numbers of images
    crops: bool = False
    bias: float = 0.0  # of the last layer
    measured_on: str = "the validation images of noise"
    device: str = "cpu"
    count: int = 12
    settings: dict = field(default_factory=lambda: {"model": {"name": "small"}, "seed": 0})

    @property
    def recipe(self):
        return SimpleNamespace(
            name=self.recipe_name,
            title=self.title,
            model=SimpleNamespace(name=self.model),
            data=SimpleNamespace(source=self.data),
            optimizer=Adam(lr=0.001),
            training=SimpleNamespace(batch_size=self.batch_size, epochs=self.epochs),
            report=SimpleNamespace(document=self.expected, guessing=self.why_guessing),
        )

    @property
    def state(self):
        return "finished" if self.result is not None else "unfinished, 2 of 5 epochs done"

    @property
    def folder(self):
        def load_network(checkpoint):
            network = TINY.build(len(self.classes))
            ma.manual_seed(0)
            initialise(network, TINY.initialiser)
            network.fc4.bias.data[:] = self.bias
            return network.eval().freeze()

        return SimpleNamespace(load_network=load_network)

    def open_test_part(self, data_dir=None):
        random = np.random.default_rng(0)
        images = random.integers(0, 256, (self.count, 3, 16, 16), dtype=np.uint8)
        labels = np.arange(self.count) % len(self.classes)
        return PartlyDamaged(images, labels, self.classes, "noise", self.damaged)

    def loader(self, dataset):
        return _Batches(self, dataset)

    def batches_of(self, dataset):
        kept = [i for i in range(len(dataset)) if i not in dataset.damaged]
        for start in range(0, len(kept), 5):
            images, labels = dataset.batch(kept[start : start + 5])
            yield np.concatenate([self.prepare(image) for image in images]), labels

    def prepare(self, image):
        x = image[None] / np.float32(255) - np.float32(0.5)
        if not self.crops:
            return x
        noise = np.random.default_rng(1).standard_normal((1, 10, *image.shape), dtype=np.float32)
        noise[:, 4] = x
        return noise


class PartlyDamaged(ArrayDataset):
    """Some of its images cannot be read."""

    def __init__(self, images, labels, classes, name, damaged):
        super().__init__(images, labels, classes, name)
        object.__setattr__(self, "damaged", damaged)

    def __getitem__(self, index):
        if index in self.damaged:
            raise DamagedSample(f"{index}.jpg", "it is cut off")
        return super().__getitem__(index)

    def subset(self, indices, name=None):
        images, labels = self.batch(indices)
        return PartlyDamaged(images, labels, self.classes, self.name, ())


@pytest.fixture(scope="session")
def small_run():
    """Make a `SmallRun`; arguments replace what it tells."""
    return SmallRun


@pytest.fixture(scope="session")
def metrics():
    """Make the metrics of an epoch: its number, accuracy and loss, and other figures by name."""
    return epoch


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """The page of a small run, and what its test gave."""
    out = tmp_path_factory.mktemp("page") / "report.html"
    return out, write_run_page(SmallRun(), out)
