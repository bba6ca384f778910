"""What a data set is, and the one that holds its images in an array."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from minialex.checks import in_words
from minialex.data.map_style import Dataset
from minialex.errors import DataError

# What to do about a sample that cannot be read: raise, or leave it out.
ON_ERROR = ("stop", "skip")


@runtime_checkable
class ImageDataset(Protocol):
    """Labelled images, found by their number. Their sizes may differ.

    Attributes
    ----------
    classes : tuple of str
        The class names; a label is an index into them.
    name : str
        What to call the data set in a report.

    Notes
    -----
    It is what training, evaluation and reports read; `Dataset` is the base of samples of any kind.
    A data set may also have `batch(indices) -> (images, labels)`, as `ArrayDataset` does; the
    loader then asks for a whole batch at once.
    """

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def name(self) -> str: ...

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Return one image, uint8 of shape (C, H, W), and its label."""
        ...


@dataclass(frozen=True, eq=False, repr=False)
class ArrayDataset(Dataset):
    """Labelled images in memory.

    The arrays are kept as read-only views where they already have the right type: nothing is
    copied, so do not change the arrays that were passed in.

    Parameters
    ----------
    images : numpy.ndarray
        uint8, shape (N, C, H, W). N may be 0; C, H and W may not.
    labels : numpy.ndarray
        Any integer type, shape (N,), from 0 to len(classes) - 1; kept as int64.
    classes : tuple or list of str, optional
        The class names, all different; kept as a tuple. Without them "0", "1", ... up to the largest label.
    name : str
        What to call the data set in a report.

    Raises
    ------
    DataError
        If an argument is not as described.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...] = None  # pyright: ignore[reportAssignmentType] - a tuple from __post_init__ on
    name: str = "arrays"

    def __post_init__(self):
        images = _checked_images(self.images)
        classes = _numbered_classes(self.labels) if self.classes is None else _checked_classes(self.classes)
        labels = _checked_labels(self.labels, len(images), len(classes))
        if not isinstance(self.name, str) or not self.name:
            raise DataError(f"name must be a non-empty string, not {in_words(self.name)}")
        # The usual assignment is what a frozen dataclass forbids.
        object.__setattr__(self, "images", _read_only(images))
        object.__setattr__(self, "labels", _read_only(labels))
        object.__setattr__(self, "classes", classes)

    @classmethod
    def from_normalised(
        cls, images: np.ndarray, one_hot: np.ndarray, classes: Sequence[str], name: str
    ) -> "ArrayDataset":
        """Make a data set of images on the scale 0 to 1 and labels as rows of zeros with a single one.

        That is the form in which TensorFlow's old `input_data.read_data_sets(..., one_hot=True)` gave
        MNIST, its images as rows: pass `images.reshape(-1, 1, 28, 28)`. What is kept are bytes and
        integers, from which both forms can be made; that nothing is lost on the way is checked.

        Parameters
        ----------
        images : numpy.ndarray
            float32 or float64, shape (N, C, H, W). Every value is k / 255 for an integer k from 0 to 255,
            up to the rounding of its type: `k / 255` and `k * (1 / 255)` both are.
        one_hot : numpy.ndarray
            Numbers or bools, shape (N, len(classes)): a one in each row, and zeros.
        classes : sequence of str
            The class names.
        name : str
            What to call the data set in a report.

        Raises
        ------
        DataError
            If an argument is not as described; it names the first value that is not.
        """
        classes = _checked_classes(classes)
        return cls(_bytes_of(images), _numbers_of(one_hot, len(classes)), classes, name)

    def __len__(self) -> int:
        """Return N, the number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Return one image, a read-only view of shape (C, H, W), and its label.

        Raises
        ------
        IndexError
            If there is no such image: what Python's iteration over a sequence ends on.
        """
        return self.images[index], int(self.labels[index])

    def __repr__(self) -> str:
        """Name, number, shape and classes on one line."""
        shape = " x ".join(map(str, self.images.shape[1:]))
        return f"<ArrayDataset {self.name}: {len(self):,} of {shape}, {len(self.classes)} classes>"

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return copies of the images and labels with these numbers, in this order.

        Parameters
        ----------
        indices : sequence of int
            Shape (M,), each from 0 to N - 1; repeats are allowed.

        Returns
        -------
        images : numpy.ndarray
            uint8, shape (M, C, H, W).
        labels : numpy.ndarray
            int64, shape (M,).

        Raises
        ------
        DataError
            If the indices are not integers, not one-dimensional or out of range.
        """
        indices = np.asarray(indices)
        if indices.size == 0:
            # An empty list becomes a float array.
            indices = indices.astype(np.int64)
        if indices.ndim != 1 or indices.dtype.kind not in "iu":
            raise DataError(f"indices must be a one-dimensional array of integers, not {in_words(indices)}")
        if indices.size and not (indices.min() >= 0 and indices.max() < len(self)):
            raise DataError(
                f"indices must be from 0 to {len(self) - 1:,} for data set {self.name}, "
                f"not {indices.min():,} to {indices.max():,}"
            )
        return self.images[indices], self.labels[indices]

    def subset(self, indices: Sequence[int] | np.ndarray, name: str | None = None) -> "ArrayDataset":
        """Return a data set of the images with these numbers, in this order.

        It has copies of the images, all the classes, and this data set's name unless told another.

        Raises
        ------
        DataError
            As `batch` does.
        """
        images, labels = self.batch(indices)
        return ArrayDataset(images, labels, self.classes, self.name if name is None else name)


