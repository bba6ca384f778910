"""`stratified_split`: a partition with the right share of every class."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.data import stratified_split
from minialex.errors import DataError

LABELS = np.repeat([3, 5, 8], [4, 10, 6])


@given(
    st.dictionaries(st.integers(-5, 300), st.integers(4, 30), min_size=1, max_size=5),
    st.integers(1, 3),
    st.integers(0, 2**64 - 1),
    st.randoms(use_true_random=False),
)
def test_parts_are_sorted_complete_and_hold_the_number_asked_for(sizes, per_class, seed, random):
    labels = [label for label, size in sizes.items() for _ in range(size)]
    random.shuffle(labels)
    labels = np.array(labels)

    train, test = stratified_split(labels, test_per_class=per_class, seed=seed)

    assert train.dtype == test.dtype == np.int64
    assert train.tolist() == sorted(train)
    assert test.tolist() == sorted(test)
    assert sorted([*train, *test]) == list(range(len(labels)))
    for label, size in sizes.items():
        assert (labels[test] == label).sum() == per_class
        assert (labels[train] == label).sum() == size - per_class


@pytest.mark.parametrize(("fraction", "expected"), [(0.25, [1, 3, 2]), (0.5, [2, 5, 3]), (0.2, [1, 2, 1])])
def test_a_fraction_is_rounded_in_every_class_a_half_upwards(fraction, expected):
    _, test = stratified_split(LABELS, test_fraction=fraction)
    assert [(LABELS[test] == label).sum() for label in (3, 5, 8)] == expected


def test_the_same_seed_gives_the_same_parts_and_another_seed_others():
    first, again, other = (
        stratified_split(LABELS, test_per_class=3, seed=seed)[1].tolist() for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_every_sample_can_come_to_either_side():
    labels = np.zeros(6, dtype=np.int64)
    tests = [stratified_split(labels, test_per_class=3, seed=seed)[1] for seed in range(300)]
    chosen = np.bincount(np.concatenate(tests), minlength=6)
    # Binomial(300, 1/2): 150 with a standard deviation of 8.7.
    assert np.abs(chosen - 150).max() < 5 * math.sqrt(75)


def test_classes_are_divided_independently():
    labels = np.repeat([0, 1], 20)
    _, test = stratified_split(labels, test_per_class=10, seed=0)
    assert test[test < 20].tolist() != (test[test >= 20] - 20).tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of test_fraction and test_per_class"),
        ({"test_fraction": 0.5, "test_per_class": 1}, "exactly one of"),
        ({"test_fraction": 0}, "between 0 and 1, not 0"),
        ({"test_fraction": 1.0}, "between 0 and 1, not 1.0"),
        ({"test_fraction": float("nan")}, "between 0 and 1, not nan"),
        ({"test_fraction": "0.5"}, "between 0 and 1, not '0.5'"),
        ({"test_per_class": 0}, "test_per_class must be an integer from 1 to 20, not 0"),
        ({"test_per_class": True}, "test_per_class must be an integer"),
        ({"test_per_class": 1.0}, "test_per_class must be an integer"),
        ({"test_per_class": 4}, "class 3 has 4 samples, of which 4 would be for testing"),
        ({"test_per_class": 7}, "class 3 has 4 samples, of which 7"),
        ({"test_fraction": 0.1}, "class 3 has 4 samples, of which 0"),
        ({"test_fraction": 0.9}, "class 3 has 4 samples, of which 4"),
        ({"test_per_class": 1, "seed": -1}, "seed must be an integer from 0"),
        ({"test_per_class": 1, "seed": 2**64}, "seed must be an integer from 0"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        stratified_split(LABELS, **arguments)


@pytest.mark.parametrize("labels", [[], [0.5, 1.5], [[0, 1]], ["a", "b"]])
def test_wrong_labels_are_refused(labels):
    with pytest.raises(DataError, match=r"labels must be an integer array of shape \(N,\)"):
        stratified_split(labels, test_per_class=1)
