"""`load_cifar10`: the python, binary and re-pickled forms, in folders and archives, give the same images."""

import gzip
import io
import pickle
import struct
import tarfile
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.data import cifar10, load_cifar10
from minialex.errors import DataError

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
NAMES = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
COUNT = 3
PY, BIN = "cifar-10-batches-py", "cifar-10-batches-bin"

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (6, COUNT, 3072), dtype=np.uint8)
LABELS = RANDOM.integers(0, 10, (6, COUNT)).tolist()


def string(text):
    """A string as cPickle of Python 2 writes it in protocol 2."""
    content = text if isinstance(text, bytes) else text.encode()
    if len(content) < 256:
        return b"U" + bytes([len(content)]) + content
    return b"T" + struct.pack("<i", len(content)) + content


def number(value):
    if 0 <= value < 256:
        return b"K" + bytes([value])
    return b"M" + struct.pack("<H", value)


def original_batch(images, labels, title):
    """A batch, byte by byte as cPickle wrote it in 2009: protocol 2, the dictionary in its order then."""
    rows, columns = images.shape
    return b"".join(
        [
            b"\x80\x02}q\x01(",
            string("batch_label") + b"q\x02" + string(title) + b"q\x03",
            string("labels") + b"q\x04]q\x05(" + b"".join(map(number, labels)) + b"e",
            string("data") + b"q\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08",
            number(0) + b"\x85" + string("b") + b"\x87Rq\x09(",
            number(1) + number(rows) + number(columns) + b"\x86cnumpy\ndtype\nq\x0a",
            string("u1") + number(0) + number(1) + b"\x87Rq\x0b(" + number(3) + string("|") + b"NNN",
            b"J\xff\xff\xff\xffJ\xff\xff\xff\xff" + number(0) + b"tb\x89" + string(images.tobytes()) + b"tb",
            string("filenames") + b"q\x0c]q\x0d(",
            b"".join(string(f"picture_s_{i:06}.png") for i in range(rows)) + b"eu.",
        ]
    )


def original_meta(count=COUNT):
    return b"".join(
        [
            b"\x80\x02}q\x01(" + string("num_cases_per_batch") + number(count),
            string("label_names") + b"q\x02]q\x03(" + b"".join(map(string, CLASSES)) + b"e",
            string("num_vis") + number(3072) + b"u.",
        ]
    )


def python_files():
    files = {
        name: original_batch(IMAGES[i], LABELS[i], f"training batch {i + 1} of 5")
        for i, name in enumerate(NAMES)
    }
    return files | {"batches.meta": original_meta()}


def repickled_files(protocol, text):
    """What `pickle.load(file, encoding=...)` and `pickle.dump` of Python 3 make of the files."""
    return {
        name: pickle.dumps(pickle.loads(content, encoding="latin1" if text else "bytes"), protocol)
        for name, content in python_files().items()
    }


