"""`read_torch_file`: files of torch.save are read exactly, and whatever else a pickle may say is refused."""

import base64
import io
import os
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.errors import CheckpointError
from minialex.interchange import read_torch_file
from minialex.interchange.torch_writing import write_torch_file

# torch.save({"step": 3, "lr": 0.5, "names": ("a", None), "state": {"weight": arange(6.).reshape(2, 3).T,
# "half": tensor([1.5, -2.0], float16), "brain": tensor([1.0, -3.0], bfloat16), "count": tensor(7)}}), by
# PyTorch 2.13, as an archive and as a stream; compressed here, and in base64.
ARCHIVE = (
    "c-o~^T~E_c7(VM*8C5<-`4I72JH@ef(1D0s8dFVb6lY8pZ<eyvty)&z?hK=e35kK|og~C~W&9U<>0j^yuS_)Yf*3FS"
    "3!c+LX}b&*PIh|Qv-5nM)AxNlr$*ZlipNn?>p^`;vrAQDNgpq3SW7NGF%`KBJq)yE<^>?WKsZnx>x&RkqXmXMm^Lss"
    "vp-y_LX2E$+Jat(Xdy!GHE6rD3NdHCjy0?U`vThe0!yBs>PDrCAzs23QBM{d*f8r{(bnf1hFLCRy;isE;*!Wg2hSJU"
    "9R|zRDmrj3gi}mQ!}r}u4h}hrDL7n+lCiYdfKHXg&~;BmYE)%bp<5-USE1*1sbra^Uc!b|t8;hlvTp0;8%7Cp(3{9Z"
    "ABH1&=y$eS)yzk5v`P$Aw?%J}DNpm5qba~ZwNqs<3{ov-1%}kf3JkxlQo7?9M)GjNIf8jxGiopz;FFzQ2$IKn(%}^0"
    "l*@T~i}MWSJnM3v!*D(i7aY!#)u>^(7~s5Z)hZqz@9?D|LHHsVE)l*&!sWS)VJr_<8ja+f+8!T@{f>MmYiXZr87>28"
    "#0!_?Bg<aUaB)eu>*O#Mc`y_;J58VpAOC!NNzKsST45Mvb`-YWc~LWsN^L=}VMR{26xpRo6VyQVDg2^Q%j{~P7iB#I"
    "^Uttu(GXGOnf>T)H`Bn_)TxJ+*`Gr+{@GnUbfN2ktQ=1%^3?+va9NkL<dP#l(w9m9kfV+U-fXT7l0OFba5NTlBq%cf"
    "&yL7;K2t4eV`H6WR@)w0xuBM)$kz^X{12D2IY&RMWM1t<KYdXB_AO@WVe#vxMMdMgdgw+oo(C_%GW#`==BV<Q_mu~G"
    "$Nwl2cM{OqeqFZ>l7Y`PS~H7AS&@_fX+%h6GE<V65vMcL(^HcZf+S7~(o}}rq=d9IEv6-DB9)q?E)$PuZ}Y?l@3@Rm"
    "vz||Xk?Lu39{!Gn(f$H75I~MIs8v}DllY6saDZgZPtsJm!aV*$&>P_Ci=yTN6o&h=wkrUC8%3eo5ytwnFo@;bLRg_`"
    "`@RecV%Ni1F^u&`eh}Lq3t`h?tUq?U1K4*yY>Rj152?}MS+i)5V4qW2c5FK}qE|d57aCtO?)Zt_PIcDF`k4;*+5PIp"
    "SQo=N>)o|~0qUz7Oa"
)
STREAM = (
    "c-n1}TW`}a6vq=MZ6VMx?u_fWr(7y6?b_~zRS1nqh5_ZpFDS}V(*%XM$8m;0s??WNjL*OWk9>@M6khoVNIY<oURb3b"
    "*^YgD^8cM<dq}=n(ckY|e^x*Ie7#Z~l9#^?90#D;Y+2K^z7$IMB69b*OhOTZjsdKUJ5i`q#9bbDLoWvMm09RipZnZR"
    "!Y@1lV*sYj3g}D%Ar%xTVFs?kSV57R%*-@I+=CJ|({#$ryous{(5b;l79xQ>-~6TJmdnN7$4s8-IQPKZ89`x;QJ&&Z"
    "96-rtMO=U4VJ}c{%vVDCLDfxF7$ue~`ED9UU03lq5z^grEI4l4tduJV>Ge2R<6o?;NO<b)*lEEDwuCVo^;!%2y5qFg"
    "Hyk*b*W~w8DAVGOf~7Z9qXs1-I7P995iB40czhA}6`o#Vy^>undG}f9D+^9nI&en8*$$k`3lF^LJ)93PonV^6Ho9gR"
    "T=<_st=_7&8cx%Ji$R$ZBwxzNWFJ<jz7LlVf=v91f~y_4mLJcq^uidf&#6DnD_m>L2se%rur=2jEm)lpZcYfdGQ#aK"
    ";f{j49k`bhe39ba-k&49z#E>a+w<zpdJWYpsIH^>15~e6#;Ok$JnF#X{8_xqp2dQ?^+l<YMFeBf#hJWHw23{@4yW_s"
    "X8TZ|%uADRQ9EkGO&r?Tun)2SX#WH69nic"
)
FORMS = {"archive": ARCHIVE, "stream": STREAM}


