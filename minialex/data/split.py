"""Dividing a data set into a part to train on and a part to test on."""

import math

import numpy as np

from minialex.checks import MAX_SEED, in_words, require_int, require_share
from minialex.data.permutation import SPLIT, permutation
from minialex.errors import DataError


def stratified_split(
    labels: np.ndarray,
    *,
    test_fraction: float | None = None,
    test_per_class: int | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Divide the samples of every class at random between training and testing.

    The result is a pure function of the arguments, the same on every machine.

    Parameters
    ----------
    labels : numpy.ndarray
        Integers, shape (N,). The classes are the values that occur.
    test_fraction : float, optional
        The share of every class to test on, between 0 and 1, both excluded. The number for a
        class is rounded to the nearest integer, a half upwards.
    test_per_class : int, optional
        How many samples of every class to test on, instead of a share.
    seed : int
        Which of the possible divisions; 0 to 2**64 - 1.

    Returns
    -------
    train_indices, test_indices : numpy.ndarray
        int64, ascending; together 0 to N - 1, each once.

    Raises
    ------
    DataError
        If an argument is not as described, if not exactly one of `test_fraction` and
        `test_per_class` is given, or if a class has too few samples to leave at least one on
        either side.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not labels.size:
        raise DataError(
            f"labels must be an integer array of shape (N,) with N at least 1, not {in_words(labels)}"
        )
    if (test_fraction is None) == (test_per_class is None):
        raise DataError("give exactly one of test_fraction and test_per_class")
    if test_per_class is not None:
        test_per_class = require_int("test_per_class", test_per_class, 1, len(labels), error=DataError)
    share = 0.0 if test_fraction is None else require_share("test_fraction", test_fraction, error=DataError)
    seed = require_int("seed", seed, 0, MAX_SEED, error=DataError)

    in_test = np.zeros(len(labels), dtype=bool)
    for position, label in enumerate(np.unique(labels)):
        members = np.flatnonzero(labels == label)
        wanted = test_per_class or math.floor(share * len(members) + 0.5)
        if not 1 <= wanted < len(members):
            raise DataError(
                f"class {label} has {len(members):,} samples, of which {wanted:,} would be for "
                "testing: each side needs at least one, so add samples or ask for another share"
            )
        order = permutation(len(members), seed=seed, draw=position, use=SPLIT)
        in_test[members[order[:wanted]]] = True
    return np.flatnonzero(~in_test), np.flatnonzero(in_test)
