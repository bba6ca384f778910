"""The data sets that a run can name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minialex.data import ArrayDataset, load_digits, load_mnist
from minialex.errors import DataError


@dataclass(frozen=True)
class Source:
    """A data set by name.

    Attributes
    ----------
    description : str
        One line for the command line's help.
    needs_folder : bool
        Whether it reads a folder that the user names, or brings its own data.
    load : callable
        Gives the training and the test part; takes the folder if it needs one.
    """

    description: str
    needs_folder: bool
    load: Callable[..., tuple[ArrayDataset, ArrayDataset]]


SOURCES = {
    "digits": Source("5,000 real MNIST digits, 4,000 to train and 1,000 to test", False, load_digits),
    "mnist": Source("MNIST's four idx files, gzipped or not, from --data-dir", True, load_mnist),
}


def load_source(name: str, folder: str | None) -> tuple[ArrayDataset, ArrayDataset]:
    """Load the training and the test part of a data set.

    Raises
    ------
    DataError
        If the data set needs a folder and there is none, or the other way round, or its files are
        not as they should be.
    """
    source = SOURCES[name]
    if source.needs_folder:
        if folder is None:
            raise DataError(f"data set {name!r} reads a folder; name it with --data-dir")
        return source.load(folder)
    if folder is not None:
        raise DataError(f"data set {name!r} brings its own images; leave out --data-dir {folder}")
    return source.load()
