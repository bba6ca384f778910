"""Data sets under the names of `torch.utils.data`: samples of any kind, found by their number."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from minialex import random
from minialex.checks import in_words, is_int, is_number
from minialex.errors import DataError
from minialex.tensor import Tensor


class Dataset:
    """The base of a data set: ``torch.utils.data.Dataset``.

    A subclass has `__len__`, and `__getitem__`, which gives the sample with a number from 0. A `DataLoader`
    takes any object that has both; what this class adds is ``first + second``, a `ConcatDataset`.
    """

    def __getitem__(self, index: int) -> Any:
        """Return the sample with this number."""
        raise NotImplementedError(f"{type(self).__name__} must have a method __getitem__(self, index)")

    def __add__(self, other: Any) -> ConcatDataset:
        """Return the samples of both, one after the other."""
        return ConcatDataset([self, other])


class TensorDataset(Dataset):
    """Tensors whose first axis counts the samples: ``torch.utils.data.TensorDataset``.

    Parameters
    ----------
    *tensors : Tensor or array
        Shapes (N, ...), with one N; arrays are taken as they are, without a copy.

    Attributes
    ----------
    tensors : tuple of Tensor

    Raises
    ------
    DataError
        If there is none, or their first axes differ.
    """

    def __init__(self, *tensors: Any):
        self.tensors = tuple(each if isinstance(each, Tensor) else Tensor(each) for each in tensors)
        lengths = [each.shape[:1] for each in self.tensors]
        if not lengths or () in lengths or len(set(lengths)) > 1:
            shapes = ", ".join(str(each.shape) for each in self.tensors) or "none"
            raise DataError(f"tensors must have one length of their first axis, not the shapes {shapes}")

    def __len__(self) -> int:
        """Return N, the number of samples."""
        return len(self.tensors[0])

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        """Return what the tensors have at this place."""
        return tuple(each[index] for each in self.tensors)

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[Tensor, ...]:
        """Return copies of the samples with these numbers: tensors (M, ...)."""
        indices = np.asarray(indices, dtype=np.int64)
        return tuple(each[indices] for each in self.tensors)


class Subset(Dataset):
    """Some samples of a data set: ``torch.utils.data.Subset``.

    It is found to have the `classes`, `class_to_idx`, `name`, `transform` and `batch` that the data set has.

    Parameters
    ----------
    dataset : object
        With `__getitem__`.
    indices : sequence of int
        The numbers of the samples, in the order in which they come here.
    """

    def __init__(self, dataset: Any, indices: Sequence[int] | np.ndarray):
        self.dataset, self.indices = dataset, indices

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        """Return the sample that has this number here."""
        return self.dataset[int(self.indices[index])]

    def __getattr__(self, name: str) -> Any:
        if name in ("classes", "class_to_idx", "name", "transform"):
            return getattr(self.dataset, name)
        if name == "batch" and callable(inner := getattr(self.dataset, "batch", None)):
            return lambda indices: inner(np.asarray(self.indices)[np.asarray(indices, np.int64)])
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class ConcatDataset(Dataset):
    """The samples of several data sets, one after the other: ``torch.utils.data.ConcatDataset``.

    Parameters
    ----------
    datasets : iterable
        Each with `__len__` and `__getitem__`.

    Attributes
    ----------
    datasets : list
    cumulative_sizes : list of int
        How many samples the first, the first two, ... have together.

    Raises
    ------
    DataError
        If there is none.
    """

    def __init__(self, datasets: Iterable[Any]):
        self.datasets = list(datasets)
        if not self.datasets:
            raise DataError("datasets must be one or more data sets, not none")
        self.cumulative_sizes = list(accumulate(len(each) for each in self.datasets))

    def __len__(self) -> int:
        """Return the number of samples of all."""
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Any:
        """Return the sample with this number; a negative one counts from the end.

        Raises
        ------
        IndexError
            If there is no such sample.
        """
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"index must be from {-len(self):,} to {len(self) - 1:,}, not {index:,}")
        part = bisect_right(self.cumulative_sizes, place)
        return self.datasets[part][place - (self.cumulative_sizes[part - 1] if part else 0)]


def random_split(
    dataset: Any, lengths: Sequence[float], generator: np.random.Generator | None = None
) -> list[Subset]:
    """Divide a data set at random: ``torch.utils.data.random_split``.

    Parameters
    ----------
    dataset : object
        With `__len__` and `__getitem__`.
    lengths : sequence of int or of float
        The numbers of samples, which add up to that of the data set; or fractions, which add up to 1. A
        fraction's number is rounded down, and what is left goes one by one to the parts from the first.
    generator : numpy.random.Generator, optional
        What draws the order; that of `minialex.manual_seed` unless told otherwise.

    Returns
    -------
    list of Subset

    Raises
    ------
    DataError
        If the lengths are not as described, or the generator is none.

    See Also
    --------
    minialex.data.stratified_split : keeps the shares of the classes.
    """
    count = len(dataset)
    sizes = list(lengths)
    if sizes and all(is_number(each) and 0 <= each <= 1 for each in sizes) and math.isclose(sum(sizes), 1):
        fractions, sizes = sizes, [math.floor(count * each) for each in sizes]
        for place in range(count - sum(sizes)):
            sizes[place % len(fractions)] += 1
    if not sizes or not all(is_int(each, 0) for each in sizes) or sum(sizes) != count:
        raise DataError(
            f"lengths must be integers that add up to {count:,}, or fractions that add up to 1, "
            f"not {in_words(lengths)}"
        )
    order = generator_of(generator).permutation(count)
    return [
        Subset(dataset, order[end - size : end]) for size, end in zip(sizes, accumulate(sizes), strict=True)
    ]


def generator_of(generator: Any) -> np.random.Generator:
    """Return a NumPy generator as it is, and that of `minialex.manual_seed` for None.

    Raises
    ------
    DataError
        If it is anything else.
    """
    if generator is None:
        return random.generator()
    if not isinstance(generator, np.random.Generator):
        raise DataError(
            "generator must be a numpy.random.Generator, such as default_rng(seed), "
            f"not {in_words(generator)}"
        )
    return generator
