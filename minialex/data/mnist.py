"""MNIST, and every data set distributed in the same four files."""

import os
from pathlib import Path

import numpy as np

from minialex.data.dataset import ArrayDataset
from minialex.data.idx import read_idx
from minialex.errors import DataError

# Mean and standard deviation of all pixels of the 60,000 training images on the scale 0..1, to
# four digits: the values of PyTorch's MNIST example, and what the training file gives.
MNIST_MEAN = 0.1307
MNIST_STD = 0.3081

DIGIT_CLASSES = tuple("0123456789")


def load_mnist(folder: str | os.PathLike[str]) -> tuple[ArrayDataset, ArrayDataset]:
    """Read the four MNIST files of a folder.

    The names are those of http://yann.lecun.com/exdb/mnist/, `train-images-idx3-ubyte` and so on,
    or with a dot before `idx`, as some archives unpack them; each may end in `.gz`. The number and
    the size of the images are free, so subsets of MNIST and its look-alikes are read as well.

    Parameters
    ----------
    folder : path-like
        Where the files are.

    Returns
    -------
    train, test : ArrayDataset
        Images (N, 1, H, W), with the same H and W in both; classes "0" to "9".

    Raises
    ------
    DataError
        If the folder or a file is missing, a file cannot be read, or the files do not fit
        together.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; name the one that holds the MNIST files")
    train = _load_part(folder, "train", "mnist-train")
    test = _load_part(folder, "t10k", "mnist-test")
    if train.images.shape[1:] != test.images.shape[1:]:
        sizes = " and ".join(_size(part.images) for part in (train, test))
        raise DataError(f"the training and test images in {folder} must have the same size, got {sizes}")
    return train, test


def _load_part(folder: Path, prefix: str, name: str) -> ArrayDataset:
    images_path = _find(folder, f"{prefix}-images", "idx3-ubyte")
    labels_path = _find(folder, f"{prefix}-labels", "idx1-ubyte")
    images = _read_bytes(images_path, rank=3, what="images")
    labels = _read_bytes(labels_path, rank=1, what="labels")
    if not images.size:
        raise DataError(f"{images_path} holds no images: its shape is {images.shape}")
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} has {len(images):,} images but {labels_path.name} {len(labels):,} "
            "labels; the two files do not belong together"
        )
    if labels.max() >= len(DIGIT_CLASSES):
        raise DataError(f"{labels_path} has the label {labels.max()}; digits are from 0 to 9")
    return ArrayDataset(images[:, np.newaxis], labels, DIGIT_CLASSES, name)


def _find(folder: Path, stem: str, kind: str) -> Path:
    names = [f"{stem}{mark}{kind}{end}" for mark in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} has no {stem} file; looked for {', '.join(names)}")


def _read_bytes(path: Path, rank: int, what: str) -> np.ndarray:
    array = read_idx(path)
    if array.dtype != np.uint8 or array.ndim != rank:
        raise DataError(
            f"{path} must hold {what} as uint8 of rank {rank}, got {array.dtype} of shape {array.shape}"
        )
    return array


def _size(images: np.ndarray) -> str:
    return " x ".join(map(str, images.shape[2:]))
