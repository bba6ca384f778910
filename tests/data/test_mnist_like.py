"""The relatives of MNIST, from files made byte by byte as their publishers and torchvision lay them out."""

import gzip
import struct

import numpy as np
import pytest

from minialex.data import MNIST_LIKE, load_mnist_like
from minialex.errors import DataError

# How many classes, and what the first and the last are called: the papers, and torchvision's classes.
CLASSES = {
    "mnist": (10, "0", "9"),
    "fashion-mnist": (10, "T-shirt/top", "Ankle boot"),
    "kmnist": (10, "o", "wo"),
    "qmnist": (10, "0", "9"),
    "emnist-letters": (26, "a", "z"),
    "emnist-digits": (10, "0", "9"),
    "emnist-balanced": (47, "0", "t"),
    "emnist-bymerge": (47, "0", "t"),
    "emnist-byclass": (62, "0", "z"),
    "emnist-mnist": (10, "0", "9"),
}
EMNIST = [name for name in CLASSES if name.startswith("emnist")]
# A picture in 4 rows of 3: an upright 7, the stroke at the top and at the right.
SEVEN = np.array([[9, 9, 9], [0, 0, 8], [0, 7, 0], [6, 0, 0]], np.uint8)


def idx(array, code):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape) + array.tobytes()


def files_of(name, labels):
    """The four files of a data set, every image a seven, with labels as its own files have them."""
    stored = SEVEN.T if name in EMNIST else SEVEN
    images = idx(np.stack([stored] * len(labels)), 8)
    if name == "qmnist":
        # class, series, writer, number, NIST's code, global number, duplicate, unused
        rows = np.array([[label, 4, 2100 + i, 7, 48 + label, i, 0, 0] for i, label in enumerate(labels)])
        named = "labels-idx2-int", idx(rows.astype(">i4"), 0x0C)
    else:
        named = "labels-idx1-ubyte", idx(np.array(labels, np.uint8), 8)
    has_name = name in EMNIST or name == "qmnist"
    parts = [f"{name}-train", f"{name}-test"] if has_name else ["train", "t10k"]
    return {
        f"{part}-{kind}": content
        for part in parts
        for kind, content in (("images-idx3-ubyte", images), named)
    }


def write(folder, files, is_gzipped=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if is_gzipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


def first_label(name):
    return 1 if name == "emnist-letters" else 0


@pytest.mark.parametrize("is_gzipped", [False, True])
@pytest.mark.parametrize("name", CLASSES)
def test_images_are_upright_and_labels_name_their_classes(tmp_path, name, is_gzipped):
    count, first, last = CLASSES[name]
    write(tmp_path, files_of(name, [first_label(name), first_label(name) + count - 1]), is_gzipped)
    for part, expected in zip(load_mnist_like(name, tmp_path), ("train", "test"), strict=True):
        assert part.name == f"{name}-{expected}"
        assert part.images.dtype == np.uint8
        assert part.images.shape == (2, 1, 4, 3)
        assert part.images[1, 0].tolist() == SEVEN.tolist()
        assert len(part.classes) == count
        assert [part.classes[label] for label in part.labels] == [first, last]
        images, labels = part.batch([1, 0])
        assert images[0, 0].tolist() == SEVEN.tolist()
        assert labels.tolist() == [count - 1, 0]


def test_every_data_set_is_tried_here():
    assert CLASSES.keys() == MNIST_LIKE.keys()


def test_the_47_classes_of_emnist_are_those_of_its_mapping():
    """Its mapping has label and code a line: 10 65 (A), 35 90 (Z), 36 97 (a), 46 116 (t)."""
    for name in ("emnist-balanced", "emnist-bymerge"):
        classes = MNIST_LIKE[name].classes
        named = {label: classes[label] for label in (9, 10, 35, 36, 39, 40, 41, 43, 44, 46)}
        codes = {9: 57, 10: 65, 35: 90, 36: 97, 39: 101, 40: 102, 41: 103, 43: 110, 44: 113, 46: 116}
        assert named == {label: chr(code) for label, code in codes.items()}
    assert MNIST_LIKE["emnist-byclass"].classes[36:38] == ("a", "b")


TORCHVISION = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "kmnist": "KMNIST",
    "qmnist": "QMNIST",
    **dict.fromkeys(EMNIST, "EMNIST"),
}