def binary_files():
    files = {
        f"{name}.bin": b"".join(
            bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True)
        )
        for name, images, labels in zip(NAMES, IMAGES, LABELS, strict=True)
    }
    return files | {"batches.meta.txt": "\n".join([*CLASSES, "", ""]).encode()}


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def archive(path, files, inside=PY, extra=("readme.html",)):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in {**dict.fromkeys(extra, b"<html>"), **files}.items():
            member = tarfile.TarInfo(f"{inside}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def assert_as_written(found):
    train, test = found
    assert train.images.shape == (5 * COUNT, 3, 32, 32)
    assert test.images.shape == (COUNT, 3, 32, 32)
    # Red, green, blue; then rows; then columns: place by place as the page of the data set says.
    for part, batches in ((train, range(5)), (test, [5])):
        expected = [(batch, row) for batch in batches for row in range(COUNT)]
        for image, label, (batch, row) in zip(part.images, part.labels, expected, strict=True):
            flat = IMAGES[batch][row]
            assert image[0].ravel().tolist() == flat[:1024].tolist()
            assert image[1].ravel().tolist() == flat[1024:2048].tolist()
            assert image[2, 1, :5].tolist() == flat[2048 + 32 : 2048 + 37].tolist()
            assert label == LABELS[batch][row]
    assert train.classes == test.classes == tuple(CLASSES)
    assert (train.name, test.name) == ("cifar10-train", "cifar10-test")


def test_the_hand_made_original_is_what_pickle_reads():
    batch = pickle.loads(python_files()["data_batch_2"], encoding="bytes")
    assert list(batch) == [b"batch_label", b"labels", b"data", b"filenames"]
    assert batch[b"batch_label"] == b"training batch 2 of 5"
    assert batch[b"labels"] == LABELS[1]
    assert np.array_equal(batch[b"data"], IMAGES[1])
    assert pickle.loads(original_meta(10_000))["num_cases_per_batch"] == 10_000


def test_the_original_python_version(tmp_path):
    assert_as_written(load_cifar10(write(tmp_path / PY, python_files())))


@pytest.mark.parametrize("text", [True, False], ids=["str", "bytes"])
@pytest.mark.parametrize("protocol", range(6))
def test_files_pickled_again_by_others(tmp_path, protocol, text):
    assert_as_written(load_cifar10(write(tmp_path, repickled_files(protocol, text))))


def test_the_binary_version(tmp_path):
    assert_as_written(load_cifar10(write(tmp_path / "anything", binary_files())))


@pytest.mark.parametrize(("inside", "files"), [(PY, python_files), (BIN, binary_files)])
def test_the_folder_above(tmp_path, inside, files):
    write(tmp_path / inside, files())
    assert_as_written(load_cifar10(tmp_path))


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("cifar-10-python.tar.gz", python_files),
        ("cifar-10-batches-py.tar.gz", python_files),
        ("cifar-10-binary.tar.gz", binary_files),
    ],
)
def test_the_archives(tmp_path, name, files):
    path = archive(tmp_path / name, files())
    assert_as_written(load_cifar10(path))
    assert_as_written(load_cifar10(tmp_path))
    assert_as_written(load_cifar10(path.rename(tmp_path / "another name")))


def test_labels_may_be_an_array(tmp_path):
    files = repickled_files(4, text=True)
    for name in NAMES:
        batch = pickle.loads(files[name])
        files[name] = pickle.dumps(batch | {"labels": np.array(batch["labels"])}, 4)
    assert_as_written(load_cifar10(write(tmp_path, files)))


def batch(**changed):
    values = {"data": IMAGES[0], "labels": LABELS[0]} | changed
    return pickle.dumps({key: value for key, value in values.items() if value is not None}, 2)


def meta(**changed):
    values = {"label_names": CLASSES, "num_cases_per_batch": COUNT, "num_vis": 3072} | changed
    return pickle.dumps({key: value for key, value in values.items() if value is not None}, 2)


