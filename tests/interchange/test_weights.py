"""`load_weights` and `save_weights`: every format, what wrappers add to names, and what does not fit."""

import zipfile

import numpy as np
import pytest

import minialex as ma
from minialex import nn
from minialex.errors import CheckpointError
from minialex.interchange import load_weights, save_weights
from minialex.interchange.torch_writing import write_torch_file

FORMATS = (".pth", ".pt", ".safetensors", ".npz")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
        self.classifier = nn.Linear(3, 4)


def state(network):
    return {name: np.array(value) for name, value in network.state_dict().items()}


def net(seed: int) -> Net:
    ma.manual_seed(seed)
    return Net()


def assert_same(first, second):
    assert state(first).keys() == state(second).keys()
    for name, array in state(first).items():
        np.testing.assert_array_equal(state(second)[name], array)


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_saved_is_loaded(tmp_path, suffix):
    first, second = net(1), net(2)
    path = tmp_path / f"net{suffix}"
    save_weights(path, first)
    loaded = load_weights(path, second)
    assert_same(first, second)
    assert [each.target for each in loaded.tensors] == list(state(first))
    assert (loaded.missing_keys, loaded.unexpected_keys, loaded.key) == ((), (), "")
    assert "features.0.weight  3 x 2 x 3 x 3  float32" in str(loaded)


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_contents_say_what_a_file_is(tmp_path, suffix):
    first, second = net(1), net(2)
    save_weights(tmp_path / f"net{suffix}", first)
    (tmp_path / f"net{suffix}").rename(tmp_path / "net.weights")
    load_weights(tmp_path / "net.weights", second)
    assert_same(first, second)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "_orig_mod.module.", "model.module."])
def test_what_wrappers_put_before_names_is_dropped(tmp_path, prefix):
    first, second = net(1), net(2)
    path = tmp_path / "net.pth"
    write_torch_file(path, {prefix + name: array for name, array in state(first).items()})
    loaded = load_weights(path, second)
    assert_same(first, second)
    assert f"{prefix}classifier.bias -> classifier.bias  4  float32" in str(loaded)


def test_a_model_that_has_such_a_name_itself_keeps_it(tmp_path):
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = nn.Linear(2, 2)

    first, second = Holder(), Holder()
    save_weights(tmp_path / "holder.npz", first)
    load_weights(tmp_path / "holder.npz", second)
    assert_same(first, second)


def test_numbers_of_another_type_are_converted_and_said(tmp_path):
    network = net(1)
    halves = {name: array.astype(np.float16) for name, array in state(network).items()}
    write_torch_file(tmp_path / "net.pth", halves)
    loaded = load_weights(tmp_path / "net.pth", network)
    assert "classifier.bias  4  float16 -> float32" in str(loaded)
    np.testing.assert_array_equal(state(network)["classifier.bias"], halves["classifier.bias"])


def test_names_and_shapes_that_do_not_fit_are_all_listed_and_nothing_is_changed(tmp_path):
    network = net(1)
    before = state(network)
    wrong = {name: array + 1 for name, array in before.items()}
    wrong["classifier.weight"] = wrong["classifier.weight"].T.copy()
    wrong["head.bias"] = wrong.pop("classifier.bias")
    write_torch_file(tmp_path / "net.pth", wrong)
    with pytest.raises(CheckpointError, match=r"net.pth.*classifier.bias.*") as raised:
        load_weights(tmp_path / "net.pth", network)
    assert "head.bias" in str(raised.value)
    assert "classifier.weight" in str(raised.value)
    for name, array in before.items():
        np.testing.assert_array_equal(state(network)[name], array)


def test_not_strict_loads_what_there_is(tmp_path):
    network = net(1)
    write_torch_file(tmp_path / "net.pth", {"classifier.bias": np.ones(4, np.float32), "x": np.ones(1)})
    loaded = load_weights(tmp_path / "net.pth", network, strict=False)
    assert loaded.unexpected_keys == ("x",)
    assert "features.0.weight" in loaded.missing_keys
    assert "not used: x" in str(loaded)
    np.testing.assert_array_equal(state(network)["classifier.bias"], np.ones(4))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(20), "HDF5"),
        (b"hello" * 9, "of a format that is not read"),
        (b"", "of a format that is not read"),
        (b"PK\x03\x04" + bytes(20), "damaged archive"),
    ],
)
def test_other_files_are_told(tmp_path, value, says):
    path = tmp_path / "net.bin"
    path.write_bytes(value)
    with pytest.raises(CheckpointError, match=says):
        load_weights(path, net(1))


def npz_with(header_shape, count):
    """An archive with one array, whose header speaks of another shape."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {header_shape!r}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    return start + bytes(4 * count)


@pytest.mark.parametrize(
    ("entry", "compression", "says"),
    [
        (npz_with((2**40,), 4), zipfile.ZIP_STORED, "its shape is"),
        (npz_with((3,), 4), zipfile.ZIP_STORED, "its shape is"),
        (npz_with((10**8,), 10**8), zipfile.ZIP_DEFLATED, "200 times as large"),
        (b"\x93NUMPY\x01", zipfile.ZIP_STORED, "damaged"),
    ],
)
def test_an_archive_of_arrays_is_held_to_its_length(tmp_path, entry, compression, says):
    path = tmp_path / "net.npz"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("classifier.bias.npy", entry)
    with pytest.raises(CheckpointError, match=says):
        load_weights(path, net(1), strict=False)


def test_objects_in_an_archive_are_refused(tmp_path):
    path = tmp_path / "net.npz"
    np.savez(path, **{"classifier.bias": np.array([{}, 1], object)})
    with pytest.raises(CheckpointError, match="holds objects, which are pickled"):
        load_weights(path, net(1), strict=False)


def test_the_name_says_what_is_written_and_else_nothing_is(tmp_path):
    with pytest.raises(CheckpointError, match=r"must end in .pth, .pt, .safetensors or .npz"):
        save_weights(tmp_path / "net.h5", net(1))
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_weights(tmp_path / "none" / "net.npz", net(1))
    with pytest.raises(CheckpointError, match="model must be a Module, not"):
        save_weights(tmp_path / "net.npz", {})
    with pytest.raises(CheckpointError, match="model must be a Module, not"):
        load_weights(tmp_path / "net.npz", {})
    assert list(tmp_path.iterdir()) == []
