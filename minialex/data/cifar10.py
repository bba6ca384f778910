"""CIFAR-10, in each of the forms in which it is distributed.

The layouts are those of https://www.cs.toronto.edu/~kriz/cifar.html. An image is 3,072 bytes: 1,024
of red, 1,024 of green, 1,024 of blue, each row by row, so that it is (3, 32, 32) in C order.

- The python version: `data_batch_1` to `data_batch_5` and `test_batch`, pickled dictionaries with
  `data`, uint8 of shape (N, 3072), and `labels`, a list of N integers; and `batches.meta` with
  `label_names`. `pickled_arrays` reads them, and executes nothing.
- The binary version: `data_batch_1.bin` and so on, in which each image follows a byte with its
  label; and `batches.meta.txt` with a class name a line.
"""

import gzip
import io
import os
import tarfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

from minialex.checks import in_words
from minialex.data.dataset import ArrayDataset
from minialex.data.pickled_arrays import MAX_BYTES, read_pickled_dict
from minialex.errors import DataError
from minialex.files import open_file

CIFAR_SHAPE = (3, 32, 32)

_IMAGE_BYTES = 3 * 32 * 32
_BATCHES = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
# The original archives unpack to 186 MB.
_MAX_ARCHIVE_BYTES = 1 << 29
_CHUNK_BYTES = 1 << 20

_FOLDERS = ("cifar-10-batches-py", "cifar-10-batches-bin")
# The second name is the one under which Keras keeps the first file.
_ARCHIVES = ("cifar-10-python.tar.gz", "cifar-10-batches-py.tar.gz", "cifar-10-binary.tar.gz")


def load_cifar10(path: str | os.PathLike[str]) -> tuple[ArrayDataset, ArrayDataset]:
    """Read CIFAR-10 from a folder or an archive, in the python or the binary version.

    The batches may have any number of images, so subsets in the same form are read as well; but
    they must have the number that they promise.

    Parameters
    ----------
    path : path-like
        The folder cifar-10-batches-py or cifar-10-batches-bin; a folder that holds one of them, or
        one of the archives cifar-10-python.tar.gz, cifar-10-batches-py.tar.gz (Keras's name for
        it) and cifar-10-binary.tar.gz; or such an archive, whatever its name. Of several in one
        folder the first in this order is read.

    Returns
    -------
    train, test : ArrayDataset
        Images (N, 3, 32, 32): of the full data set 50,000 and 10,000. The classes are those of the
        data set's own list.

    Raises
    ------
    DataError
        If there is nothing of this kind at `path`, a file is missing or damaged, the files do not
        fit together, or a pickle has anything in it but such a dictionary.
    """
    path = Path(path)
    place = _find(path) if path.is_dir() else path
    files = _read_folder(place) if place.is_dir() else _read_archive(place)
    version = _python_version if "batches.meta" in files else _binary_version
    classes, batches = version(files, path)
    parts = []
    for name, numbers in (("cifar10-train", range(5)), ("cifar10-test", range(5, 6))):
        images = np.concatenate([batches[number][0] for number in numbers])
        labels = np.concatenate([batches[number][1] for number in numbers])
        if not len(images):
            raise DataError(f"{path} has no images for {name}")
        if not (labels.min() >= 0 and labels.max() < len(classes)):
            raise DataError(
                f"{path} names {len(classes)} classes, but {name} has labels from {labels.min()} "
                f"to {labels.max()}"
            )
        parts.append(ArrayDataset(images.reshape(-1, *CIFAR_SHAPE), labels, tuple(classes), name))
    return parts[0], parts[1]


def _names(version: str) -> list[str]:
    if version == "python":
        return ["batches.meta", *_BATCHES]
    return ["batches.meta.txt", *(f"{name}.bin" for name in _BATCHES)]


def _find(folder: Path) -> Path:
    """Return the folder of the files, or the archive, that lies in a folder or is it."""
    for version in ("python", "binary"):
        if (folder / _names(version)[0]).is_file():
            return folder
    for name in _FOLDERS:
        if (folder / name).is_dir():
            return folder / name
    for name in _ARCHIVES:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"{folder} holds no CIFAR-10; looked for batches.meta and batches.meta.txt, and for "
        f"{', '.join(_FOLDERS + _ARCHIVES)}; `minialex data download cifar10` fetches it"
    )


def _read_folder(path: Path) -> dict[str, bytes]:
    files = {}
    version = "python" if (path / "batches.meta").is_file() else "binary"
    for name in _names(version):
        if not (path / name).is_file():
            raise DataError(f"{path} has no file {name}, which belongs to the {version} version of CIFAR-10")
        with open_file(path / name) as file:
            _check_size(os.fstat(file.fileno()).st_size, path / name)
            files[name] = file.read()
    return files


