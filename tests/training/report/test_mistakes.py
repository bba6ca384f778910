"""Which pairs of classes were confused most, and which images are shown: against a plain loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minialex.training.evaluation import Evaluation
from minialex.training.report.mistakes import example_images, most_confused


def evaluation(rows, labels):
    return Evaluation(np.array(rows, np.float32), np.array(labels), 1.0)


@given(arrays(np.int64, (5, 5), elements=st.integers(0, 6)), st.integers(1, 30))
def test_most_confused_pairs(confusion, count):
    pairs = [
        (-confusion[i, j], i, j, confusion[i].sum())
        for i in range(5)
        for j in range(5)
        if i != j and confusion[i, j]
    ]
    expected = [(i, j, -errors, total) for errors, i, j, total in sorted(pairs)[:count]]
    found = most_confused(confusion, count)
    assert [(pair.true, pair.predicted, pair.count, pair.total) for pair in found] == expected
    assert [pair.share for pair in found] == pytest.approx([n / total for *_, n, total in expected])


def test_the_example_is_of_the_worst_errors_class():
    rows = [[0.9, 0.1], [0.2, 0.8], [0.99, 0.01], [0.3, 0.7]]
    assert example_images(evaluation(rows, [0, 1, 1, 1])) == [1, 2]


def test_the_example_is_another_class_if_there_is_none():
    assert example_images(evaluation([[0.9, 0.1], [0.8, 0.2]], [0, 1])) == [0, 1]


def test_all_right_and_all_wrong():
    rows = [[0.9, 0.1], [0.2, 0.8]]
    assert example_images(evaluation(rows, [0, 1])) == [0]
    assert example_images(evaluation(rows, [1, 0])) == [0]
