"""`read_pickled_dict`: what others pickled is read exactly, and no pickle runs."""

import os
import pickle
import struct
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minialex.data import pickled_arrays
from minialex.data.pickled_arrays import read_pickled_dict
from minialex.errors import DataError

VALUES = {
    "data": np.array([[1, 2, 255], [92, 39, 10]], dtype=np.uint8),
    "labels": [3, 1],
    "name": "x",
}
# pickle.dumps({b"data": VALUES["data"], b"labels": [3, 1], "name": "x"}, protocol) with NumPy 1.26.4.
NUMPY_1 = [
    b"(dp0\nc_codecs\nencode\np1\n(Vdata\np2\nVlatin1\np3\ntp4\nRp5\ncnumpy.core.multiarray\n_reconstruct\np6\n"
    b"(cnumpy\nndarray\np7\n(I0\ntp8\ng1\n(Vb\np9\ng3\ntp10\nRp11\ntp12\nRp13\n(I1\n(I2\nI3\ntp14\ncnumpy\ndtype\n"
    b"p15\n(Vu1\np16\nI00\nI01\ntp17\nRp18\n(I3\nV|\np19\nNNNI-1\nI-1\nI0\ntp20\nbI00\ng1\n"
    b"(V\x01\x02\xff\\u005c'\\u000a\np21\ng3\ntp22\nRp23\ntp24\nbsg1\n(Vlabels\np25\ng3\ntp26\nRp27\n"
    b"(lp28\nI3\naI1\nasVname\np29\nVx\np30\ns.",
    b"}q\x00(c_codecs\nencode\nq\x01(X\x04\x00\x00\x00dataq\x02X\x06\x00\x00\x00latin1q\x03tq\x04Rq\x05"
    b"cnumpy.core.multiarray\n_reconstruct\nq\x06(cnumpy\nndarray\nq\x07(K\x00tq\x08h\x01(X\x01\x00\x00\x00bq\th\x03"
    b"tq\nRq\x0btq\x0cRq\r(K\x01(K\x02K\x03tq\x0ecnumpy\ndtype\nq\x0f(X\x02\x00\x00\x00u1q\x10I00\nI01\ntq\x11Rq\x12"
    b"(K\x03X\x01\x00\x00\x00|q\x13NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x14bI00\nh\x01"
    b"(X\x07\x00\x00\x00\x01\x02\xc3\xbf\\'\nq\x15h\x03tq\x16Rq\x17tq\x18bh\x01(X\x06\x00\x00\x00labelsq\x19h\x03"
    b"tq\x1aRq\x1b]q\x1c(K\x03K\x01eX\x04\x00\x00\x00nameq\x1dX\x01\x00\x00\x00xq\x1eu.",
    b"\x80\x02}q\x00(c_codecs\nencode\nq\x01X\x04\x00\x00\x00dataq\x02X\x06\x00\x00\x00latin1q\x03\x86q\x04Rq\x05"
    b"cnumpy.core.multiarray\n_reconstruct\nq\x06cnumpy\nndarray\nq\x07K\x00\x85q\x08h\x01X\x01\x00\x00\x00bq\th\x03"
    b"\x86q\nRq\x0b\x87q\x0cRq\r(K\x01K\x02K\x03\x86q\x0ecnumpy\ndtype\nq\x0fX\x02\x00\x00\x00u1q\x10\x89\x88\x87"
    b"q\x11Rq\x12(K\x03X\x01\x00\x00\x00|q\x13NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x14b\x89h\x01"
    b"X\x07\x00\x00\x00\x01\x02\xc3\xbf\\'\nq\x15h\x03\x86q\x16Rq\x17tq\x18bh\x01X\x06\x00\x00\x00labelsq\x19h\x03"
    b"\x86q\x1aRq\x1b]q\x1c(K\x03K\x01eX\x04\x00\x00\x00nameq\x1dX\x01\x00\x00\x00xq\x1eu.",
    b"\x80\x03}q\x00(C\x04dataq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85q\x04"
    b"C\x01bq\x05\x87q\x06Rq\x07(K\x01K\x02K\x03\x86q\x08cnumpy\ndtype\nq\tX\x02\x00\x00\x00u1q\n\x89\x88\x87q\x0bRq"
    b"\x0c(K\x03X\x01\x00\x00\x00|q\rNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0eb\x89C\x06\x01\x02\xff\\'\nq"
    b"\x0ftq\x10bC\x06labelsq\x11]q\x12(K\x03K\x01eX\x04\x00\x00\x00nameq\x13X\x01\x00\x00\x00xq\x14u.",
    b"\x80\x04\x95\xb7\x00\x00\x00\x00\x00\x00\x00}\x94(C\x04data\x94\x8c\x15numpy.core.multiarray\x94"
    b"\x8c\x0c_reconstruct\x94\x93\x94\x8c\x05numpy\x94\x8c\x07ndarray\x94\x93\x94K\x00\x85\x94C\x01b\x94\x87\x94R\x94"
    b"(K\x01K\x02K\x03\x86\x94h\x05\x8c\x05dtype\x94\x93\x94\x8c\x02u1\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01|\x94NNN"
    b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94b\x89C\x06\x01\x02\xff\\'\n\x94t\x94bC\x06labels\x94]\x94"
    b"(K\x03K\x01e\x8c\x04name\x94\x8c\x01x\x94u.",
    b"\x80\x05\x95\xa2\x00\x00\x00\x00\x00\x00\x00}\x94(C\x04data\x94\x8c\x12numpy.core.numeric\x94"
    b"\x8c\x0b_frombuffer\x94\x93\x94(\x96\x06\x00\x00\x00\x00\x00\x00\x00\x01\x02\xff\\'\n\x94\x8c\x05numpy\x94"
    b"\x8c\x05dtype\x94\x93\x94\x8c\x02u1\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01|\x94NNNJ\xff\xff\xff\xff"
    b"J\xff\xff\xff\xffK\x00t\x94bK\x02K\x03\x86\x94\x8c\x01C\x94t\x94R\x94C\x06labels\x94]\x94(K\x03K\x01e"
    b"\x8c\x04name\x94\x8c\x01x\x94u.",
]
# The same values as cPickle of Python 2 writes them, in which every string is one of bytes.
PYTHON_2 = [
    b"(dp1\nS'data'\np2\ncnumpy.core.multiarray\n_reconstruct\np3\n(cnumpy\nndarray\np4\n(I0\ntS'b'\ntRp5\n"
    b"(I1\n(I2\nI3\ntcnumpy\ndtype\np6\n(S'u1'\nI0\nI1\ntRp7\n(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\n"
    b"S\"\\x01\\x02\\xff\\\\'\\n\"\ntbsS'labels'\np8\n(lp9\nI3\naI1\nasS'name'\np10\nS'x'\ns.",
    b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85"
    b"U\x01b\x87Rq\x05(K\x01K\x02K\x03\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNN"
    b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T\x06\x00\x00\x00\x01\x02\xff\\'\ntbU\x06labelsq\x08]q\t(K\x03K\x01e"
    b"U\x04nameq\nU\x01xu.",
]