def _read_archive(path: Path) -> dict[str, bytes]:
    """Return the files of CIFAR-10 in an archive, from the first to the last of its bytes once."""
    wanted = {*_names("python"), *_names("binary")}
    files = {}
    try:
        with open_file(path) as file, gzip.open(file) as unpacked:
            limited = _Limited(unpacked, path)
            # As a stream: seeking back in gzip data would unpack all of it again.
            with tarfile.open(fileobj=limited, mode="r|") as archive:
                for member in archive:
                    name = PurePosixPath(member.name).name
                    if name not in wanted or not member.isreg():
                        continue
                    if name in files:
                        raise DataError(f"{path} holds {name} twice")
                    _check_size(member.size, f"{path}: {name}")
                    content = archive.extractfile(member)
                    files[name] = content.read()  # pyright: ignore[reportOptionalMemberAccess] - of a file
            # The checksum stands at the end of the gzip data, after what ends the archive.
            while limited.read(_CHUNK_BYTES):
                pass
    except (EOFError, OSError, zlib.error, tarfile.TarError) as error:
        reason = str(error).rstrip(".")
        raise DataError(f"{path} is a damaged archive ({reason}); fetch it again") from None
    version = "python" if "batches.meta" in files else "binary"
    missing = [name for name in _names(version) if name not in files]
    if missing:
        raise DataError(f"{path} holds no {missing[0]}; it is not an archive of CIFAR-10, or not a whole one")
    return files


class _Limited(io.RawIOBase):
    """Reads a stream and stops a compressed file that unpacks to far more than CIFAR-10."""

    def __init__(self, stream: gzip.GzipFile, path: Path):
        self.stream, self.path, self.left = stream, path, _MAX_ARCHIVE_BYTES

    def read(self, size: int = -1) -> bytes:
        content = self.stream.read(min(size, self.left + 1) if size >= 0 else self.left + 1)
        self.left -= len(content)
        if self.left < 0:
            raise DataError(
                f"{self.path} unpacks to more than {_MAX_ARCHIVE_BYTES:,} bytes; it is not CIFAR-10"
            )
        return content


def _check_size(size: int, name: object) -> None:
    if size > MAX_BYTES:
        raise DataError(f"{name} has {size:,} bytes; a batch of CIFAR-10 has at most {MAX_BYTES:,}")


def _python_version(files: dict[str, bytes], path: Path) -> tuple[list[str], list]:
    name = f"{path}: batches.meta"
    meta = read_pickled_dict(files["batches.meta"], name)
    classes = _list_of(meta, "label_names", (str, bytes), name)
    classes = _class_names(
        [each if isinstance(each, str) else each.decode("latin-1") for each in classes], name
    )
    if meta.get("num_vis", _IMAGE_BYTES) != _IMAGE_BYTES:
        raise DataError(f"{name} promises {meta['num_vis']} bytes an image; CIFAR-10 has {_IMAGE_BYTES:,}")
    promised = meta.get("num_cases_per_batch")
    if type(promised) not in (int, type(None)):
        raise DataError(f"{name} must have an integer num_cases_per_batch, or none")
    return classes, [_pickled_batch(files[each], f"{path}: {each}", promised) for each in _BATCHES]


def _pickled_batch(content: bytes, name: str, promised: int | None) -> tuple[np.ndarray, np.ndarray]:
    batch = read_pickled_dict(content, name)
    images = batch.get("data")
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (_IMAGE_BYTES,):
        wanted = f"uint8 of shape (N, {_IMAGE_BYTES})"
        raise DataError(f"{name} must have an array data, {wanted}, not {in_words(images)}")
    labels = batch.get("labels")
    if isinstance(labels, np.ndarray) and labels.ndim == 1:
        labels = labels.tolist()
    else:
        labels = _list_of(batch, "labels", (int,), name)
    counts = {"images": len(images), "labels": len(labels)}
    if isinstance(batch.get("filenames"), list):
        counts["file names"] = len(batch["filenames"])
    if promised is not None:
        counts["promised in batches.meta"] = promised
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{count} {what}" for what, count in counts.items())
        raise DataError(f"{name} does not agree with itself: {said}")
    if labels and not (min(labels) >= 0 and max(labels) <= 255):
        raise DataError(f"{name} has labels from {min(labels)} to {max(labels)}; a class has a number from 0")
    return images, np.array(labels, dtype=np.int64)


def _binary_version(files: dict[str, bytes], path: Path) -> tuple[list[str], list]:
    name = f"{path}: batches.meta.txt"
    lines = files["batches.meta.txt"].decode("latin-1").splitlines()
    classes = _class_names([line.strip() for line in lines if line.strip()], name)
    return classes, [_binary_batch(files[f"{each}.bin"], f"{path}: {each}.bin") for each in _BATCHES]


def _binary_batch(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    record = 1 + _IMAGE_BYTES
    if len(content) % record:
        raise DataError(
            f"{name} has {len(content):,} bytes, which is not a multiple of {record:,}; it is truncated"
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, record)
    return records[:, 1:], records[:, 0].astype(np.int64)


def _list_of(values: dict, key: str, kinds: tuple[type, ...], name: str) -> list:
    found = values.get(key)
    if not isinstance(found, list) or not all(type(each) in kinds for each in found):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise DataError(f"{name} must have a list {key} of {wanted}")
    return found


def _class_names(names: list[str], where: str) -> list[str]:
    if not names or len(set(names)) < len(names) or not all(names):
        raise DataError(f"{where} must name one or more classes, all different, not {names[:12]}")
    return names