def content(form: str) -> bytes:
    return zlib.decompress(base64.b85decode(FORMS[form]))


@pytest.fixture
def written(tmp_path):
    """Write bytes to a file."""

    def write(data: bytes):
        path = tmp_path / "weights.pth"
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_of_value_is_read(written, form):
    value = read_torch_file(written(content(form)))
    assert {key: value[key] for key in ("step", "lr", "names")} == {
        "step": 3,
        "lr": 0.5,
        "names": ("a", None),
    }
    state = value["state"]
    assert list(state) == ["weight", "half", "brain", "count"]
    for name, expected in {
        "weight": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "half": np.array([1.5, -2], np.float16),
        "brain": np.array([1, -3], np.float32),
        "count": np.array(7),
    }.items():
        np.testing.assert_array_equal(state[name], expected, strict=True)
        assert not state[name].flags.writeable


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_is_cut_anywhere_is_damaged(written, form):
    whole = content(form)
    for length in range(0, len(whole) - 1, 7):
        with pytest.raises(CheckpointError):
            read_torch_file(written(whole[:length]))


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
def test_changed_bytes_are_read_or_refused_and_nothing_else(tmp_path_factory, form, data):
    whole = bytearray(content(form))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("changed") / "weights.pth"
    path.write_bytes(whole)
    refusal = ""
    try:
        read_torch_file(path)
    except CheckpointError as error:
        refusal = str(error)
    assert "\n" not in refusal


