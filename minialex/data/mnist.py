"""MNIST, and the data sets that are distributed in its format, under names and in folders of their own.

Each is two files a part, images and labels, in idx format (`minialex.data.idx`). How they differ:

- Fashion-MNIST and Kuzushiji-MNIST have MNIST's names of files, and other classes.
- EMNIST (Cohen et al. 2017, arXiv:1702.05373) has six divisions of the same characters. Its images are stored
  transposed, and the labels of its letters begin at 1.
- QMNIST (Yadav and Bottou 2019, arXiv:1905.10498) has the 60,000 test digits of which MNIST has the first
  10,000. A label is a row of eight integers, the class first; the others say who wrote the digit.
"""

import os
import string
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minialex.checks import in_words, require_choice
from minialex.data.dataset import ArrayDataset
from minialex.data.idx import read_idx
from minialex.errors import DataError

# Mean and standard deviation of all pixels of the 60,000 training images on the scale 0..1, to
# four digits: the values of PyTorch's MNIST example, and what the training file gives.
MNIST_MEAN = 0.1307
MNIST_STD = 0.3081

DIGIT_CLASSES = tuple("0123456789")
# Of the other letters EMNIST takes the small one for the capital, which looks alike.
_SMALL_LETTERS = tuple("abdefghnqrt")
_CAPITALS = tuple(string.ascii_uppercase)


@dataclass(frozen=True)
class MnistLike:
    """How a data set differs from MNIST.

    Attributes
    ----------
    description : str
        What it is, in a few words.
    classes : tuple of str
        The names of its classes, where it has names those of torchvision.
    places : tuple of str
        The folders, below the one that is named, in which torchvision and the publishers put the files.
    train, test : str
        What the names of the files of the two parts begin with.
    label_kinds : tuple of str
        What the names of the files of labels end with: "idx1-ubyte", or "idx2-int" for rows of integers.
    first_label : int
        The label of the first class.
    is_transposed : bool
        Whether rows are stored as columns.
    """

    description: str
    classes: tuple[str, ...]
    places: tuple[str, ...]
    train: str = "train"
    test: str = "t10k"
    label_kinds: tuple[str, ...] = ("idx1-ubyte",)
    first_label: int = 0
    is_transposed: bool = False


def _emnist(split: str, description: str, classes: tuple[str, ...], first_label: int = 0) -> MnistLike:
    train, test = (f"emnist-{split}-{part}" for part in ("train", "test"))
    # The publisher's gzip.zip unpacks to gzip/.
    places = ("EMNIST/raw", "raw", "gzip", "EMNIST/raw/gzip")
    return MnistLike(description, classes, places, train, test, first_label=first_label, is_transposed=True)


_CLOTHES = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
_MERGED_CLASSES = DIGIT_CLASSES + _CAPITALS + _SMALL_LETTERS

MNIST_LIKE = {
    "mnist": MnistLike("MNIST's digits", DIGIT_CLASSES, ("MNIST/raw", "raw")),
    "fashion-mnist": MnistLike(
        "Fashion-MNIST, 10 kinds of clothing",
        tuple(_CLOTHES.split(",")),
        ("FashionMNIST/raw", "raw", "data/fashion", "fashion-mnist"),
    ),
    "kmnist": MnistLike(
        "Kuzushiji-MNIST, 10 characters of old Japanese",
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        ("KMNIST/raw", "raw"),
    ),
    "qmnist": MnistLike(
        "QMNIST's digits, 60,000 to test",
        DIGIT_CLASSES,
        ("QMNIST/raw", "raw"),
        train="qmnist-train",
        test="qmnist-test",
        label_kinds=("idx2-int", "idx1-ubyte"),
    ),
    "emnist-letters": _emnist(
        "letters", "EMNIST's letters, 26 classes", tuple(string.ascii_lowercase), first_label=1
    ),
    "emnist-digits": _emnist("digits", "EMNIST's digits", DIGIT_CLASSES),
    "emnist-balanced": _emnist(
        "balanced", "EMNIST's digits and letters, 47 classes of equal size", _MERGED_CLASSES
    ),
    "emnist-bymerge": _emnist("bymerge", "EMNIST's digits and letters, 47 classes", _MERGED_CLASSES),
    "emnist-byclass": _emnist(
        "byclass",
        "EMNIST's digits, capitals and small letters, 62 classes",
        DIGIT_CLASSES + _CAPITALS + tuple(string.ascii_lowercase),
    ),
    "emnist-mnist": _emnist("mnist", "EMNIST's division of MNIST's size", DIGIT_CLASSES),
}
"""The data sets by name, as `load_mnist_like` takes it."""


