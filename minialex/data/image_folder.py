"""Images in a folder of classes: the layout of ImageNet, of torchvision's `ImageFolder` and of Keras."""

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from minialex.checks import in_words, require_choice, require_int
from minialex.data.images import IMAGE_EXTENSIONS, IMAGE_MODES, read_image
from minialex.data.map_style import Dataset
from minialex.data.transforms.pictures import image_of
from minialex.errors import DamagedSample, DataError
from minialex.kernels.runtime.threads import available_threads

# The first of these that is there is the part to validate on.
_TRAIN, _VALIDATION = "train", ("val", "validation", "test")
_PATHS_AT_ONCE = 256


class ImageFolder(Dataset):
    """The images below a folder that has one sub-folder for each class.

    `root/cat/1.jpg` and `root/cat/more/2.png` are images of the class "cat". Files are taken whose
    names end, in small or capital letters, in one of .jpg, .jpeg, .png, .ppm, .bmp, .pgm, .tif, .tiff
    and .webp, as torchvision's `ImageFolder` does, and in its order. Files and folders whose names
    start with a dot, other files, and files directly in `root` are left out. A sub-folder that is a
    symbolic link is followed directly in `root`, and not further down.

    An image is read when it is asked for, upright: its EXIF orientation is applied, which torchvision's
    loader does not do. `read_image` tells what else happens to it.

    Parameters
    ----------
    root : path-like
        The folder.
    transform : callable, optional
        Takes the PIL image and gives what a sample has in its place. Without it that is the array.
    target_transform : callable, optional
        Takes the label and gives what a sample has in its place.
    mode : {"RGB", "L"}
        Whether images are given in colour or in grey.
    name : str, optional
        What to call the data set in a report; the folder's own name unless told otherwise.

    Attributes
    ----------
    root : Path
    mode : str
    name : str
    classes : tuple of str
        The names of the sub-folders, sorted by code point.
    class_to_idx : dict
        The label of each class: its place in `classes`.
    paths : tuple of str
        The files, sorted by class, then folder, then name.
    labels : numpy.ndarray
        The label of each file, int64 of shape (N,), read-only.
    samples, imgs : list of (str, int)
        Each file with its label, as torchvision has them.
    targets : list of int
        The labels.

    Raises
    ------
    DataError
        If `mode` is another one, there is no such folder, it has no sub-folder, or one without images.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        *,
        mode: str = "RGB",
        name: str | None = None,
    ):
        self.root = Path(root)
        self.transform, self.target_transform = transform, target_transform
        self.mode = require_choice("mode", mode, IMAGE_MODES, error=DataError)
        self.name = self.root.resolve().name if name is None else name
        self.classes = class_folders(self.root)
        self.class_to_idx = {each: label for label, each in enumerate(self.classes)}
        paths, labels = [], []
        for label, each in enumerate(self.classes):
            found = [path for path in files_below(self.root / each) if is_image_name(path)]
            if not found:
                raise DataError(
                    f"class {each} in {self.root} has no images; put some there, or remove the folder. "
                    f"Taken are files that end in {', '.join(IMAGE_EXTENSIONS)}"
                )
            paths += found
            labels += [label] * len(found)
        self._set_samples(tuple(paths), np.array(labels, dtype=np.int64))

    def _set_samples(self, paths: tuple[str, ...], labels: np.ndarray) -> None:
        self.paths, self.labels = paths, labels
        self.labels.flags.writeable = False

    @property
    def samples(self) -> list[tuple[str, int]]:
        return list(zip(self.paths, self.targets, strict=True))

    imgs = samples

    @property
    def targets(self) -> list[int]:
        return self.labels.tolist()

    def __len__(self) -> int:
        """Return N, the number of images."""
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Read one image, uint8 of shape (C, H, W), and return it with its label, or what is made of them.

        Raises
        ------
        IndexError
            If there is no such image.
        DamagedSample
            If the file cannot be read as an image.
        """
        path, label = self.paths[index], int(self.labels[index])
        image = _read(path, self.mode)
        return (
            image if self.transform is None else self.transform(image_of(self.name, image)),
            label if self.target_transform is None else self.target_transform(label),
        )

    def __repr__(self) -> str:
        """Name, number and classes on one line."""
        return f"<ImageFolder {self.name}: {len(self):,} images, {len(self.classes)} classes>"

    def subset(self, indices: Sequence[int] | np.ndarray, name: str | None = None) -> "ImageFolder":
        """Return a data set of the images with these numbers, in this order, and all the classes.

        Raises
        ------
        DataError
            If an index is not an integer from 0 to N - 1.
        """
        chosen = [require_int("an index", index, 0, len(self) - 1, error=DataError) for index in indices]
        part = copy.copy(self)
        part.name = self.name if name is None else name
        part._set_samples(tuple(self.paths[index] for index in chosen), self.labels[chosen])
        return part

    def counts(self) -> dict[str, int]:
        """Return the number of images of each class."""
        found = np.bincount(self.labels, minlength=len(self.classes))
        return dict(zip(self.classes, found.tolist(), strict=True))


