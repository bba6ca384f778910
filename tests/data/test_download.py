"""`download` against a server on this machine that breaks off, forgets, lies, and changes its mind."""

import hashlib
import http.server
import io
import itertools
import json
import os
import socket
import tarfile
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest

from minialex.data import download as module
from minialex.data.download import download, fetch, unpack
from minialex.data.registry import DATASETS, NamedDataset, RemoteDataset, RemoteFile
from minialex.errors import DataError

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
OTHER = CONTENT[::-1]
FILE = RemoteFile("data.bin", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


@dataclass
class Answer:
    """How the server answers one request; as it comes, a correct server that knows Range and If-Range."""

    content: bytes = CONTENT
    etag: str | None = '"first"'
    modified: str | None = None
    status: int | None = None  # instead of 200 or 206
    drop_after: int | None = None  # bytes of the body, after which the connection is closed
    length: int | None = None  # the Content-Length to claim; -1 for none
    knows_range: bool = True
    knows_if_range: bool = True
    start_off_by: int = 0  # by how much another range is sent, and said to be, than was asked for
    headers: dict = field(default_factory=dict)


class Server(http.server.ThreadingHTTPServer):
    """Gives the `answers` in turn, the last one for ever, and keeps the `requests`."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.requests = [Answer()], []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append((self.path, dict(self.headers)))
        answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
        version = answer.etag or answer.modified
        range_ = self.headers.get("Range") if answer.knows_range else None
        if range_ and answer.knows_if_range and self.headers.get("If-Range", version) != version:
            range_ = None
        body, status, extra = answer.content, 200, {}
        if range_:
            start = int(range_.removeprefix("bytes=").removesuffix("-")) + answer.start_off_by
            body, status = body[start:], 206
            extra["Content-Range"] = f"bytes {start}-{len(answer.content) - 1}/{len(answer.content)}"
            if not body:
                body, status, extra = b"", 416, {"Content-Range": f"bytes */{len(answer.content)}"}
        if answer.status:
            body, status = b"the server says so", answer.status
        self.send_response(status)
        length = len(body) if answer.length is None else answer.length
        for name, value in {
            "Content-Length": length if length >= 0 else None,
            "ETag": answer.etag,
            "Last-Modified": answer.modified,
            **extra,
            **answer.headers,
        }.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if answer.drop_after is None else body[: answer.drop_after])
        self.close_connection = True


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def get(server, tmp_path):
    """Fetch the file from the server; give what was waited for. The progress must never go beyond the end."""

    def get(addresses=None, file=FILE):
        waits, calls, notices = [], [], []
        addresses = [f"{server.url}/{file.name}"] if addresses is None else addresses
        try:
            fetch(
                addresses,
                tmp_path / file.name,
                file,
                progress=lambda *call: calls.append(call),
                notice=notices.append,
                wait=waits.append,
            )
            assert calls[-1] == (file.name, file.size, file.size)
        finally:
            assert all(what == file.name and done <= total == file.size for what, done, total in calls)
        assert (tmp_path / file.name).read_bytes() == CONTENT
        assert os.listdir(tmp_path) == [file.name]
        others = [line.rpartition("; ")[2] for line in notices if "trying again" not in line]
        assert others == [f"trying {address}" for address in addresses[1 : 1 + len(others)]]
        again = [line for line in notices if "trying again" in line]
        assert [line.rpartition("; ")[2] for line in again] == [
            f"trying again in {each:g} s" for each in waits
        ]
        return waits

    return get


def ranges(server):
    return [headers.get("Range") for _, headers in server.requests]


def test_a_file_is_fetched_once(server, get):
    assert get() == []
    assert ranges(server) == [None]
    assert server.requests[0][0] == "/data.bin"
    assert server.requests[0][1]["Accept-Encoding"] == "identity"
    assert get() == []
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "version", [{"etag": '"v1"'}, {"etag": None, "modified": "Tue, 01 Jan 2019 00:00:00 GMT"}]
)
def test_a_broken_download_goes_on_where_it_stopped(server, get, version):
    server.answers = [
        Answer(drop_after=100_000, **version),
        Answer(drop_after=50_000, **version),
        Answer(**version),
    ]
    assert get() == [1, 1]
    assert ranges(server) == [None, "bytes=100000-", "bytes=150000-"]
    expected = version["etag"] or version["modified"]
    assert [headers.get("If-Range") for _, headers in server.requests] == [None, expected, expected]


def test_a_later_call_goes_on_as_well(server, get, tmp_path):
    server.answers = [Answer(drop_after=70_000), Answer(status=404)]
    with pytest.raises(DataError, match="answers 404"):
        get()
    assert sorted(os.listdir(tmp_path)) == ["data.bin.part", "data.bin.part.json"]
    assert (tmp_path / "data.bin.part").read_bytes() == CONTENT[:70_000]
    server.answers = [Answer()]
    get()
    assert ranges(server)[-1] == "bytes=70000-"


def test_many_breaks_are_survived_as_long_as_each_brings_something(server, get):
    server.answers = [Answer(drop_after=20_000)]
    assert get() == [1] * 14
    assert len(server.requests) == 15


def test_a_server_that_ignores_range_starts_anew(server, get):
    server.answers = [Answer(drop_after=100_000), Answer(knows_range=False)]
    get()
    assert ranges(server) == [None, "bytes=100000-"]


def test_a_server_without_range_that_breaks_off_again_and_again_is_given_up(server, get):
    # The second and third try go further than the first; those after them do not.
    server.answers = [Answer(knows_range=False, drop_after=n) for n in (10_000, 20_000, 30_000, 30_000)]
    with pytest.raises(DataError, match="it broke off after 30,000 of 300,000 bytes, after 5 tries"):
        get()
    assert len(server.requests) == 7


@pytest.mark.parametrize("version", [{"etag": None}, {"etag": 'W/"weak"'}])
def test_without_a_strong_version_a_broken_download_starts_anew(server, get, version):
    server.answers = [Answer(drop_after=100_000, **version), Answer(**version)]
    get()
    assert ranges(server) == [None, None]


@pytest.mark.parametrize("knows_if_range", [True, False])
def test_a_file_that_changes_between_tries_is_not_glued_together(server, get, knows_if_range):
    changed = Answer(etag='"second"', knows_if_range=knows_if_range)
    server.answers = [Answer(content=OTHER, drop_after=100_000), changed]
    waits = get()
    # Where the server does not know If-Range, it shows by its ETag that its file is another one, and is
    # asked again before any of it is read.
    assert waits == ([1] if knows_if_range else [1, 2])
    assert ranges(server) == [None, "bytes=100000-"] + [None] * (not knows_if_range)


def test_a_file_that_changes_secretly_is_found_out_by_its_checksum(server, get):
    server.answers = [Answer(content=OTHER, drop_after=100_000), Answer(), Answer()]
    get()
    assert ranges(server) == [None, "bytes=100000-", None]


def test_a_server_that_sends_another_range_is_not_believed(server, get):
    server.answers = [Answer(drop_after=100_000), Answer(start_off_by=1), Answer()]
    get()
    assert ranges(server) == [None, "bytes=100000-", None]


def test_bytes_left_by_something_else_are_not_kept(server, get, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(OTHER)
    get()
    assert ranges(server) == [None]


@pytest.mark.parametrize("left", [CONTENT[:1000], CONTENT + b"more"])
@pytest.mark.parametrize(
    "notes", ["", "[]", '{"version": 3}', '{"address": "http://x", "version": "\\"first\\""}']
)
def test_bytes_whose_version_is_not_known_are_not_kept(server, get, tmp_path, left, notes):
    (tmp_path / "data.bin.part").write_bytes(left)
    (tmp_path / "data.bin.part.json").write_text(notes)
    get()
    assert ranges(server) == [None]


def test_a_file_shorter_than_what_is_there_starts_anew(server, get):
    server.answers = [Answer(drop_after=100_000), Answer(content=CONTENT[:100_000]), Answer()]
    get()
    assert ranges(server) == [None, "bytes=100000-", None]


def test_wrong_bytes_are_refused_and_removed(server, get, tmp_path):
    server.answers = [Answer(content=OTHER)]
    with pytest.raises(DataError) as caught:
        get()
    message = str(caught.value)
    assert message.startswith(f"cannot fetch data.bin. {server.url}/data.bin: it sends something else: ")
    assert FILE.sha256 in message
    assert message.endswith(f" but got {hashlib.sha256(OTHER).hexdigest()}")
    assert os.listdir(tmp_path) == []
    assert len(server.requests) == 1


def test_wrong_bytes_from_a_server_that_breaks_off_are_refused_in_the_end(server, get, tmp_path):
    server.answers = [Answer(content=OTHER, drop_after=200_000)]
    with pytest.raises(DataError, match="it sends something else"):
        get()
    assert os.listdir(tmp_path) == []
    assert len(server.requests) == 4


@pytest.mark.parametrize("content", [CONTENT + b"!", CONTENT[:-1], b"<html>Please log in</html>", b""])
def test_a_wrong_length_is_refused_before_anything_is_written(server, get, tmp_path, content):
    server.answers = [Answer(content=content)]
    with pytest.raises(
        DataError, match=f"it has something else: {len(content)} bytes are to come, not 300000"
    ):
        get()
    assert os.listdir(tmp_path) == []


def test_a_log_in_page_does_not_cost_what_is_there(server, get, tmp_path):
    page = Answer(content=b"<html>", etag=None, knows_range=False)
    server.answers = [Answer(drop_after=100_000), page]
    with pytest.raises(DataError, match="6 bytes are to come"):
        get()
    assert (tmp_path / "data.bin.part").stat().st_size == 100_000


def test_a_length_that_is_claimed_and_not_sent_is_a_break(server, get):
    server.answers = [Answer(content=CONTENT[:-1], length=300_000), Answer()]
    assert get() == [1]


def test_an_endless_answer_is_cut_at_the_known_size(server, get):
    server.answers = [Answer(content=CONTENT + bytes(5_000_000), length=-1)]
    assert get() == []


def test_errors_that_pass_are_tried_again_and_waited_for(server, get):
    server.answers = [Answer(status=code) for code in (503, 429, 500, 408)] + [Answer()]
    assert get() == [1, 2, 4, 8]


def test_the_server_may_ask_for_a_longer_wait(server, get):
    times = ("7", "86400", "Tue, 01 Jan 2030 00:00:00 GMT")
    server.answers = [*(Answer(status=503, headers={"Retry-After": each}) for each in times), Answer()]
    assert get() == [7, 60, 4]


def test_an_error_that_stays_ends_after_five_tries(server, get):
    server.answers = [Answer(status=503)]
    with pytest.raises(DataError, match="it answers 503 Service Unavailable, after 5 tries"):
        get()
    assert len(server.requests) == 5


@pytest.mark.parametrize("code", [400, 403, 404, 410])
def test_a_refusal_is_not_tried_again(server, get, code):
    server.answers = [Answer(status=code)]
    with pytest.raises(DataError, match=f"it answers {code}"):
        get()
    assert len(server.requests) == 1


def test_the_next_server_is_asked_and_gets_no_part_of_the_first(server, get):
    server.answers = [Answer(drop_after=100_000), Answer(status=404), Answer(content=OTHER), Answer()]
    get([f"{server.url}/{name}" for name in "abc"])
    assert [path for path, _ in server.requests] == ["/a", "/a", "/b", "/c"]
    assert ranges(server) == [None, "bytes=100000-", None, None]


def test_all_servers_are_named_when_none_has_the_file(server, get):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/x"
        server.answers = [Answer(status=404)]
        with pytest.raises(DataError) as caught:
            get([nobody, f"{server.url}/y", "file:///etc/passwd", "ftp://x/y", "http://a b/c", "data.bin"])
    message = str(caught.value)
    for part in (
        f"{nobody}: [Errno 111] Connection refused, after 5 tries",
        f"{server.url}/y: it answers 404",
        "file:///etc/passwd: No connection adapters were found",
        "ftp://x/y: No connection adapters were found",
        "http://a b/c: ",
        "data.bin: Invalid URL",
    ):
        assert part in message


def test_a_redirection_is_followed_but_not_to_a_file(server, get):
    server.answers = [Answer(status=302, headers={"Location": "/moved"}), Answer()]
    get()
    assert [path for path, _ in server.requests] == ["/data.bin", "/moved"]


def test_a_redirection_to_a_file_is_refused(server, get, tmp_path):
    (tmp_path / "secret").write_bytes(CONTENT)
    server.answers = [Answer(status=302, headers={"Location": f"file://{tmp_path}/secret"})]
    with pytest.raises(DataError, match="No connection adapters were found for"):
        get()


def test_a_server_that_falls_silent_is_left(server, get, monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT_SECONDS", 0.2)
    start = time.monotonic()
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(DataError, match="timed out, after 5 tries"),
    ):
        get([f"http://127.0.0.1:{silent.getsockname()[1]}/x"])
    assert time.monotonic() - start < 20


def test_another_file_in_the_way_is_not_touched(server, get, tmp_path):
    (tmp_path / "data.bin").write_bytes(OTHER)
    with pytest.raises(DataError, match=r"is there, but is not the published data\.bin; move it away"):
        get()
    assert (tmp_path / "data.bin").read_bytes() == OTHER
    assert server.requests == []


def test_a_kill_while_it_is_fetched_leaves_no_file_of_that_name(server, tmp_path):
    def stop(what, done, total):
        if done > 150_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch([f"{server.url}/data.bin"], tmp_path / "data.bin", FILE, progress=stop, notice=print)
    assert sorted(os.listdir(tmp_path)) == ["data.bin.part", "data.bin.part.json"]
    assert (tmp_path / "data.bin.part").read_bytes() == CONTENT[: (tmp_path / "data.bin.part").stat().st_size]


def tar(members, mode="w:gz"):
    """An archive of (name or TarInfo, content)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for member, content in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, str(target)
    return info


GOOD = tar([("set/a/1.txt", b"one"), ("set/b/2.txt", b"two" * 10_000), ("beside.txt", b"x")])


@pytest.fixture
def remote(monkeypatch, server):
    """Publish an archive as the data set `made`."""

    def publish(content, folder="set"):
        file = RemoteFile("made.tgz", len(content), hashlib.sha256(content).hexdigest())
        remote = RemoteDataset("Made up", (f"{server.url}/pub/",), (file,), folder)
        monkeypatch.setitem(DATASETS, "made", NamedDataset("Made up", None, remote=remote))
        server.answers = [Answer(content=content)]

    return publish


def test_an_archive_is_fetched_and_unpacked(server, remote, tmp_path):
    remote(GOOD)
    calls = []
    folder = download("made", tmp_path / "data", progress=lambda *call: calls.append(call))
    assert folder == tmp_path / "data/set"
    assert (folder / "a/1.txt").read_bytes() == b"one"
    assert (folder / "b/2.txt").read_bytes() == b"two" * 10_000
    assert sorted(os.listdir(tmp_path / "data")) == ["made.tgz", "set"]
    assert server.requests[0][0] == "/pub/made.tgz"
    assert {what for what, _, _ in calls} == {"made.tgz", "unpacking made.tgz"}
    assert all(done <= total == len(GOOD) for _, done, total in calls)
    before = os.umask(0)
    os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o777 & ~before
    assert download("made", tmp_path / "data") == folder
    assert len(server.requests) == 1


def test_another_address_is_asked_instead(server, remote, tmp_path):
    remote(GOOD)
    for number, url in enumerate([f"{server.url}/mine", f"{server.url}/mine/"]):
        download("made", tmp_path / str(number), url=url)
    assert [path for path, _ in server.requests] == ["/mine/made.tgz"] * 2


def test_unpacking_goes_on_after_a_kill(server, remote, tmp_path):
    remote(GOOD)

    def stop(what, done, total):
        if what.startswith("unpacking"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download("made", tmp_path, progress=stop)
    assert os.listdir(tmp_path) == ["made.tgz"]
    assert (download("made", tmp_path) / "a/1.txt").read_bytes() == b"one"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "members",
    [
        [("../evil.txt", b"x")],
        [("set/../../evil.txt", b"x")],
        [(link("set/out", ".."), b""), ("set/out/../evil.txt", b"x")],
        [(link("set/out", "../.."), b"")],
        [(link("set/out", "/etc"), b"")],
        [(link("set/hard", "../../evil.txt", tarfile.LNKTYPE), b"")],
        [(link("set/pipe", "", tarfile.FIFOTYPE), b"")],
        [(link("set/null", "", tarfile.CHRTYPE), b"")],
    ],
)
def test_an_archive_that_reaches_outside_is_refused(tmp_path, members):
    (tmp_path / "in").mkdir()
    archive = tmp_path / "in/bad.tgz"
    archive.write_bytes(tar([("set/1.txt", b"one"), *members]))
    with pytest.raises(DataError, match=rf"cannot unpack {archive}: "):
        unpack(archive, tmp_path / "in/set", progress=lambda *_: None)
    assert os.listdir(tmp_path) == ["in"]
    assert os.listdir(tmp_path / "in") == ["bad.tgz"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cannot unpack"),
        (b"no archive", "cannot unpack"),
        (GOOD[: len(GOOD) // 2], "cannot unpack"),
        (tar([("other/1.txt", b"x")]), "has no folder set"),
        (tar([("set", b"a file")]), "has no folder set"),
    ],
    # Archives hold the time, and ids must be the same in every process.
    ids=["empty", "no archive", "half an archive", "another folder", "a file"],
)
def test_an_archive_that_is_not_what_it_should_be_leaves_nothing(tmp_path, content, says):
    archive = tmp_path / "bad.tgz"
    archive.write_bytes(content)
    with pytest.raises(DataError, match=says):
        unpack(archive, tmp_path / "set", progress=lambda *_: None)
    assert os.listdir(tmp_path) == ["bad.tgz"]


def test_an_old_python_is_told_to_update(tmp_path, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(DataError, match=r"update it \(3\.11\.4 or later\)"):
        unpack(tmp_path / "x", tmp_path / "set", progress=lambda *_: None)


def test_an_unknown_data_set_is_refused(tmp_path):
    with pytest.raises(
        DataError, match="unknown data set 'imagenet' to download; there are mnist, cifar10, fashion"
    ):
        download("imagenet", tmp_path)


def test_what_can_be_fetched_is_written_down_right():
    remotes = {name: dataset.remote for name, dataset in DATASETS.items() if dataset.remote is not None}
    files = {name: [file.name for file in remote.files] for name, remote in remotes.items()}
    four = [
        f"{a}-{b}-ubyte.gz" for a, b in itertools.product(("train", "t10k"), ("images-idx3", "labels-idx1"))
    ]
    assert files == {
        "mnist": four,
        "fashion-mnist": four,
        "kmnist": four,
        "cifar10": ["cifar-10-python.tar.gz"],
        "flowers": ["flower_photos.tgz"],
    }
    folders = {name: remote.folder for name, remote in remotes.items() if remote.folder is not None}
    assert folders == {"cifar10": "cifar-10-batches-py", "flowers": "flower_photos"}
    # As different data sets have files of the same names, a wrong copy would not show otherwise.
    sums = [file.sha256 for remote in remotes.values() for file in remote.files]
    assert len(set(sums)) == len(sums)
    for remote in remotes.values():
        for file in remote.files:
            assert len(bytes.fromhex(file.sha256)) == 32
        for server in remote.servers:
            assert server.startswith("http")
            assert server.endswith("/")


def test_notes_survive_as_json(server, tmp_path):
    server.answers = [Answer(drop_after=10, etag='"a\\"b"'), Answer(status=404)]
    with pytest.raises(DataError):
        fetch(
            [f"{server.url}/x"],
            tmp_path / "x",
            FILE,
            progress=lambda *_: None,
            notice=lambda _: None,
            wait=lambda _: None,
        )
    notes = json.loads((tmp_path / "x.part.json").read_text())
    assert notes == {"address": f"{server.url}/x", "version": '"a\\"b"'}
