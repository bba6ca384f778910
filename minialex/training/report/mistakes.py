"""What a network gets wrong: which classes, which pairs of them, which images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minialex.training.evaluation import Evaluation


@dataclass(frozen=True)
class Confused:
    """A pair of classes: `count` of the `total` images of class `true` were taken for `predicted`."""

    true: int
    predicted: int
    count: int
    total: int

    @property
    def share(self) -> float:
        return self.count / self.total


def most_confused(confusion: np.ndarray, count: int) -> list[Confused]:
    """The pairs of different classes that were confused most often; of equals, the first rows' pairs.

    Parameters
    ----------
    confusion : int (classes, classes)
        How often class i was taken for class j.
    count : int
        At most this many; pairs that never occurred are left out.
    """
    errors = confusion - np.diag(np.diag(confusion))
    totals = confusion.sum(axis=1)
    order = np.argsort(-errors, axis=None, kind="stable")[:count]
    pairs = zip(*np.unravel_index(order, errors.shape), strict=True)
    return [Confused(int(i), int(j), int(errors[i, j]), int(totals[i])) for i, j in pairs if errors[i, j] > 0]


def example_images(evaluation: Evaluation) -> list[int]:
    """The numbers of one image that is classified correctly and of the worst error, as far as there are any.

    The correct one is the first of the worst error's class, so that the two can be compared, or the first
    of all if that class has none.
    """
    worst = evaluation.worst(1)
    right = np.flatnonzero(evaluation.predictions == evaluation.labels)
    if len(worst):
        same = right[evaluation.labels[right] == evaluation.labels[worst[0]]]
        right = same if len(same) else right
    return [int(i) for i in (*right[:1], *worst)]
