"""`ArrayDataset`: what it holds, refuses and hands out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.data import ArrayDataset, Dataset
from minialex.errors import DataError

IMAGES = np.arange(5 * 2 * 3 * 4, dtype=np.uint8).reshape(5, 2, 3, 4)
LABELS = np.array([2, 0, 1, 1, 2])
CLASSES = ("ant", "bee", "cat")


@pytest.fixture
def dataset():
    return ArrayDataset(IMAGES, LABELS, CLASSES, "zoo")


def test_it_is_a_dataset(dataset):
    assert isinstance(dataset, Dataset)
    assert len(dataset) == 5
    image, label = dataset[3]
    assert image.dtype == np.uint8
    assert image.shape == (2, 3, 4)
    assert image.ravel().tolist() == list(range(72, 96))
    assert label == 1
    assert type(label) is int
    assert repr(dataset) == "<ArrayDataset zoo: 5 of 2 x 3 x 4, 3 classes>"


def test_iteration_ends(dataset):
    assert [label for _, label in dataset] == [2, 0, 1, 1, 2]


def test_arrays_are_read_only_and_the_callers_stay_writable(dataset):
    images = IMAGES.copy()
    dataset = ArrayDataset(images, LABELS, list(CLASSES), "zoo")
    assert dataset.classes == CLASSES
    for array in (dataset.images, dataset.labels, dataset[0][0]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(AttributeError):
        dataset.labels = LABELS
    assert images.flags.writeable
    assert np.shares_memory(images, dataset.images)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64])
def test_labels_of_any_integer_type_become_int64(dtype):
    dataset = ArrayDataset(IMAGES, LABELS.astype(dtype), CLASSES, "zoo")
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.tolist() == [2, 0, 1, 1, 2]


def test_a_dataset_may_be_empty():
    dataset = ArrayDataset(IMAGES[:0], LABELS[:0], CLASSES, "none")
    assert len(dataset) == 0
    images, labels = dataset.batch([])
    assert images.shape == (0, 2, 3, 4)
    assert labels.shape == (0,)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("images", IMAGES.astype(np.float32), "images must be a uint8 array.*not an array of float32"),
        ("images", IMAGES[:, 0], r"not an array of uint8 and shape \(5, 3, 4\)"),
        ("images", IMAGES[:, :, :0], r"at least 1, not an array of uint8 and shape \(5, 2, 0, 4\)"),
        ("images", IMAGES.tolist(), r"not \[\[\[\["),
        ("labels", LABELS.astype(float), "labels must be an integer array.*not an array of float64"),
        ("labels", LABELS > 0, "labels must be an integer array.*not an array of bool"),
        ("labels", LABELS[:, None], r"not an array of int64 and shape \(5, 1\)"),
        ("labels", LABELS.tolist(), r"not \[2, 0"),
        ("labels", LABELS[:4], "as many labels as images, not 4 for 5 images"),
        ("labels", LABELS + 1, "labels must be from 0 to 2 for 3 classes, not 1 to 3"),
        ("labels", LABELS - 1, "labels must be from 0 to 2 for 3 classes, not -1 to 1"),
        ("classes", (), "one or more non-empty strings"),
        ("classes", "abc", "classes must be a tuple or list"),
        ("classes", ("ant", "", "cat"), "non-empty strings"),
        ("classes", ("ant", 2, "cat"), "non-empty strings"),
        ("classes", ("ant", "cat", "cat"), "must all be different, but 'cat' occurs more than once"),
        ("name", "", "name must be a non-empty string"),
        ("name", None, "name must be a non-empty string, not None"),
    ],
)
def test_a_wrong_argument_is_refused(argument, value, message):
    arguments = {"images": IMAGES, "labels": LABELS, "classes": CLASSES, "name": "zoo"}
    with pytest.raises(DataError, match=message):
        ArrayDataset(**arguments | {argument: value})


@given(st.lists(st.integers(0, 4), max_size=8))
def test_batch_has_the_samples_in_the_order_asked_for(indices):
    dataset = ArrayDataset(IMAGES, LABELS, CLASSES, "zoo")
    images, labels = dataset.batch(indices)
    assert images.shape == (len(indices), 2, 3, 4)
    assert labels.dtype == np.int64
    for position, index in enumerate(indices):
        assert images[position].tolist() == IMAGES[index].tolist()
        assert labels[position] == LABELS[index]


def test_batch_is_a_copy(dataset):
    images, labels = dataset.batch(np.array([0, 1]))
    images[:] = 0
    labels[:] = 0
    assert dataset.images[1].max() > 0
    assert dataset.labels[0] == 2


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 5], "indices must be from 0 to 4 for data set zoo, not 0 to 5"),
        ([-1], "not -1 to -1"),
        ([0.0, 1.0], "one-dimensional array of integers, not an array of float64"),
        ([True, False], "not an array of bool"),
        ([[0, 1]], r"shape \(1, 2\)"),
        (3, r"not array\(3\)"),
    ],
)
def test_wrong_indices_are_refused(dataset, indices, message):
    with pytest.raises(DataError, match=message):
        dataset.batch(indices)
    with pytest.raises(DataError, match=message):
        dataset.subset(indices)


def test_subset_keeps_the_classes(dataset):
    subset = dataset.subset([4, 2])
    assert subset.labels.tolist() == [2, 1]
    assert subset.images.tolist() == IMAGES[[4, 2]].tolist()
    assert subset.classes == CLASSES
    assert subset.name == "zoo"
    assert dataset.subset([0], name="one").name == "one"


def test_an_index_outside_is_an_index_error(dataset):
    with pytest.raises(IndexError):
        dataset[5]


EVERY_BYTE = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
ONE_HOT = np.eye(3)[LABELS]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "normalise",
    [
        lambda images, dtype: images.astype(dtype) / dtype(255),
        # As tensorflow.examples.tutorials.mnist.input_data did.
        lambda images, dtype: np.multiply(images.astype(dtype), 1.0 / 255.0, dtype=dtype),
        lambda images, dtype: (images.astype(np.float64) / 255).astype(dtype),
    ],
)
def test_every_byte_comes_back_from_the_scale_0_to_1(dtype, normalise):
    dataset = ArrayDataset.from_normalised(
        normalise(EVERY_BYTE, dtype), np.array([[0, 1]]), ["no", "yes"], "bytes"
    )
    assert dataset.images.tolist() == EVERY_BYTE.tolist()
    assert dataset.images.dtype == np.uint8
    assert dataset.labels.tolist() == [1]
    assert (dataset.classes, dataset.name) == (("no", "yes"), "bytes")


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8, bool])
def test_one_hot_labels_become_numbers(dtype):
    images = IMAGES.astype(np.float32) / 255
    dataset = ArrayDataset.from_normalised(images, ONE_HOT.astype(dtype), CLASSES, "zoo")
    assert dataset.labels.tolist() == LABELS.tolist()
    assert dataset.labels.dtype == np.int64


@pytest.mark.parametrize(
    "value", [0.5, 1e-6, 1 / 255 + 1e-6, 1 + 1e-6, -1e-6, 2.0, -1.0, np.nan, np.inf, 3e38]
)
def test_a_value_that_is_no_byte_is_refused(value):
    images = IMAGES.astype(np.float32) / 255
    images[2, 1, 0, 3] = value
    with pytest.raises(DataError, match=r"bytes divided by 255.* at \(2, 1, 0, 3\) is not one of them"):
        ArrayDataset.from_normalised(images, ONE_HOT, CLASSES, "zoo")


@pytest.mark.parametrize("images", [IMAGES, IMAGES.astype(np.float16) / 255, IMAGES.tolist()])
def test_images_of_another_type_are_not_normalised(images):
    with pytest.raises(DataError, match=r"a float32 or float64 array, not (an array of (uint8|float16)|\[)"):
        ArrayDataset.from_normalised(images, ONE_HOT, CLASSES, "zoo")


@pytest.mark.parametrize("row", [[0, 0, 0], [1, 1, 0], [0.5, 0.5, 0], [0, 2, 0], [-1, 1, 1], [0, np.nan, 1]])
def test_a_row_that_is_not_one_hot_is_refused(row):
    one_hot = ONE_HOT.copy()
    one_hot[3] = row
    with pytest.raises(DataError, match="a single one in each row, and zeros; row 3 is"):
        ArrayDataset.from_normalised(IMAGES.astype(np.float32) / 255, one_hot, CLASSES, "zoo")


@pytest.mark.parametrize(
    ("one_hot", "message"),
    [
        (LABELS, r"of shape \(N, 3\) for 3 classes, not an array of int64 and shape \(5,\)"),
        (ONE_HOT.astype(str), "must be an array of numbers"),
        (ONE_HOT.tolist(), r"not \[\[0.0"),
        (np.eye(4)[LABELS], r"of shape \(N, 3\) for 3 classes, not an array of float64 and shape \(5, 4\)"),
        (ONE_HOT[:4], "as many labels as images"),
        (ONE_HOT[:, :2], r"not an array of float64 and shape \(5, 2\)"),
    ],
)
def test_one_hot_labels_that_do_not_fit_are_refused(one_hot, message):
    with pytest.raises(DataError, match=message):
        ArrayDataset.from_normalised(IMAGES.astype(np.float32) / 255, one_hot, CLASSES, "zoo")