def open_image_folders(root: str | os.PathLike[str], *, mode: str = "RGB") -> tuple[ImageFolder, ImageFolder]:
    """Open `root/train` and, next to it, the images to validate on.

    This is what `minialex data split` writes, and ImageNet's layout: `train/n01440764/*.JPEG` and
    `val/n01440764/*.JPEG`, with the validation images sorted into the folders of their classes, as the
    scripts known as valprep.sh do. The second folder may be called val, validation or test.

    Parameters
    ----------
    root : path-like
        The folder that holds both.
    mode : {"RGB", "L"}
        Whether images are given in colour or in grey.

    Returns
    -------
    train, validation : ImageFolder
        Named `<folder>-train` and `<folder>-val` (or what the second folder is called).

    Raises
    ------
    DataError
        If one of the two is missing or is not as `ImageFolder` needs it, or their classes differ.
    """
    root = Path(root)
    second = next((name for name in _VALIDATION if (root / name).is_dir()), None)
    if second is None or not (root / _TRAIN).is_dir():
        raise DataError(
            f"{root} must have two folders of classes, {_TRAIN} and {' or '.join(_VALIDATION)}; "
            "`minialex data split` makes them from one folder of classes"
        )
    name = root.resolve().name
    train, validation = (
        ImageFolder(root / part, mode=mode, name=f"{name}-{part}") for part in (_TRAIN, second)
    )
    if train.classes != validation.classes:
        only = [
            sorted(set(a.classes) - set(b.classes)) for a, b in ((train, validation), (validation, train))
        ]
        raise DataError(
            f"{train.root} and {validation.root} must have the same classes; only in the first: "
            f"{in_words(only[0])}, only in the second: {in_words(only[1])}"
        )
    return train, validation


def has_parts(root: str | os.PathLike[str]) -> bool:
    """Return whether a folder is one that `open_image_folders` takes, and not one of classes."""
    root = Path(root)
    return (root / _TRAIN).is_dir() and any((root / name).is_dir() for name in _VALIDATION)


def class_folders(root: Path) -> tuple[str, ...]:
    """Return the names of the sub-folders of a folder, sorted by code point, without hidden ones.

    Raises
    ------
    DataError
        If there is no such folder, it cannot be read, or it has no sub-folder.
    """
    try:
        with os.scandir(root) as entries:
            names = sorted(each.name for each in entries if each.is_dir() and not _is_hidden(each.name))
    except OSError as error:
        raise DataError(f"cannot read the folder {root}: {error.strerror}; check the path") from None
    if not names:
        raise DataError(f"{root} has no sub-folders; there must be one for each class, with its images")
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(f"the name of the class folder {name!r} is not valid UTF-8; rename it") from None
    return tuple(names)


def files_below(folder: Path) -> Iterator[str]:
    """Give the files in a folder and its sub-folders, without hidden ones, sorted by folder and name.

    Raises
    ------
    DataError
        If a folder cannot be read.
    """
    for place, names in sorted(_visible(folder)):
        yield from (os.path.join(place, name) for name in sorted(names))


def is_image_name(path: str) -> bool:
    """Return whether a file's name ends as that of an image does."""
    return path.lower().endswith(IMAGE_EXTENSIONS)


def find_damaged(paths: Iterable[str], mode: str = "RGB") -> Iterator[tuple[str, str | None]]:
    """Decode every file, on all processors, and give each path with what is wrong with it, or None.

    Pillow lets other threads run while it decodes.
    """

    def reason(path: str) -> str | None:
        try:
            _read(path, mode)
        except DamagedSample as error:
            return error.reason
        return None

    paths = iter(paths)
    with ThreadPoolExecutor(available_threads()) as pool:
        # A part at a time: millions of tasks would be made ready before the first is done.
        while part := list(islice(paths, _PATHS_AT_ONCE)):
            yield from zip(part, pool.map(reason, part), strict=True)


def _read(path: str, mode: str) -> np.ndarray:
    try:
        return read_image(path, mode)
    except DamagedSample:
        raise
    # A file that has gone or may not be read.
    except DataError as error:
        raise DamagedSample(path, str(error)) from None


def _visible(folder: Path) -> Iterator[tuple[str, list[str]]]:
    for place, folders, names in os.walk(folder, onerror=_raise):
        # `os.walk` goes on into the folders that are left here.
        folders[:] = (each for each in folders if not _is_hidden(each))
        yield place, [name for name in names if not _is_hidden(name)]


def _is_hidden(name: str) -> bool:
    return name.startswith(".")


def _raise(error: OSError) -> None:
    raise DataError(f"cannot read the folder {error.filename}: {error.strerror}") from None
