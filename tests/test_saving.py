"""`ma.save` and `ma.load`: what comes back, what is refused, and what is said of damaged files."""

import json
import math
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import minialex as ma
from minialex.errors import CheckpointError


def same(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, ma.Tensor):
        return a.requires_grad == b.requires_grad and same(a.numpy(), b.numpy())
    if isinstance(a, np.ndarray | np.generic):
        return (
            a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        )
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["float32", "float64", "int64", "uint8", "bool"]).map(lambda d: ma.ones(2, 3, dtype=d))
    | st.sampled_from(["f2", "i2", "u8", "?"]).map(lambda d: np.ones((0, 2), d))
    | st.floats(width=32).map(np.float32)
)
OBJECTS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(-3, 3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(OBJECTS)
def test_what_is_saved_is_loaded(tmp_path_factory, obj):
    path = tmp_path_factory.getbasetemp() / "object.pth"
    ma.save(obj, path)
    assert same(ma.load(path), obj)


def test_a_training_goes_on_from_a_file(tmp_path):
    def made():
        network = ma.nn.Linear(3, 2)
        return network, ma.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)

    def step(network, optimizer):
        optimizer.zero_grad()
        (network(ma.ones(4, 3)) ** 2).sum().backward()
        optimizer.step()

    path = tmp_path / "AlexNet.pth"
    network, optimizer = made()
    step(network, optimizer)
    ma.save({"model": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, path)
    other, other_optimizer = made()
    loaded = ma.load(str(path))
    assert loaded["epoch"] == 3
    other.load_state_dict(loaded["model"])
    other_optimizer.load_state_dict(loaded["optimizer"])
    for each in ((network, optimizer), (other, other_optimizer)):
        step(*each)
    for name, array in network.state_dict().items():
        assert np.array_equal(array, other.state_dict()[name])


def test_others_read_the_arrays_by_their_names(tmp_path):
    weight = ma.arange(6.0).reshape(2, 3).detach()
    ma.save(OrderedDict({"features.0.weight": weight, "more": [weight.T, 7]}), tmp_path / "a")
    arrays = load_file(tmp_path / "a")
    assert set(arrays) == {"features.0.weight", "more.0"}
    assert np.array_equal(arrays["more.0"], weight.numpy().T)
    save_file({"w": np.ones(2, np.float32)}, tmp_path / "b.safetensors")
    loaded = ma.load(tmp_path / "b.safetensors")
    assert type(loaded["w"]) is ma.Tensor
    assert loaded["w"].tolist() == [1, 1]


def test_names_that_meet_and_tensors_that_are_shared(tmp_path):
    shared = ma.ones(2, requires_grad=True)
    ma.save(
        {"a": {"b": shared}, "a.b": ma.zeros(3), "again": shared, "__metadata__": ma.zeros(1)}, tmp_path / "a"
    )
    loaded = ma.load(tmp_path / "a")
    assert loaded["a.b"].tolist() == [0, 0, 0]
    assert loaded["again"] is loaded["a"]["b"]
    assert loaded["again"].requires_grad
    loaded["again"].data[0] = 5
    ma.save(shared * 2, tmp_path / "result")
    assert not ma.load(tmp_path / "result").requires_grad


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"a": [1, {2: object}]}, r"obj\['a'\]\[1\]\[2\] must be a tensor, .*, not <class 'object'>"),
        (ma.nn.Linear(2, 2), r"obj must be .*; save its state_dict\(\)"),
        ([1j], r"obj\[0\] must be a tensor"),
        ([np.array([None])], r"obj\[0\] must be of bools, integers or floats, not an array of object"),
        ({(1, 2): 3}, r"a key of obj must be a text, a number, a bool or None, not \(1, 2\)"),
        ({math.nan: 3}, "a key of obj must be"),
    ],
)
def test_what_cannot_be_saved_is_named_with_its_place(tmp_path, obj, message):
    path = tmp_path / "a"
    path.write_text("before")
    with pytest.raises(CheckpointError, match=message):
        ma.save(obj, path)
    assert path.read_text() == "before"


def test_what_holds_itself_is_refused(tmp_path):
    endless = []
    endless.append(endless)
    with pytest.raises(CheckpointError, match="deeper than 100 levels; does it hold itself"):
        ma.save(endless, tmp_path / "a")


def test_wrong_paths_are_told(tmp_path):
    with pytest.raises(CheckpointError, match="path must be the name of a file, not 7"):
        ma.save(1, 7)
    with pytest.raises(CheckpointError, match=r"there is no folder '.*none'"):
        ma.save(1, tmp_path / "none" / "a")
    with pytest.raises(CheckpointError, match=r"there is no file .*a'$"):
        ma.load(tmp_path / "a")
    with pytest.raises(CheckpointError, match="it is a folder"):
        ma.load(tmp_path)


def test_files_of_torch_are_refused_in_one_line(tmp_path):
    with zipfile.ZipFile(tmp_path / "new.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    (tmp_path / "old.pth").write_bytes(pickle.dumps({}, 2))
    for name in ("new.pth", "old.pth"):
        with pytest.raises(
            CheckpointError, match=r"is a file of torch\.save; .*interchange\.load_weights\(path, network\)"
        ) as caught:
            ma.load(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ("", "no JSON of `save`"),
        ("[" * 5000, "no JSON of `save`|deeper than"),
        ('{"tensor": "gone", "requires_grad": true}', "which it does not hold"),
        ('{"tensor": ["x"]}', "which it does not hold"),
        ('{"module": "os"}', "its structure has"),
        ('{"dict": [["a"]]}', "no JSON of `save`"),
        ('{"dict": [[["a"], 1]]}', "no JSON of `save`"),
        ('{"float": "1e"}', "which it does not hold"),
        ("[1]", "nothing in its structure is the array 'x'"),
    ],
)
def test_damaged_structures_are_refused(tmp_path, structure, message):
    metadata = {"format": "minialex-object-1", "structure": structure}
    save_file({"x": np.ones(2, np.float32)}, tmp_path / "a", metadata)
    with pytest.raises(CheckpointError, match=message):
        ma.load(tmp_path / "a")


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    path = tmp_path / "a"
    ma.save([ma.ones(100)], path)
    whole = path.read_bytes()
    assert json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])["__metadata__"]
    for end in (0, 1, 7, 30, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(CheckpointError, match="damaged or not a safetensors file"):
            ma.load(path)