@pytest.mark.parametrize("name", CLASSES)
def test_the_folders_of_torchvision_are_found(tmp_path, name):
    for other in CLASSES:
        if TORCHVISION[other] != TORCHVISION[name]:
            write(tmp_path / TORCHVISION[other] / "raw", files_of(other, [first_label(other)] * 3))
    place = tmp_path / TORCHVISION[name] / "raw"
    write(place, files_of(name, [first_label(name) + 5]))
    for folder in (tmp_path, place.parent, place):
        train, test = load_mnist_like(name, folder)
        assert train.labels.tolist() == test.labels.tolist() == [5]


@pytest.mark.parametrize(
    ("name", "place"),
    [("emnist-letters", "gzip"), ("fashion-mnist", "data/fashion"), ("fashion-mnist", "fashion-mnist")],
)
def test_the_folders_of_the_publishers_are_found(tmp_path, name, place):
    write(tmp_path / place, files_of(name, [3]), is_gzipped=True)
    assert load_mnist_like(name, tmp_path)[0].labels.tolist() == [3 - first_label(name)]


def test_one_folder_holds_every_division_of_emnist(tmp_path):
    for name in EMNIST:
        write(tmp_path, files_of(name, [first_label(name), first_label(name) + len(name) % 10]))
    for name in EMNIST:
        assert load_mnist_like(name, tmp_path)[0].labels.tolist() == [0, len(name) % 10]


def test_qmnist_with_labels_as_those_of_mnist(tmp_path):
    """The publisher has the test labels in this form, too."""
    files = files_of("qmnist", [4, 2])
    del files["qmnist-test-labels-idx2-int"]
    files["qmnist-test-labels-idx1-ubyte"] = idx(np.array([1, 0], np.uint8), 8)
    write(tmp_path, files)
    train, test = load_mnist_like("qmnist", tmp_path)
    assert train.labels.tolist() == [4, 2]
    assert test.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("emnist-letters", {"": [0]}, "has the label 0; those of emnist-letters are from 1 to 26"),
        ("emnist-letters", {"": [27]}, "has the label 27; those of emnist-letters are from 1 to 26"),
        ("emnist-balanced", {"": [47]}, "those of emnist-balanced are from 0 to 46"),
        ("kmnist", {"": [10]}, "those of kmnist are from 0 to 9"),
        ("qmnist", {"": [-1]}, "has the label -1; those of qmnist are from 0 to 9"),
        (
            "qmnist",
            {"qmnist-train-labels-idx2-int": idx(np.zeros((1, 7), ">i4"), 0x0C)},
            "must hold rows of eight integers, not shape (1, 7)",
        ),
        (
            "qmnist",
            {"qmnist-train-labels-idx2-int": idx(np.zeros((1, 8), np.uint8), 8)},
            "must hold labels as int32 of rank 2, not an array of uint8",
        ),
    ],
)
def test_labels_of_another_data_set_are_refused(tmp_path, name, changed, message):
    labels = changed.pop("", [1])
    write(tmp_path, files_of(name, labels) | changed)
    with pytest.raises(DataError) as caught:
        load_mnist_like(name, tmp_path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "folder", "message"),
    [
        ("emnist", "", r"name must be 'mnist', 'fashion-mnist', .*, not 'emnist'"),
        ("emnist-letters", "", r"has no emnist-letters-train-images file; looked for emnist-letters-train-"),
        ("kmnist", "nowhere", r"there is no folder .*nowhere; name the one that holds the files of kmnist"),
    ],
)
def test_an_unknown_name_and_a_folder_without_files_are_refused(tmp_path, name, folder, message):
    with pytest.raises(DataError, match=message):
        load_mnist_like(name, tmp_path / folder)
