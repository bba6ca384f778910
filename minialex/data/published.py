"""Published data sets under torchvision's names: PIL images one by one, transformed as the data set is told.

`load_mnist_like` and `load_cifar10` read the same files as arrays.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from minialex.data.cifar10 import load_cifar10
from minialex.data.dataset import ArrayDataset
from minialex.data.map_style import Dataset
from minialex.data.mnist import load_mnist_like
from minialex.data.transforms.pictures import image_of


class PublishedDataset(Dataset):
    """A published data set, read from its own files into memory.

    Parameters
    ----------
    root : path-like
        The folder that holds the files, or torchvision's folder with them.
    train : bool
        Whether to give the images to train on, or those to test on.
    transform : callable, optional
        Takes the PIL image, of mode L or RGB; without it that is what a sample has.
    target_transform : callable, optional
        Takes the label.
    download : bool
        Whether to fetch the files if they are not there.

    Attributes
    ----------
    data : numpy.ndarray
        The images: uint8, shape (N, H, W), or (N, H, W, C) of colour.
    targets : list of int
    classes : list of str
    class_to_idx : dict

    Raises
    ------
    DataError
        If a file is missing, damaged, or cannot be fetched.
    """

    source: ClassVar[str]
    place: ClassVar[str] = ""

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        download: bool = False,
    ):
        if download:
            from minialex.data import download as fetching  # pooch is needed for nothing else

            fetching.download(self.source, Path(root) / self.place)
        arrays = self._load(root)[0 if train else 1]
        self.root, self.train = Path(root), train
        self.transform, self.target_transform = transform, target_transform
        self.classes = list(arrays.classes)
        self.class_to_idx = {each: label for label, each in enumerate(self.classes)}
        self.targets = arrays.labels.tolist()
        self._images = arrays.images
        pixels = arrays.images.transpose(0, 2, 3, 1)
        self.data: np.ndarray = pixels[..., 0] if pixels.shape[-1] == 1 else pixels

    def _load(self, root: str | os.PathLike[str]) -> tuple[ArrayDataset, ArrayDataset]:
        return load_mnist_like(self.source, root)

    def __len__(self) -> int:
        """Return N, the number of images."""
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Return one image and its label, transformed."""
        image, label = image_of(self.source, self._images[index]), self.targets[index]
        return (
            image if self.transform is None else self.transform(image),
            label if self.target_transform is None else self.target_transform(label),
        )

    def __repr__(self) -> str:
        """Name, number and part on one line."""
        part = "train" if self.train else "test"
        return f"<{type(self).__name__} {part}: {len(self):,} images, {len(self.classes)} classes>"


class MNIST(PublishedDataset):
    """MNIST's digits: torchvision's data set of this name; see `PublishedDataset`."""

    source, place = "mnist", "MNIST/raw"


class FashionMNIST(PublishedDataset):
    """Fashion-MNIST's clothing: torchvision's data set of this name; see `PublishedDataset`."""

    source, place = "fashion-mnist", "FashionMNIST/raw"


class KMNIST(PublishedDataset):
    """Kuzushiji-MNIST's characters: torchvision's data set of this name; see `PublishedDataset`."""

    source, place = "kmnist", "KMNIST/raw"


class CIFAR10(PublishedDataset):
    """CIFAR-10's colour images: torchvision's data set of this name; see `PublishedDataset`."""

    source = "cifar10"

    def _load(self, root: str | os.PathLike[str]) -> tuple[ArrayDataset, ArrayDataset]:
        return load_cifar10(root)