@pytest.mark.parametrize(
    "changed",
    [
        {"batches.meta": meta(num_cases_per_batch=None, num_vis=None)},
        {"test_batch": batch(filenames=["a", "b", "c"])},
        {"data_batch_3": batch(data=np.asfortranarray(IMAGES[0]))},
    ],
)
def test_what_else_agrees_is_read(tmp_path, changed):
    train = load_cifar10(write(tmp_path, python_files() | changed))[0]
    assert len(train) == 5 * COUNT
    if "data_batch_3" in changed:
        assert np.array_equal(train.images[2 * COUNT : 3 * COUNT].reshape(COUNT, -1), IMAGES[0])


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"data_batch_4": None}, "has no file data_batch_4, which belongs to the python version of CIFAR-10"),
        (
            {"data_batch_1": batch(data=None)},
            "data_batch_1 must have an array data, uint8 of shape (N, 3072), not None",
        ),
        ({"test_batch": batch(data=IMAGES[0].astype("i8"))}, "not an array of int64 and shape (3, 3072)"),
        ({"test_batch": batch(data=IMAGES[0][:, :-1].copy())}, "not an array of uint8 and shape (3, 3071)"),
        ({"test_batch": batch(data=IMAGES[0].ravel())}, "not an array of uint8 and shape (9216,)"),
        (
            {"test_batch": batch(data=IMAGES[0].reshape(3, 3, 1024))},
            "array of uint8 and shape (3, 3, 1024)",
        ),
        ({"test_batch": batch(labels=None)}, "test_batch must have a list labels of int"),
        ({"test_batch": batch(labels=[1, True, 2])}, "must have a list labels of int"),
        ({"test_batch": batch(labels=np.zeros((3, 1), int))}, "must have a list labels of int"),
        ({"test_batch": batch(labels=[1, 2])}, "does not agree with itself: 3 images, 2 labels, 3 promised"),
        ({"test_batch": batch(filenames=["a"])}, "3 images, 3 labels, 1 file names, 3 promised"),
        (
            {"batches.meta": meta(num_cases_per_batch=4)},
            "3 images, 3 labels, 3 file names, 4 promised in batches.meta",
        ),
        (
            {"batches.meta": meta(num_cases_per_batch="3")},
            "batches.meta must have an integer num_cases_per_batch",
        ),
        ({"test_batch": batch(labels=[1, 2, -1])}, "labels from -1 to 2"),
        ({"test_batch": batch(labels=[1, 2, 2**65])}, "a class has a number from 0"),
        (
            {"test_batch": batch(labels=[1, 10, 0])},
            "names 10 classes, but cifar10-test has labels from 0 to 10",
        ),
        (
            {"batches.meta": meta(label_names=None)},
            "batches.meta must have a list label_names of str or bytes",
        ),
        ({"batches.meta": meta(label_names=[1])}, "must have a list label_names of str or bytes"),
        ({"batches.meta": meta(label_names=[])}, "must name one or more classes, all different, not []"),
        ({"batches.meta": meta(label_names=["a", "a"])}, "all different, not ['a', 'a']"),
        ({"batches.meta": meta(label_names=["a", ""])}, "must name one or more classes"),
        ({"batches.meta": meta(num_vis=3071)}, "promises 3071 bytes an image; CIFAR-10 has 3,072"),
        (
            {"batches.meta": b"cos\nsystem\n(S'true'\ntR."},
            "batches.meta is not read, for a pickle may run programs",
        ),
        ({"data_batch_2": python_files()["data_batch_2"][:-100]}, "data_batch_2 is a damaged pickle"),
    ],
)
def test_python_files_that_do_not_fit_are_refused(tmp_path, changed, says):
    files = {name: content for name, content in (python_files() | changed).items() if content is not None}
    for path in (write(tmp_path / PY, files), archive(tmp_path / "archive", files)):
        with pytest.raises(DataError) as caught:
            load_cifar10(path)
        assert str(caught.value).startswith(str(path))
        if path.is_file() and None in changed.values():
            says = "holds no data_batch_4; it is not an archive of CIFAR-10, or not a whole one"
        assert says in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"data_batch_5.bin": None}, "has no file data_batch_5.bin, which belongs to the binary version"),
        (
            {"test_batch.bin": bytes(3073 * 2 - 1)},
            "has 6,145 bytes, which is not a multiple of 3,073; it is truncated",
        ),
        ({"test_batch.bin": b""}, "has no images for cifar10-test"),
        (
            {"test_batch.bin": b"\x0a" + bytes(3072)},
            "names 10 classes, but cifar10-test has labels from 10 to 10",
        ),
        ({"batches.meta.txt": b"\n\n"}, "batches.meta.txt must name one or more classes"),
        ({"batches.meta.txt": b"cat\ndog\ncat\n"}, "all different, not ['cat', 'dog', 'cat']"),
    ],
)
def test_binary_files_that_do_not_fit_are_refused(tmp_path, changed, says):
    files = {name: content for name, content in (binary_files() | changed).items() if content is not None}
    with pytest.raises(DataError) as caught:
        load_cifar10(write(tmp_path, files))
    assert says in str(caught.value)


def test_a_folder_without_it_says_what_was_looked_for(tmp_path):
    with pytest.raises(DataError) as caught:
        load_cifar10(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds no CIFAR-10; looked for batches.meta and batches.meta.txt, and for "
        "cifar-10-batches-py, cifar-10-batches-bin, cifar-10-python.tar.gz, cifar-10-batches-py.tar.gz, "
        "cifar-10-binary.tar.gz; `minialex data download cifar10` fetches it"
    )
    with pytest.raises(DataError, match=r"there is no file .*nowhere"):
        load_cifar10(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"hello",
        lambda content: content[: len(content) // 2],
        lambda content: content[:2000] + bytes(64) + content[2064:],
        lambda content: gzip.compress(b"no archive at all" * 100),
        lambda content: gzip.compress(gzip.decompress(content)[:20_000]),
    ],
)
def test_a_damaged_archive_is_called_so(tmp_path, damage):
    path = archive(tmp_path / "cifar-10-python.tar.gz", python_files())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=rf"{path} is a damaged archive \(.*\); fetch it again"):
        load_cifar10(path)


class Zeros:
    def read(self, size):
        return bytes(size)


