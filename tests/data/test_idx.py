"""`read_idx` against files that `struct` made, whole, damaged and hostile."""

import gzip
import itertools
import math
import os
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.data import read_idx
from minialex.errors import DataError

# Type code, struct format, NumPy type.
TYPES = [
    (0x08, "B", np.uint8),
    (0x09, "b", np.int8),
    (0x0B, "h", np.int16),
    (0x0C, "i", np.int32),
    (0x0D, "f", np.float32),
    (0x0E, "d", np.float64),
]
MIB = 1 << 20


def idx_bytes(code, letter, shape, values):
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape)
    return header + struct.pack(f">{len(values)}{letter}", *values)


@pytest.fixture
def write(tmp_path):
    def write(content, name="file-idx"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def peak_bytes(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@st.composite
def idx_cases(draw):
    code, letter, dtype = draw(st.sampled_from(TYPES))
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    if letter in "fd":
        value = st.floats(width=8 * dtype().itemsize)
    else:
        value = st.integers(np.iinfo(dtype).min, np.iinfo(dtype).max)
    count = math.prod(shape)
    return code, letter, dtype, tuple(shape), draw(st.lists(value, min_size=count, max_size=count))


@given(idx_cases(), st.booleans())
def test_any_type_and_rank_is_read_back(tmp_path_factory, case, gzipped):
    code, letter, dtype, shape, values = case
    content = idx_bytes(code, letter, shape, values)
    path = tmp_path_factory.getbasetemp() / "any-idx"
    path.write_bytes(gzip.compress(content) if gzipped else content)

    array = read_idx(path)

    assert array.dtype == np.dtype(dtype)
    assert array.dtype.isnative
    assert array.shape == shape
    # Element by element in C order; NaN equals NaN.
    read = [array[index].item() for index in itertools.product(*map(range, shape))]
    assert all(a == b or (a != a and b != b) for a, b in zip(read, values, strict=True))


def test_bytes_are_big_endian_and_in_c_order(write):
    path = write(bytes.fromhex("00000b02 00000002 00000003 0001 0002 0003 0100 0200 fffe"))
    assert read_idx(path).tolist() == [[1, 2, 3], [256, 512, -2]]


def test_result_is_writable(write):
    array = read_idx(write(idx_bytes(8, "B", (2,), [3, 4])))
    array[0] = 9
    assert array.tolist() == [9, 4]


def test_gzip_is_seen_from_the_bytes_and_not_from_the_name(write):
    content = idx_bytes(8, "B", (3,), [1, 2, 3])
    assert read_idx(write(gzip.compress(content), "named-plain")).tolist() == [1, 2, 3]
    assert read_idx(write(content, "named.gz")).tolist() == [1, 2, 3]


GOOD = idx_bytes(8, "B", (2, 3), range(6))
ZIPPED = gzip.compress(GOOD, mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\0", "starts with the bytes 00,"),
        (b"\x89PNG....", "not an idx file: it starts with the bytes 89 50 4e 47,"),
        (b"\0\0\x0a\x01" + bytes(20), "unknown idx element type 0a; known are 08, 09, 0b, 0c"),
        (b"\0\0\x08\x21" + bytes(400), "33 dimensions; at most 32"),
        (b"\0\0\x08\x03" + bytes(7), "lengths of its 3 dimensions take 12 bytes, but 7 are there"),
        (GOOD[:-1], "truncated: its header promises 6 bytes of elements, but 5 are there"),
        (GOOD[:12], "promises 6 bytes of elements, but 0 are there"),
        (GOOD + b"x", "trailing bytes: its header promises 6 bytes"),
        (gzip.compress(b""), "starts with the bytes (none)"),
        (gzip.compress(GOOD[:-1]), "promises 6 bytes of elements, but 5 are there"),
        (gzip.compress(GOOD + b"x"), "trailing bytes: its header promises 6 bytes"),
        (ZIPPED[:5], "damaged gzip data"),
        (ZIPPED[:-9], "damaged gzip data"),
        (ZIPPED[:10] + b"\xff" + ZIPPED[11:], "damaged gzip data"),
        (ZIPPED[:-8] + bytes(4) + ZIPPED[-4:], "damaged gzip data"),
        (ZIPPED + b"garbage", "damaged gzip data"),
        (gzip.compress(ZIPPED), "not an idx file: it starts with the bytes 1f 8b"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",
)
def test_a_malformed_file_is_refused_in_one_line(write, content, message):
    path = write(content)
    with pytest.raises(DataError) as caught:
        read_idx(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=40), st.booleans())
def test_arbitrary_bytes_give_an_array_or_a_data_error(tmp_path_factory, content, gzipped):
    # Bytes after a valid start get further than bytes without one.
    content = b"\0\0\x08" + content
    path = tmp_path_factory.getbasetemp() / "arbitrary-idx"
    path.write_bytes(gzip.compress(content) if gzipped else content)
    try:
        array = read_idx(path)
    except DataError:
        array = None
    # The rank is the fourth byte and the lengths follow: what they promise decides, and no length
    # beside a 0 may go beyond what max_bytes allows.
    rank = content[3] if len(content) > 3 else 99
    lengths = content[4 : 4 + 4 * rank]
    elements = content[4 + 4 * rank :]
    shape = struct.unpack(f">{rank}I", lengths) if len(lengths) == 4 * rank else (-1,)
    fits = math.prod(max(length, 1) for length in shape) <= 1 << 32
    assert (array is not None) == (fits and rank <= 32 and math.prod(shape) == len(elements))
    if array is not None:
        assert array.tobytes() == elements


@pytest.mark.parametrize("gzipped", [False, True])
def test_a_promise_that_the_file_does_not_keep_costs_no_memory(write, gzipped):
    content = struct.pack(">BBBB2I", 0, 0, 8, 2, 60_000, 60_000) + bytes(100)
    path = write(gzip.compress(content) if gzipped else content)

    def read():
        with pytest.raises(DataError, match=r"promises 3,600,000,000 bytes .* 100 are there"):
            read_idx(path)

    assert peak_bytes(read) < 4 * MIB


def test_a_large_file_with_a_wrong_header_is_refused_before_it_is_read(write):
    path = write(struct.pack(">BBBBI", 0, 0, 8, 1, 128 * MIB))
    # Sparse: it takes no room on the disk.
    os.truncate(path, 8 + 64 * MIB)

    def read():
        with pytest.raises(DataError, match=r"promises 134,217,728 bytes .* 67,108,864 are there"):
            read_idx(path)

    assert peak_bytes(read) < 4 * MIB


def test_a_gzip_bomb_is_not_unpacked_beyond_its_promise(write):
    path = write(gzip.compress(idx_bytes(8, "B", (10,), bytes(10)) + bytes(64 * MIB)))

    def read():
        with pytest.raises(DataError, match="trailing bytes"):
            read_idx(path)

    assert peak_bytes(read) < 4 * MIB


def test_max_bytes_limits_what_is_read(write):
    path = write(idx_bytes(0x0E, "d", (4,), [1.0, 2.0, 3.0, 4.0]))
    assert read_idx(path, max_bytes=32).tolist() == [1.0, 2.0, 3.0, 4.0]
    with pytest.raises(DataError, match=r"shape \(4,\), 32 bytes, but max_bytes is 31"):
        read_idx(path, max_bytes=31)


def test_an_empty_array_of_impossible_lengths_is_refused(write):
    lengths = struct.pack(">4I", 0, *[2**32 - 1] * 3)
    with pytest.raises(DataError, match="max_bytes is 4,294,967,296"):
        read_idx(write(b"\0\0\x08\x04" + lengths))


def test_what_is_not_a_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"there is no file .*nothing; check the path"):
        read_idx(tmp_path / "nothing")
    with pytest.raises(DataError, match="is a directory; name a file"):
        read_idx(tmp_path)
    with pytest.raises(DataError, match=r"cannot open 'a.*b': embedded null"):
        read_idx("a\0b")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no device files")
def test_a_device_is_refused():
    # Reading from a device or a pipe may never end.
    with pytest.raises(DataError, match="/dev/null is not a regular file; name a file"):
        read_idx(os.devnull)
