"""Fetching data sets: verified by checksum, and put in place in one step.

Pooch fetches a file, checks it and gives it its name. `ResumingDownloader` adds what pooch lacks: a download
that broke off goes on where it stopped, and a server that asks for patience gets it.
"""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minialex.data.registry import DATASETS, RemoteFile
from minialex.errors import DataError
from minialex.files import write_json

if TYPE_CHECKING:
    from requests import Response

# Called with what is being done, how many bytes are done, and how many there are.
Progress = Callable[[str, int, int], None]
# Called with a line for the user, when a server has failed and what comes next.
Notice = Callable[[str], None]

_TIMEOUT_SECONDS = 30
# This many tries in a row may bring nothing new before a server is given up; the waits between them.
_TRIES = 5
_WAITS_SECONDS = (1, 2, 4, 8)
_LONGEST_WAIT_SECONDS = 60
_CHUNK_BYTES = 1 << 16
_TEMPORARY_STATUS = (408, 425, 429, 500, 502, 503, 504)


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
        A data set of `minialex.data.registry` that has `remote`.
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
    remotes = {each: dataset.remote for each, dataset in DATASETS.items() if dataset.remote is not None}
    if name not in remotes:
        raise DataError(f"unknown data set {name!r} to download; there are {', '.join(remotes)}")
    remote, to = remotes[name], Path(to)
    folder = to if remote.folder is None else to / remote.folder
    if remote.folder is not None and folder.exists():
        # It got its name when it was whole.
        return folder
    to.mkdir(parents=True, exist_ok=True)
    report = progress or (lambda what, done, total: None)
    servers = remote.servers if url is None else (url,)
    for file in remote.files:
        addresses = [f"{server.rstrip('/')}/{file.name}" for server in servers]
        fetch(addresses, to / file.name, file, progress=report, notice=notice or (lambda line: None))
        if remote.folder is not None:
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
    import pooch

    if path.exists():
        if pooch.file_hash(path) != file.sha256:
            raise DataError(f"{path} is there, but is not the published {file.name}; move it away")
        progress(file.name, file.size, file.size)
        return
    failures = []
    for i, address in enumerate(addresses):
        try:
            _fetch_from(address, path, ResumingDownloader(path, file, progress, notice, wait))
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


def _fetch_from(address: str, path: Path, downloader: ResumingDownloader) -> None:
    import pooch

    # Progress and notices say what pooch would log.
    pooch.get_logger().setLevel("WARNING")
    sha256 = f"sha256:{downloader.file.sha256}"
    for last in (False, True):
        try:
            # pooch states the type of a downloader with the parameters of another class.
            fetch: Any = downloader
            pooch.retrieve(address, sha256, path.name, path.parent, downloader=fetch)
            return
        except ValueError as error:
            # Bytes of several answers may be of different files, for all that the server said.
            if last or not downloader.is_joined:
                reason = str(error).partition(". ")[0]
                raise _GivenUp(f"it sends something else: {reason}") from None


