"""The data of a run: how a data set is divided into what is trained, validated and tested on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minialex.data import ArrayDataset, ImageDataset
from minialex.data.pca import ColourStatistics, pca_of
from minialex.data.permutation import DRAW, permutation, with_replacement
from minialex.data.registry import SOURCES
from minialex.errors import DamagedSample, DataError
from minialex.training.recipes.recipe import Data

# How many images are read for the statistics that a transform takes from the training set.
STATISTICS_IMAGES = 10_000
# Which random order of a seed each takes.
_TRAIN_DRAW, _TEST_DRAW, _STATISTICS_DRAW = 0, 1, 2


@dataclass(frozen=True)
class Parts:
    """What a run trains and tests on.

    Attributes
    ----------
    train : ImageDataset
    validation : ImageDataset
        What is measured after each epoch.
    test : ImageDataset
        What is measured in the end; the same object as `validation` if there is nothing else.
    validation_name : "test" or "validation"
        What to call `validation`: the data set's test part, or images held back from training.
    """

    train: ImageDataset
    validation: ImageDataset
    test: ImageDataset
    validation_name: str

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    @property
    def test_name(self) -> str:
        """What to call `test`: "test", or "validation" if the data set has nothing else."""
        return self.validation_name if self.test is self.validation else "test"

    @property
    def source_shape(self) -> tuple[int, int | None, int | None]:
        """(C, H, W) of the images; H and W are None where they differ from image to image."""
        if isinstance(self.train, ArrayDataset):
            return self.train.images.shape[1:]
        return {"RGB": 3, "L": 1}[self.train.mode], None, None


def load_parts(data: Data, folder: str | None, channels: int, seed: int) -> Parts:
    """Load a run's data set and divide it as the recipe says; the same for the same seed.

    Parameters
    ----------
    data : Data
        The recipe's table.
    folder : str, optional
        ``--data-dir``.
    channels : int
        Of the model's input: images in folders are read in grey for 1, else in colour.
    seed : int
        Which images are drawn, where only some are.

    Raises
    ------
    DataError
        If the data set needs a folder and there is none, or the other way round; if its files are not as
        they should be, or too few.
    """
    source = SOURCES[data.source]
    if source.needs_folder and folder is None:
        raise DataError(f"data set {data.source!r} reads a folder; name it with --data-dir")
    if not source.needs_folder and folder is not None:
        raise DataError(f"data set {data.source!r} brings its own images; leave out --data-dir {folder}")
    train, test = source.open(folder, mode="L" if channels == 1 else "RGB")
    if data.values == "unit":
        train, test = _through_unit_values(train), _through_unit_values(test)
    if data.reserve:
        if data.reserve >= len(train):
            raise DataError(
                f"data.reserve={data.reserve:,} leaves none of the {len(train):,} training images"
            )
        train = train.subset(np.arange(data.reserve, len(train)))
    train = _drawn(train, data.train_samples, data.replacement, seed, _TRAIN_DRAW)
    test = _drawn(test, data.test_samples, data.replacement, seed, _TEST_DRAW)
    if data.validation == "test":
        return Parts(train, test, test, "test" if source.has_test else "validation")
    # Keras: split_at = int(floor(n * (1 - validation_split))), before anything is shuffled.
    kept = int(np.floor(len(train) * (1.0 - data.validation)))
    if not 0 < kept < len(train):
        raise DataError(
            f"data.validation={data.validation} of {len(train):,} training images leaves {kept:,} to train "
            f"on and {len(train) - kept:,} to validate on; each needs at least one"
        )
    numbers = np.arange(len(train))
    return Parts(train.subset(numbers[:kept]), train.subset(numbers[kept:]), test, "validation")


def _through_unit_values(dataset: ImageDataset) -> ImageDataset:
    """The data set as one gets it from images 0..1 and one-hot labels, the form of `read_data_sets`."""
    if not isinstance(dataset, ArrayDataset):
        raise DataError(
            'data.values="unit" is for data sets of arrays (digits, mnist, cifar10), not for files'
        )
    images = dataset.images / np.float32(255)
    one_hot = np.eye(len(dataset.classes), dtype=np.float32)[dataset.labels]
    return ArrayDataset.from_normalised(images, one_hot, dataset.classes, dataset.name)


def _drawn(dataset: ImageDataset, count: int | None, replacement: bool, seed: int, draw: int) -> ImageDataset:
    """`count` images drawn at random, as a pure function of the seed; without a count, all in order."""
    if count is None:
        return dataset
    size = len(dataset)
    if replacement:
        return dataset.subset(with_replacement(size, count, seed=seed, draw=draw))
    if count > size:
        raise DataError(f"{count:,} images are asked for, and data set {dataset.name} has {size:,}")
    return dataset.subset(permutation(size, seed=seed, draw=draw, use=DRAW)[:count])


def colour_statistics(train: ImageDataset, damaged: str, seed: int) -> ColourStatistics:
    """Mean and principal components of the colours of a training set, for the transforms that want them.

    Of all images, or of `STATISTICS_IMAGES` drawn at random where there are more.

    Raises
    ------
    DamagedSample
        If a file cannot be read, unless `damaged` is "skip".
    """
    if len(train) > STATISTICS_IMAGES:
        order = permutation(len(train), seed=seed, draw=_STATISTICS_DRAW, use=DRAW)
        train = train.subset(order[:STATISTICS_IMAGES])
    if damaged == "skip":
        train = train.subset([i for i in range(len(train)) if _is_readable(train, i)])
    return pca_of(train)


def _is_readable(dataset: ImageDataset, index: int) -> bool:
    try:
        dataset[index]
    except DamagedSample:
        return False
    return True