def same(found, expected):
    """Whether two values are equal, and of the same types all the way down."""
    if isinstance(expected, np.ndarray):
        return (
            isinstance(found, np.ndarray)
            and found.dtype == expected.dtype
            and np.array_equal(found, expected)
        )
    if isinstance(expected, list | tuple):
        return (
            type(found) is type(expected) and len(found) == len(expected) and all(map(same, found, expected))
        )
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)
    return type(found) is type(expected) and found == expected


@pytest.mark.parametrize("protocol", range(6))
def test_files_of_numpy_1_are_read(protocol):
    assert same(read_pickled_dict(NUMPY_1[protocol], "file"), VALUES)


@pytest.mark.parametrize("content", PYTHON_2, ids=["protocol 0", "protocol 2"])
def test_files_of_python_2_are_read(content):
    # What was made by hand here means what it should: `pickle` reads it, too.
    trusted = pickle.loads(content, encoding="latin-1")
    assert same(trusted, VALUES)
    assert same(read_pickled_dict(content, "file"), VALUES | {"name": b"x"})


INTEGERS = st.sampled_from(
    [f"{order}{kind}{size}" for order in "<>" for kind in "iu" for size in (1, 2, 4, 8)]
)
ARRAYS = hnp.arrays(INTEGERS, hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.text(max_size=20)
    | st.binary(min_size=1, max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.lists(inner, max_size=4).map(tuple),
    max_leaves=20,
)


@given(
    st.dictionaries(st.text("abcd ", min_size=1), PLAIN | ARRAYS | ARRAYS.map(np.asfortranarray), max_size=5),
    st.integers(0, 5),
)
def test_what_python_3_pickles_comes_back(values, protocol):
    assert same(read_pickled_dict(pickle.dumps(values, protocol), "file"), values)


def test_the_same_list_twice_and_bytes_as_keys():
    once = [1, 2]
    for protocol in range(6):
        found = read_pickled_dict(pickle.dumps({b"a": once, b"b": once}, protocol), "file")
        assert found == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_are_views_of_the_file_and_cannot_be_changed(protocol):
    array = read_pickled_dict(pickle.dumps({"a": np.zeros(9, np.uint8)}, protocol), "file")["a"]
    assert not array.flags.writeable
    assert not array.flags.owndata


class Runs:
    """An object whose pickle calls a function when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_runs_a_program_is_refused_and_does_not_run(tmp_path, protocol):
    marker = tmp_path / "ran"
    weapon = Runs(os.system, f"touch {marker}")
    content = pickle.dumps({"data": VALUES["data"], "labels": weapon}, protocol)
    pickle.loads(content)
    assert marker.exists()
    marker.unlink()
    with pytest.raises(DataError, match=rf"a pickle may run programs: it names '{os.name}\.system'"):
        read_pickled_dict(content, "file")
    assert not marker.exists()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("function", [eval, exec, getattr, open, __import__, np.load, np.frombuffer])
def test_other_functions_are_refused_by_name(protocol, function):
    content = pickle.dumps({"data": Runs(function, "x")}, protocol)
    with pytest.raises(DataError, match=rf"it names '[\w.]+\.{function.__name__}'"):
        read_pickled_dict(content, "file")


def test_nothing_is_imported():
    assert "antigravity" not in sys.modules
    for content in (b"cantigravity\nfly\n.", b"\x80\x04\x8c\x0bantigravity\x8c\x03fly\x93."):
        with pytest.raises(DataError, match=r"it names 'antigravity\.fly'"):
            read_pickled_dict(content, "file")
    assert "antigravity" not in sys.modules


NDARRAY, DTYPE = b"cnumpy\nndarray\n", b"cnumpy\ndtype\n"
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
U1 = DTYPE + b"(U\x02u1K\x00K\x01tR"
ENCODE = b"c_codecs\nencode\n"


def array(shape, kind=U1, elements=b"U\x06abcdef"):
    return (
        b"}U\x01a" + RECONSTRUCT + b"(" + NDARRAY + b"tR(K\x01" + shape + kind + b"\x89" + elements + b"tbs."
    )


def test_the_hand_made_array_is_good():
    assert read_pickled_dict(array(b"K\x06\x85"), "file")["a"].tobytes() == b"abcdef"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        # Instructions that make objects of classes, or ask the caller for them.
        (b"(ios\nsystem\n.", "it has the instruction INST"),
        (b"(K\x01o.", "the instruction OBJ"),
        (NDARRAY + b")\x81.", "the instruction NEWOBJ"),
        (NDARRAY + b")}\x92.", "the instruction NEWOBJ_EX"),
        (b"Psomething\n.", "the instruction PERSID"),
        (b"K\x01Q.", "the instruction BINPERSID"),
        (b"\x82\x01.", "the instruction EXT1"),
        (b"\x97.", "the instruction NEXT_BUFFER"),
        (b"G" + bytes(8) + b".", "the instruction BINFLOAT"),
        (b"\x8f.", "the instruction EMPTY_SET"),
        (b"K\x012.", "the instruction DUP"),
        (b"\x8b" + struct.pack("<i", 1 << 30) + b".", "the instruction LONG4"),
        # Names that stand near those that are known.
        (b"cnumpy\nload\n.", r"it names 'numpy\.load'"),
        (b"cnumpy.core.multiarray\nscalar\n.", r"it names 'numpy\.core\.multiarray\.scalar'"),
        (b"c_codecs\ndecode\n.", r"it names '_codecs\.decode'"),
        (b"\x8c\x05numpy\x8c\x08ndarray.\x93.", r"it names 'numpy\.ndarray\.'"),
        (b"\x8c\x00\x8c\x04eval\x93.", r"it names '\.eval'"),
        (b"c__main__\nx" + b"y" * 500 + b"\n.", "it names '__main__.x?y+"),
        # Known ones put to another use.
        (NDARRAY + b"(K\x01tR.", r"it calls numpy\.ndarray"),
        (b"K\x01(K\x01tR.", "it calls a value"),
        (NDARRAY + b"}b.", "it changes the state of _Function"),
        (b"]}b.", "it changes the state of list"),
        (ENCODE + b"(X\x01\x00\x00\x00aX\x05\x00\x00\x00utf-8tR.", "it encodes a string as 'utf-8'"),
        (DTYPE + b"(U\x01OK\x00K\x01tR.", "it has an array of type 'O'"),
        (DTYPE + b"(U\x02f8K\x00K\x01tR.", "it has an array of type 'f8'"),
        (DTYPE + b"(U\x04V9999tR.".replace(b"\x04V", b"\x05V"), "it has an array of type 'V9999"),
    ],
)
def test_whatever_no_dictionary_of_arrays_needs_is_refused(content, says):
    with pytest.raises(DataError, match=f"^file is not read, for a pickle may run programs: .*{says}"):
        read_pickled_dict(content, "file")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it ends before its last instruction"),
        (b"}", "it ends before its last instruction"),
        (b"\xff.", "byte 0xff is not an instruction"),
        (b".", "it leaves something over"),
        (b"].", "it must hold a dictionary, not a list"),
        (b"cnumpy", "a line without an end"),
        (b"}}.", "it leaves something over"),
        (b"}(.", "it leaves something over"),
        (b"}.}", "bytes follow its last instruction"),
        (b"K\x01s.", "the stack is empty"),
        (b"}(\x85.", "the stack is empty"),
        (b"]K\x01K\x01s.", "list where dict is needed"),
        (b"}K\x01a.", "dict where list is needed"),
        (b"h\x07.", "damaged pickle"),
        (b"u.", "damaged pickle"),
        (b"}(K\x01u.", "damaged pickle"),
        (b"}((tK\x01u.", "the key of a dictionary is neither a string nor a number"),
        (b"(NNd.", "the key of a dictionary is neither a string nor a number"),
        (b"}K\x01K\x01s.", "int where a string is needed"),
        (b"}U\x01\xffK\x01s.", "damaged pickle"),
        (b"K\x01K\x02\x93.", "the name of a function is not a string"),
        (b"S'abc\n.", "a string without quotes"),
        (b"S'a\\qc'\n.", "a string with an unknown escape"),
        (b"S'a\\\\\\qc'\n.", "a string with an unknown escape"),
        (b"S'a\\'\n.", "damaged pickle"),
        (ENCODE + b"(X\x03\x00\x00\x00\xe2\x82\xacX\x06\x00\x00\x00latin1tR.", "damaged pickle"),
        (b"}U\x01a" + RECONSTRUCT + b"(" + NDARRAY + b"tRs.", "an array without contents"),
        (RECONSTRUCT + b"(K\x01tR.", "_reconstruct of something other than numpy.ndarray"),
        (array(b"K\x05\x85"), "6 bytes for an array of uint8 and shape (5,)"),
        (array(b"K\x07\x85"), "6 bytes for an array of uint8 and shape (7,)"),
        (array(b"J\xff\xff\xff\xffJ\xfa\xff\xff\xff\x86"), "an array of shape (-1, -6)"),
        (array(b"(K\x01K\x01K\x01K\x01K\x06t"), "an array of shape (1, 1, 1, 1, 6)"),
        (array(b"U\x01x\x85"), "an array of shape"),
        (array(b"K\x06\x85", elements=b"K\x06"), "the elements of an array as int"),
        (array(b"K\x06\x85", elements=b"]"), "the elements of an array as list"),
        (array(b"K\x06\x85", kind=b"U\x02u1"), "damaged pickle"),
        (array(b"K\x06\x85", kind=U1 + b"(K\x03U\x01?tb"), "byte order '?'"),
    ],
)
def test_a_damaged_pickle_is_called_so(content, says):
    with pytest.raises(DataError) as caught:
        read_pickled_dict(content, "file")
    assert str(caught.value).startswith("file is a damaged pickle (")
    assert says in str(caught.value)


LONG_TEXT = b"X" + struct.pack("<I", 1_000_000) + b"a" * 1_000_000
BOMBS = {
    "a length beyond the file": b"\x8e" + struct.pack("<Q", 1 << 60) + b"abc.",
    "a string beyond the file": b"\x8d" + struct.pack("<Q", 1 << 62) + b"abc.",
    "a frame beyond the file": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"h\x00.",
    "a huge shape": array(b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"),
    "a shape of zeros and giants": array(b"K\x00\x8a\x08" + bytes(7) + b"\x40\x86"),
    "a place far out in the memo": b"}p999999999999999999\nh\x00.",
    "a string encoded over and over": (
        LONG_TEXT
        + b"q\x00X\x06\x00\x00\x00latin1q\x01"
        + b"c_codecs\nencode\nq\x02"
        + b"(h\x02h\x00h\x01\x86R" * 500
    ),
    "very many instructions": b"]" * 5_000_000,
    "tuples in tuples as a key": b"})" + b"\x85" * 100_000 + b"K\x01s.",
    "lists in lists": b"]q\x00" + b"]h\x00a" * 50_000 + b"h\x09.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_little_memory(name):
    content = BOMBS[name]
    tracemalloc.start()
    with pytest.raises(DataError):
        read_pickled_dict(content, "file")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20
    if len(content) < 1000:
        assert peak < 1 << 20


def test_the_bounds_are_those_that_are_documented(monkeypatch):
    content = b"}U\x01aK\x05s."  # 5 instructions
    assert read_pickled_dict(content, "file") == {"a": 5}
    with monkeypatch.context() as change:
        change.setattr(pickled_arrays, "MAX_BYTES", 8)
        assert read_pickled_dict(content, "file") == {"a": 5}
        change.setattr(pickled_arrays, "MAX_BYTES", 7)
        with pytest.raises(DataError, match="file has 8 bytes; at most 7 of a pickle are read"):
            read_pickled_dict(content, "file")
    monkeypatch.setattr(pickled_arrays, "MAX_INSTRUCTIONS", 5)
    assert read_pickled_dict(content, "file") == {"a": 5}
    monkeypatch.setattr(pickled_arrays, "MAX_INSTRUCTIONS", 4)
    with pytest.raises(DataError, match="it has more than 4 instructions"):
        read_pickled_dict(content, "file")


def test_a_string_may_be_encoded_as_often_as_it_is_written():
    values = {f"k{number}": bytes([number]) * 50 for number in range(100, 140)}
    assert read_pickled_dict(pickle.dumps(values, 0), "file") == values


@given(st.data())
def test_damaged_bytes_give_a_dictionary_or_a_data_error(data):
    content = bytearray(data.draw(st.sampled_from(NUMPY_1 + PYTHON_2)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255) | st.sampled_from(b"cRbto\x93\x81i(").map(int))
    del content[data.draw(st.integers(len(content) // 2, len(content))) :]
    try:
        found = read_pickled_dict(bytes(content), "file")
    except DataError as error:
        found, message = {}, str(error)
    else:
        message = ""
    assert "\n" not in message
    assert all(isinstance(key, str) for key in found)
