"""`load_mnist`: the four names, the checks across files, and the real files where they are."""

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from minialex.data import MNIST_MEAN, MNIST_STD, load_digits, load_mnist
from minialex.errors import DataError

REAL = Path(__file__).parents[3] / "shared" / "data" / "mnist"
# Widely published checksums of the unpacked files.
REAL_MD5 = {
    "train-images": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels": "a25bea736e30d166cdddb491f175f624",
    "t10k-images": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels": "27ae3e4e09519cfbb04c329615203637",
}


def idx(*shape, fill=None, code=8):
    count = int(np.prod(shape))
    elements = bytes(i % 251 for i in range(count)) if fill is None else bytes(fill)
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape) + elements


def contents(**changed):
    files = {
        "train_images": idx(3, 4, 5),
        "train_labels": idx(3, fill=[7, 0, 9]),
        "t10k_images": idx(2, 4, 5),
        "t10k_labels": idx(2, fill=[1, 2]),
    }
    return files | changed


def write_folder(folder, files, mark="-", end=""):
    for key, content in files.items():
        kind = "idx3-ubyte" if key.endswith("images") else "idx1-ubyte"
        name = key.replace("_", "-") + mark + kind + end
        (folder / name).write_bytes(gzip.compress(content) if end else content)
    return folder


@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_four_spellings_of_the_names_are_found(tmp_path, mark, end):
    train, test = load_mnist(write_folder(tmp_path, contents(), mark, end))

    assert train.images.shape == (3, 1, 4, 5)
    assert train.images.ravel().tolist() == list(range(60))
    assert train.labels.tolist() == [7, 0, 9]
    assert test.images.shape == (2, 1, 4, 5)
    assert test.labels.tolist() == [1, 2]
    assert train.classes == tuple("0123456789")
    assert (train.name, test.name) == ("mnist-train", "mnist-test")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train_images": idx(3, 4)}, "must hold images as uint8 of rank 3, not an array of uint8 and shape"),
        ({"train_images": idx(3, 4, 5, code=9)}, "images as uint8 of rank 3, not an array of int8"),
        ({"train_labels": idx(3, 1)}, "must hold labels as uint8 of rank 1"),
        ({"train_labels": idx(4)}, "has 3 images but train-labels-idx1-ubyte 4 labels"),
        ({"t10k_labels": idx(2, fill=[1, 10])}, "has the label 10; those of mnist are from 0 to 9"),
        ({"t10k_images": idx(2, 5, 4)}, "must have the same size, not 4 x 5 and 5 x 4"),
        ({"t10k_images": idx(0, 4, 5), "t10k_labels": idx(0)}, "holds no images"),
        ({"train_images": b"nonsense"}, "train-images-idx3-ubyte is not an idx file"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, changed, message):
    write_folder(tmp_path, contents(**changed))
    with pytest.raises(DataError) as caught:
        load_mnist(tmp_path)
    assert message in str(caught.value)


def test_a_folder_without_data_says_what_was_looked_for(tmp_path):
    with pytest.raises(DataError) as caught:
        load_mnist(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} has no train-images file; looked for train-images-idx3-ubyte, "
        "train-images-idx3-ubyte.gz, train-images.idx3-ubyte, train-images.idx3-ubyte.gz"
    )


@pytest.mark.parametrize("missing", sorted(REAL_MD5))
def test_each_missing_file_is_named(tmp_path, missing):
    files = contents()
    del files[missing.replace("-", "_")]
    write_folder(tmp_path, files)
    with pytest.raises(DataError, match=f"has no {missing} file"):
        load_mnist(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(DataError, match=f"there is no folder {path}"):
            load_mnist(path)


@pytest.fixture(scope="module")
def real_mnist():
    if not REAL.is_dir():
        pytest.skip(f"the MNIST files are not in {REAL}")
    return load_mnist(REAL)


def test_the_real_files_are_read_to_the_last_byte(real_mnist):
    # Header as the format's page gives it, then the elements: the unpacked file again.
    for part, prefix, count in zip(real_mnist, ("train", "t10k"), (60_000, 10_000), strict=True):
        images = struct.pack(">4I", 2051, count, 28, 28) + part.images.tobytes()
        labels = struct.pack(">2I", 2049, count) + part.labels.astype(np.uint8).tobytes()
        assert hashlib.md5(images).hexdigest() == REAL_MD5[f"{prefix}-images"]
        assert hashlib.md5(labels).hexdigest() == REAL_MD5[f"{prefix}-labels"]


def test_the_constants_are_mean_and_deviation_of_the_training_pixels(real_mnist):
    counts = np.bincount(real_mnist[0].images.ravel(), minlength=256)
    values = np.arange(256) / 255
    mean = (counts * values).sum() / counts.sum()
    variance = (counts * (values - mean) ** 2).sum() / counts.sum()
    assert round(mean, 4) == MNIST_MEAN
    assert round(variance**0.5, 4) == MNIST_STD


def test_the_digits_are_training_images_of_mnist_with_their_labels(real_mnist):
    train = real_mnist[0]
    known = {image.tobytes(): label for image, label in zip(train.images, train.labels, strict=True)}
    for part in load_digits():
        found = [known.get(image.tobytes()) for image in part.images]
        assert found == part.labels.tolist()