def _checked_images(images: object) -> np.ndarray:
    is_array = isinstance(images, np.ndarray)
    if not is_array or images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape[1:]:
        raise DataError(
            "images must be a uint8 array of shape (N, C, H, W) with C, H and W at least 1, "
            f"not {in_words(images)}; there is TensorDataset for other numbers"
        )
    return images


def _numbered_classes(labels: object) -> tuple[str, ...]:
    largest = (
        labels.max() if isinstance(labels, np.ndarray) and labels.dtype.kind in "iu" and labels.size else 0
    )
    return tuple(map(str, range(int(largest) + 1)))


def _checked_classes(classes: object) -> tuple[str, ...]:
    if (
        not isinstance(classes, tuple | list)
        or not classes
        or not all(isinstance(each, str) and each for each in classes)
    ):
        raise DataError(
            f"classes must be a tuple or list of one or more non-empty strings, not {in_words(classes)}"
        )
    repeated = next((each for each, count in Counter(classes).items() if count > 1), None)
    if repeated is not None:
        raise DataError(f"classes must all be different, but {repeated!r} occurs more than once")
    return tuple(classes)


def _checked_labels(labels: object, images: int, classes: int) -> np.ndarray:
    is_array = isinstance(labels, np.ndarray)
    if not is_array or labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(f"labels must be an integer array of shape (N,), not {in_words(labels)}")
    if len(labels) != images:
        raise DataError(f"there must be as many labels as images, not {len(labels):,} for {images:,} images")
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise DataError(
            f"labels must be from 0 to {classes - 1} for {classes} classes, "
            f"not {labels.min()} to {labels.max()}"
        )
    return labels.astype(np.int64, copy=False)


def _bytes_of(images: object) -> np.ndarray:
    """Return images on the scale 0 to 1 as uint8, after checking that they are bytes over 255."""
    if not isinstance(images, np.ndarray) or images.dtype not in (np.float32, np.float64):
        raise DataError(f"normalised images must be a float32 or float64 array, not {in_words(images)}")
    # Written so that NaN, which no comparison holds for, is refused.
    rounded = np.rint(np.clip(images, 0, 1) * 255)
    is_exact = np.abs(images - rounded / 255) <= 2 * np.finfo(images.dtype).eps
    if not is_exact.all():
        place = tuple(int(n) for n in np.argwhere(~is_exact)[0])
        raise DataError(
            "normalised images must hold bytes divided by 255, so that they can be kept as bytes; "
            f"{images[place]} at {place} is not one of them"
        )
    return rounded.astype(np.uint8)


def _numbers_of(one_hot: object, classes: int) -> np.ndarray:
    """Return the place of the one in each row of zeros."""
    is_array = isinstance(one_hot, np.ndarray)
    if not is_array or one_hot.dtype.kind not in "biuf" or one_hot.shape[1:] != (classes,):
        raise DataError(
            f"one-hot labels must be an array of numbers of shape (N, {classes}) for {classes} classes, "
            f"not {in_words(one_hot)}"
        )
    is_right = ((one_hot == 0) | (one_hot == 1)).all(axis=1) & ((one_hot == 1).sum(axis=1) == 1)
    if not is_right.all():
        row = int(np.flatnonzero(~is_right)[0])
        raise DataError(
            f"one-hot labels must have a single one in each row, and zeros; row {row} is "
            f"{in_words(one_hot[row].tolist())}"
        )
    return np.argmax(one_hot, axis=1)


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view