@pytest.fixture(scope="module")
def tars(tmp_path_factory):
    """Small archives with each kind of header; the formats differ in how they write a long name."""
    made = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w", format=form) as tar:
            for name in ("d" * 60 + "/" + "e" * 80 + "/test_batch", "batches.meta"):
                member = tarfile.TarInfo(name)
                member.size = 10
                tar.addfile(member, Zeros())
        made.append(content.getvalue()[:6144])
    return tmp_path_factory.mktemp("fuzz") / "archive", made


@given(st.data())
def test_damaged_headers_of_an_archive_give_a_data_error(tars, data):
    path, made = tars
    content = bytearray(data.draw(st.sampled_from(made)))
    for _ in range(data.draw(st.integers(0, 3))):
        start = 512 * data.draw(st.integers(0, len(content) // 512 - 1))
        place = start + data.draw(st.sampled_from([*range(8), *range(100, 160), 257, 345]))
        content[place] = data.draw(st.integers(0, 255))
        if data.draw(st.booleans()):
            # A header whose own sum is right gets further.
            header = content[start : start + 512]
            header[148:156] = b" " * 8
            content[start + 148 : start + 156] = b"%06o\0 " % sum(header)
    path.write_bytes(gzip.compress(content, 1))
    with pytest.raises(DataError) as caught:
        load_cifar10(path)
    assert "\n" not in str(caught.value)


def test_an_archive_with_a_file_twice_is_refused(tmp_path):
    path = tmp_path / "twice"
    with tarfile.open(path, "w:gz") as tar:
        for folder in "ab":
            tar.addfile(tarfile.TarInfo(f"{folder}/test_batch"))
    with pytest.raises(DataError, match="holds test_batch twice"):
        load_cifar10(path)


def test_links_in_an_archive_are_not_followed(tmp_path):
    (tmp_path / "secret").write_bytes(original_meta())
    path = tmp_path / "links"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("batches.meta")
        member.type, member.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
        tar.addfile(member)
    with pytest.raises(DataError, match=r"holds no batches\.meta"):
        load_cifar10(path)


@pytest.mark.parametrize(
    ("name", "limit", "says"),
    [
        ("data_batch_1", 1 << 29, "has 73,400,320 bytes; a batch of CIFAR-10 has at most 67,108,864"),
        ("something else", 32 << 20, "unpacks to more than 33,554,432 bytes; it is not CIFAR-10"),
    ],
)
def test_an_archive_bomb_is_refused_in_little_memory(tmp_path, monkeypatch, name, limit, says):
    monkeypatch.setattr(cifar10, "_MAX_ARCHIVE_BYTES", limit)
    path = tmp_path / "bomb"
    member = tarfile.TarInfo(f"{PY}/{name}")
    member.size = 70 << 20
    with gzip.open(path, "wb", compresslevel=1) as file, tarfile.open(fileobj=file, mode="w|") as tar:
        tar.addfile(member, Zeros())
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    with pytest.raises(DataError, match=says):
        load_cifar10(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_file_too_large_is_refused_before_it_is_read(tmp_path):
    write(tmp_path, binary_files())
    with (tmp_path / "data_batch_1.bin").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(
        DataError, match=r"data_batch_1\.bin has 1,099,511,627,776 bytes; a batch .* at most 67,108,864"
    ):
        load_cifar10(tmp_path)


def test_the_python_version_is_taken_first(tmp_path):
    write(tmp_path / PY, python_files())
    archive(tmp_path / "cifar-10-binary.tar.gz", {}, BIN)
    assert_as_written(load_cifar10(tmp_path))
    assert cifar10.CIFAR_SHAPE == (3, 32, 32)


def test_the_full_size(tmp_path):
    """As many images as the real data set has: 50,000 and 10,000, from its archive."""
    images = np.random.default_rng(1).integers(0, 256, (10_000, 3072), dtype=np.uint8)
    labels = (np.arange(10_000) % 10).tolist()
    files = {name: original_batch(images, labels, name) for name in NAMES} | {
        "batches.meta": original_meta(10_000)
    }
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=0) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{PY}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    train, test = load_cifar10(path)
    assert train.images.shape == (50_000, 3, 32, 32)
    assert test.images.shape == (10_000, 3, 32, 32)
    assert np.array_equal(train.images[30_000:40_000].reshape(10_000, 3072), images)
    assert np.bincount(train.labels).tolist() == [5_000] * 10