class ResumingDownloader:
    """A downloader for `pooch.retrieve` that goes on where an earlier one stopped.

    The bytes are kept in `<path>.part` until as many are there as the file has. What the server calls this
    version of the file (its ETag, or the date of its change) is kept in `<path>.part.json`. A later try sends
    it along with the request to go on (If-Range), so that a server whose file has changed gives the new one
    from the start.

    A server that answers nothing, breaks off, or asks for patience is tried again, waiting 1, 2, 4
    and 8 s, for as long as one try in five brings something new.

    Attributes
    ----------
    is_joined : bool
        Whether the bytes of the last call came in more than one answer.
    """

    def __init__(
        self,
        path: Path,
        file: RemoteFile,
        progress: Progress,
        notice: Notice,
        wait: Callable[[float], None],
    ):
        self.file, self.progress, self.notice, self.wait = file, progress, notice, wait
        self.part = path.with_name(f"{path.name}.part")
        self.notes = path.with_name(f"{path.name}.part.json")
        self.is_joined = False

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Fetch the file into `output_file`; pooch checks it."""
        self.is_joined = self._length() > 0
        failed, furthest = 0, self._length()
        while self._length() < self.file.size:
            try:
                self._continue(url)
            except _TryAgain as error:
                failed = 1 if self._length() > furthest else failed + 1
                furthest = max(furthest, self._length())
                if failed == _TRIES:
                    raise _GivenUp(f"{error}, after {_TRIES} tries") from None
                seconds = _WAITS_SECONDS[failed - 1] if error.seconds is None else error.seconds
                seconds = min(seconds, _LONGEST_WAIT_SECONDS)
                self.notice(f"{url}: {error}; trying again in {seconds:g} s")
                self.wait(seconds)
        self.notes.unlink(missing_ok=True)
        self.part.replace(output_file)

    def _length(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _version(self, url: str) -> str | None:
        """What the server called the version that the bytes are of; None if that is not known."""
        try:
            notes = json.loads(self.notes.read_text())
            is_ours = notes["address"] == url and isinstance(notes["version"], str)
            return notes["version"] if is_ours else None
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def _forget(self) -> None:
        # The notes first: bytes without notes are fetched again, notes must not outlive their bytes.
        self.notes.unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)
        self.is_joined = False

    def _continue(self, url: str) -> None:
        """Ask for what is missing, or for everything, and append what comes."""
        have, version = self._length(), self._version(url)
        # Compressed on the way, bytes could not be counted.
        headers = {"User-Agent": "minialex", "Accept-Encoding": "identity"}
        if have and version is not None:
            headers |= {"Range": f"bytes={have}-", "If-Range": version}
        with _open(url, headers) as response:
            if response.status_code == 200:
                self._check_length(response, self.file.size)
                self._forget()
                if (version := _version_of(response)) is not None:
                    write_json(self.notes, {"address": url, "version": version})
            elif response.status_code == 206 and _goes_on(response, have, version):
                self._check_length(response, self.file.size - have)
                self.is_joined = True
            else:
                self._forget()
                # 416: the server's file ends before the place to go on from.
                raise _TryAgain(f"it answers {response.status_code} with something else than was asked for")
            self._append(response)

    def _check_length(self, response: Response, expected: int) -> None:
        length = response.headers.get("Content-Length")
        if length is not None and length != str(expected):
            raise _GivenUp(f"it has something else: {length} bytes are to come, not {expected}")

    def _append(self, response: Response) -> None:
        from urllib3.exceptions import HTTPError

        # Gives what has come when the connection breaks; before urllib3 2, `read` does.
        read = getattr(response.raw, "read1", response.raw.read)
        done, size = self._length(), self.file.size
        with self.part.open("ab") as output:
            self.progress(self.file.name, done, size)
            while done < size:
                try:
                    chunk = read(min(_CHUNK_BYTES, size - done))
                except HTTPError:
                    chunk = b""
                if not chunk:
                    raise _TryAgain(f"it broke off after {done:,} of {size:,} bytes")
                output.write(chunk)
                done += len(chunk)
                self.progress(self.file.name, done, size)
            output.flush()
            os.fsync(output.fileno())


def _open(url: str, headers: dict[str, str]) -> Response:
    """The answer to a request, of status 200, 206 or 416, its body still to be read."""
    import requests

    try:
        response = requests.get(url, headers=headers, timeout=_TIMEOUT_SECONDS, stream=True)
    # An address or a redirection that is no http:// or https://.
    except (ValueError, requests.TooManyRedirects) as error:
        raise _GivenUp(_reason(error)) from None
    except requests.RequestException as error:
        raise _TryAgain(_reason(error)) from None
    if response.status_code in (200, 206, 416):
        return response
    response.close()
    reason = f"it answers {response.status_code} {response.reason}"
    if response.status_code not in _TEMPORARY_STATUS:
        raise _GivenUp(reason)
    # Retry-After may also hold a date, which is not read.
    seconds = response.headers.get("Retry-After", "")
    raise _TryAgain(reason, float(seconds) if seconds.isdecimal() else None)


def _goes_on(response: Response, have: int, version: str | None) -> bool:
    """Whether an answer has the bytes from `have` on, of the same version as those before."""
    # Content-Range: bytes FIRST-LAST/TOTAL
    if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        return False
    # A server that does not know If-Range still says what its file is now.
    return version is not None and _version_of(response) in (version, None)


def _version_of(response: Response) -> str | None:
    """What If-Range takes: a strong ETag, or else the date of the last change."""
    tag = response.headers.get("ETag")
    if tag is not None and not tag.startswith("W/"):
        return tag
    return response.headers.get("Last-Modified")


def _reason(error: BaseException) -> str:
    """What went wrong, in a line: of an error of requests, what it was raised for."""
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    while isinstance(error, RequestException | HTTPError) and error.__context__ is not None:
        error = error.__context__
    return " ".join(str(error).split()) or type(error).__name__


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
            raise DataError(f"cannot unpack {archive}: {' '.join(str(error).split())}") from None
        whole = Path(temporary) / folder.name
        if not whole.is_dir():
            raise DataError(f"{archive} has no folder {folder.name}")
        whole.rename(folder)