class Runs:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def archive(pickled: bytes, **records: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        target.writestr("net/data.pkl", pickled)
        for name, record in records.items():
            target.writestr(f"net/data/{name}", record)
    return file.getvalue()


@pytest.mark.parametrize(
    "value",
    [
        Runs(os.system, "touch ran"),
        Runs(eval, "open('ran', 'w')"),
        {"state": Runs(exec, "open('ran', 'w')")},
        [Runs(OrderedDict, Runs(os.mkdir, "ran"))],
    ],
    ids=["system", "eval", "exec", "nested"],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_no_pickle_runs(written, value, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = written(archive(pickle.dumps(value, protocol)))
    with pytest.raises(CheckpointError, match=r"may run programs.* it names .*torch.save\(model.state_dict"):
        read_torch_file(path)
    assert not (tmp_path / "ran").exists()


def tensor(shape, strides, *, offset=0, held=4, kind=b"FloatStorage", key=b"0") -> bytes:
    """A pickle with one tensor."""

    def numbers(values):
        return b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", each) for each in values) + b"t"

    storage = b"(U\x07storagectorch\n" + kind + b"\nU\x01" + key + b"U\x03cpu" + b"\x8a\x08"
    storage += struct.pack("<q", held) + b"tQ"
    view = b"\x8a\x08" + struct.pack("<q", offset) + numbers(shape) + numbers(strides)
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + view + b"\x89NtR."


NUMBERS = np.arange(4, dtype="<f4").tobytes()


def test_a_view_is_read_with_its_offset_and_strides(written):
    path = written(archive(tensor((2, 1), (2, 7), offset=1), **{"0": NUMBERS}))
    np.testing.assert_array_equal(read_torch_file(path), np.array([[1], [3]], np.float32), strict=True)
    empty = written(archive(tensor((3, 0), (1, 1), offset=9), **{"0": NUMBERS}))
    np.testing.assert_array_equal(read_torch_file(empty), np.empty((3, 0), np.float32), strict=True)


@pytest.mark.parametrize(
    ("pickled", "says"),
    [
        (tensor((5,), (1,)), r"shape \(5,\) at 0 in a storage of 4 numbers"),
        (tensor((2, 2), (3, 1)), "in a storage of 4"),
        (tensor((1,), (1,), offset=4), "at 4 in a storage of 4"),
        (tensor((2,), (-1,), offset=1), "strides"),
        (tensor((-1,), (1,)), "shape"),
        (tensor((2**40,), (0,)), r"shape \(1099511627776,\) in a storage"),
        (tensor((2**20, 2**20), (0, 0)), "in a storage"),
        (tensor((4,), (1,), held=2**40), "where 4,398,046,511,104 are needed"),
        (tensor((4,), (1,), held=5), "has 16 bytes where 20 are needed"),
        (tensor((2,), (1,), key=b"1"), "data/1 is missing"),
        (tensor((2,), (1,), kind=b"ComplexFloatStorage"), "it names 'torch.ComplexFloatStorage'"),
        (b"\x80\x02]q\x00h\x00a.", None),
        (b"\x80\x02" + b"(" * 50 + b"t" * 50 + b".", None),
        (b"\x80\x02" + b")" + b"\x85" * 5000 + b".", "more than 100 deep"),
        (b"\x80\x02)" + b"q\x00h\x00\x86" * 40 + b".", None),
        (b"\x80\x02" + b"B" + struct.pack("<I", 2**31 - 1) + b"x.", "pickle|damaged"),
        (b"(" * 2**21, "instructions"),
    ],
)
def test_sizes_are_held_to_what_the_file_has(written, pickled, says):
    path = written(archive(pickled, **{"0": NUMBERS}))
    if says is None:
        read_torch_file(path)
    else:
        with pytest.raises(CheckpointError, match=says):
            read_torch_file(path)


def test_many_tensors_of_one_storage_take_its_memory_once_or_are_refused(written):
    one = tensor((4,), (1,))
    several = b"\x80\x02(" + one[2:-1] * 1000 + b"l."
    found = read_torch_file(written(archive(several, **{"0": NUMBERS})))
    assert len(found) == 1000
    assert np.shares_memory(found[0], found[-1])
    numbers = np.ones(10**5, "<u2").tobytes()
    brain = tensor((10**5,), (1,), held=10**5, kind=b"BFloat16Storage")
    several = b"\x80\x02(" + brain[2:-1] * 1000 + b"l."
    with pytest.raises(CheckpointError, match="many times the file's numbers"):
        read_torch_file(written(archive(several, **{"0": numbers})))


def test_a_compressed_record_is_refused(written):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("net/data.pkl", tensor((4,), (1,)))
        target.writestr("net/data/0", bytes(10**6))
    with pytest.raises(CheckpointError, match="is compressed"):
        read_torch_file(written(file.getvalue()))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "damaged"),
        (b"\x80\x02K\x01.", "without the magic number"),
        (b"hello, world", "damaged"),
        (archive(b"N.").replace(b"data.pkl", b"some.pkl"), "has no data.pkl"),
    ],
)
def test_other_files_are_told(written, data, says):
    with pytest.raises(CheckpointError, match=says):
        read_torch_file(written(data))


def test_no_file_and_no_regular_file(tmp_path):
    with pytest.raises(CheckpointError, match="there is no file"):
        read_torch_file(tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="a directory"):
        read_torch_file(tmp_path)


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "?"])
def test_what_is_written_is_read(tmp_path, dtype):
    arrays = {
        "features.0.weight": np.arange(24).reshape(2, 3, 4).astype(dtype),
        "a.number": np.array(1, dtype),
        "nothing": np.empty((0, 3), dtype),
        "turned": np.arange(6).reshape(2, 3).astype(dtype).T,
    }
    write_torch_file(tmp_path / "x.pth", arrays)
    found = read_torch_file(tmp_path / "x.pth")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_a_type_that_pytorch_lacks_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="x is of complex64"):
        write_torch_file(tmp_path / "x.pth", {"x": np.ones(2, np.complex64)})