def load_mnist(folder: str | os.PathLike[str]) -> tuple[ArrayDataset, ArrayDataset]:
    """Read the four MNIST files of a folder; see `load_mnist_like`."""
    return load_mnist_like("mnist", folder)


def load_mnist_like(name: str, folder: str | os.PathLike[str]) -> tuple[ArrayDataset, ArrayDataset]:
    """Read MNIST or one of its relatives.

    The files have the names that their publishers gave them, `train-images-idx3-ubyte` or
    `emnist-letters-train-images-idx3-ubyte` and so on, or a dot before `idx`, as some archives unpack
    them; each may end in `.gz`. The number and the size of the images are free, so subsets are read, too.

    Parameters
    ----------
    name : str
        A key of `MNIST_LIKE`.
    folder : path-like
        Where the files are, or where torchvision's folder (`EMNIST/raw`) or the publisher's (`gzip`) is.

    Returns
    -------
    train, test : ArrayDataset
        Images (N, 1, H, W), upright, with the same H and W in both; labels from 0.

    Raises
    ------
    DataError
        If the name is unknown, the folder or a file is missing, a file cannot be read, or the files do not
        fit together.
    """
    require_choice("name", name, tuple(MNIST_LIKE), error=DataError)
    kind, folder = MNIST_LIKE[name], Path(folder)
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; name the one that holds the files of {name}")
    place = _place(kind, folder)
    train = _load_part(kind, place, kind.train, name, "train")
    test = _load_part(kind, place, kind.test, name, "test")
    if train.images.shape[1:] != test.images.shape[1:]:
        sizes = " and ".join(_size(part.images) for part in (train, test))
        raise DataError(f"the training and test images in {place} must have the same size, not {sizes}")
    return train, test


def _place(kind: MnistLike, folder: Path) -> Path:
    """The first folder that has training images; if there is none, the one that was named."""
    names = _names(f"{kind.train}-images", ("idx3-ubyte",))
    for place in (folder, *(folder / each for each in kind.places)):
        if any((place / each).is_file() for each in names):
            return place
    return folder


def _load_part(kind: MnistLike, folder: Path, prefix: str, name: str, part: str) -> ArrayDataset:
    images_path = _find(folder, f"{prefix}-images", ("idx3-ubyte",))
    labels_path = _find(folder, f"{prefix}-labels", kind.label_kinds)
    images = _read(images_path, np.uint8, 3, "images")
    labels = _labels(labels_path)
    if not images.size:
        raise DataError(f"{images_path} holds no images: its shape is {images.shape}")
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} has {len(images):,} images but {labels_path.name} {len(labels):,} "
            "labels; the two files do not belong together"
        )
    last = kind.first_label + len(kind.classes) - 1
    outside = labels[(labels < kind.first_label) | (labels > last)]
    if outside.size:
        raise DataError(
            f"{labels_path} has the label {outside[0]}; those of {name} are from {kind.first_label} to {last}"
        )
    if kind.is_transposed:
        images = images.transpose(0, 2, 1)
    labels = labels.astype(np.int64) - kind.first_label
    return ArrayDataset(images[:, np.newaxis], labels, kind.classes, f"{name}-{part}")


def _labels(path: Path) -> np.ndarray:
    if "idx2-int" not in path.name:
        return _read(path, np.uint8, 1, "labels")
    rows = _read(path, np.int32, 2, "labels")
    if rows.shape[1] != 8:
        raise DataError(f"{path} must hold rows of eight integers, not shape {rows.shape}")
    return rows[:, 0]


def _names(stem: str, kinds: tuple[str, ...]) -> list[str]:
    return [f"{stem}{mark}{kind}{end}" for kind in kinds for mark in "-." for end in ("", ".gz")]


def _find(folder: Path, stem: str, kinds: tuple[str, ...]) -> Path:
    names = _names(stem, kinds)
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} has no {stem} file; looked for {', '.join(names)}")


def _read(path: Path, dtype: type, rank: int, what: str) -> np.ndarray:
    array = read_idx(path)
    if array.dtype != dtype or array.ndim != rank:
        raise DataError(f"{path} must hold {what} as {np.dtype(dtype)} of rank {rank}, not {in_words(array)}")
    return array


def _size(images: np.ndarray) -> str:
    return " x ".join(map(str, images.shape[2:]))
