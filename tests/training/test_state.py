"""The file of an exact state: every bit comes back, or an error says what is wrong with it."""

import contextlib
import errno
import hashlib
import json
import os
import random as python_random
import struct
from dataclasses import fields, replace

import numpy as np
import pytest
import small_training
from safetensors import safe_open
from safetensors.numpy import save_file

import minialex as ma
from minialex import random
from minialex.errors import CheckpointError
from minialex.training import state as state_module
from minialex.training.checkpoint import save_checkpoint
from minialex.training.metrics import EpochMetrics, EpochSums
from minialex.training.state import TrainingState, load_latest_state, load_state, save_state

# Numbers that a decimal text of too few digits, or a float of 32 bits, would not bring back.
AWKWARD = (0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, 2.0**-1074 * 3)


def some_state(**changes) -> TrainingState:
    """A state with an entry of each kind."""
    random = np.random.default_rng(0)
    arrays = {
        "conv1.weight": random.normal(size=(4, 1, 3, 3)).astype(np.float32),
        "bn1.running_mean": random.normal(size=4),
        "strange": np.array([np.nan, np.inf, -0.0, 1e-45], np.float32),
        "scalar": np.array(0.1),
        "nothing": np.zeros((0, 3), np.float32),
    }
    values = {
        "epoch": 2,
        "batch": 3,
        "batches": 7,
        "steps": 17,
        "accumulate": 1,
        "seconds": AWKWARD[0],
        "stopped": None,
        "sums": EpochSums(24, 11, AWKWARD[1], 2, AWKWARD[2], 1e-3),
        "history": tuple(
            EpochMetrics(
                epoch, *AWKWARD[:2], None, None, AWKWARD[2], AWKWARD[3], AWKWARD[4], {"extra": AWKWARD[5]}
            )
            for epoch in (1, 2)
        ),
        "network": arrays,
        "optimizer": {
            "kind": "Adam",
            "state": {
                0: {"step": 17, "m": random.normal(size=(4, 1, 3, 3)).astype(np.float32), "v": np.ones(3)},
                3: {},
            },
            "param_groups": [{"params": [0, 1], "lr": AWKWARD[5], "betas": [0.9, 0.999]}],
        },
        "schedule": {"kind": "ReduceLROnPlateau", "best": AWKWARD[0], "waited": 3},
        "random": {"seed": 2**64 - 1, "offset": 12, "generator": np.random.PCG64(3).state},
        "callbacks": {"checkpoints": {"monitor": "train_loss", "value": AWKWARD[3], "epoch": 1, "waited": 1}},
    }
    return TrainingState(**values | changes)


def assert_equal(found: TrainingState, expected: TrainingState) -> None:
    def plain(state):
        """Arrays as bytes, so that NaN equals itself; floats as their exact text."""

        def of(value):
            if isinstance(value, np.ndarray):
                return (value.dtype.str, value.shape, value.tobytes())
            if isinstance(value, dict):
                return {key: of(each) for key, each in value.items()}
            if isinstance(value, list | tuple):
                return [of(each) for each in value]
            return value.hex() if isinstance(value, float) else repr(value)

        return {each.name: of(getattr(state, each.name)) for each in fields(state)}

    assert plain(found) == plain(expected)


@pytest.fixture
def path(tmp_path):
    save_state(tmp_path, some_state())
    return tmp_path / "state.safetensors"


def test_every_bit_comes_back(path):
    assert_equal(load_state(path), some_state())


@pytest.mark.parametrize("stopped", [None, "it has not improved for 3 epochs"])
def test_what_may_be_missing_comes_back_as_such(tmp_path, stopped):
    expected = some_state(schedule=None, callbacks={}, history=(), stopped=stopped)
    save_state(tmp_path, expected)
    assert_equal(load_state(tmp_path / "state.safetensors"), expected)


def test_numbers_of_numpy_become_those_of_python(tmp_path):
    group = {"params": [0], "lr": np.float32(0.1), "initial_lr": np.float64(0.1), "n": np.int64(3)}
    save_state(tmp_path, some_state(optimizer={"kind": "SGD", "state": {}, "param_groups": [group]}))
    (found,) = load_state(tmp_path / "state.safetensors").optimizer["param_groups"]
    assert found == {"params": [0], "lr": float(np.float32(0.1)), "initial_lr": 0.1, "n": 3}


# Damage


def test_every_flipped_bit_is_found(path):
    """Or changes nothing: JSON allows for spaces."""
    whole = path.read_bytes()
    (header,) = struct.unpack("<Q", whole[:8])
    chosen = python_random.Random(0)
    harmless = 0
    positions = [*range(8), *chosen.sample(range(8, 8 + header), 150)]
    positions += chosen.sample(range(8 + header, len(whole)), 150)
    for position in positions:
        flipped = bytearray(whole)
        flipped[position] ^= 1 << chosen.randrange(8)
        path.write_bytes(flipped)
        with contextlib.suppress(CheckpointError):
            found = load_state(path)
            assert position < 8 + header
            assert_equal(found, some_state())
            harmless += 1
    assert harmless < 10


def test_every_truncation_is_found(path):
    whole = path.read_bytes()
    for length in [*range(40), *range(40, len(whole), 61), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="damaged"):
            load_state(path)


def test_more_than_the_file_is_found(path):
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match="damaged"):
        load_state(path)


def test_a_checkpoint_is_no_state(tmp_path):
    save_checkpoint(tmp_path / "last.safetensors", small_training.network(), epoch=1)
    with pytest.raises(CheckpointError, match=r"not a state of a training .its format is 'minialex-1'"):
        load_state(tmp_path / "last.safetensors")


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F8_E5M2"])
def test_numbers_that_numpy_lacks_are_refused(tmp_path, dtype):
    entry = {"dtype": dtype, "shape": [2], "data_offsets": [0, 4 if dtype == "BF16" else 2]}
    header = json.dumps({"__metadata__": {"format": "minialex-state-1"}, "network.a": entry}).encode()
    path = tmp_path / "state.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(entry["data_offsets"][1]))
    with pytest.raises(
        CheckpointError, match=r"state\.safetensors' holds numbers of a type that NumPy lacks"
    ):
        load_state(path)


@pytest.mark.parametrize("name", ["missing", "folder"])
def test_what_is_no_file_is_named(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match=f"there is no state .*{name}"):
        load_state(tmp_path / name)


def written_by_hand(path, change, arrays=None) -> None:
    """A state whose JSON text was changed, with the SHA-256 that belongs to it."""
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        found = {name: file.get_tensor(name) for name in file.keys()} | (arrays or {})  # noqa: SIM118
    values = json.loads(metadata["values"])
    text = change(values)
    digest = hashlib.sha256(text.encode())
    for name in sorted(found):
        digest.update(f"\n{name} {found[name].dtype.str} {found[name].shape}\n".encode())
        digest.update(found[name].tobytes())
    save_file(found, path, metadata | {"values": text, "sha256": digest.hexdigest()})


def test_the_hand_written_file_is_as_ours(path):
    written_by_hand(path, json.dumps)
    assert_equal(load_state(path), some_state())


@pytest.mark.parametrize("name", [each.name for each in fields(TrainingState) if each.name != "network"])
@pytest.mark.parametrize("value", [-1, "x", [], [1], {"a": 1}, True, float("nan")], ids=repr)
def test_values_of_the_wrong_kind_are_refused_by_a_message(path, name, value):
    """Also those with a SHA-256 of their own: whoever writes a file can write that.

    What fits by its kind is for `Trainer.load_state_dict` to refuse.
    """
    written_by_hand(path, lambda values: json.dumps(values | {name: value}))
    fits = (
        (name == "stopped" and value == "x")
        or (name == "history" and value == [])
        or (name in ("schedule", "random") and value == {"a": 1})
    )
    if fits:
        load_state(path)
        return
    with pytest.raises(CheckpointError, match="is not a state of a training: "):
        load_state(path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", "[" * 100_000, '{"epoch": 1e999}', '{"epoch": ' + "9" * 5000 + "}"],
    ids=["empty", "list", "table", "null", "deep", "infinite", "long"],
)
def test_other_json_is_refused_by_a_message(path, text):
    written_by_hand(path, lambda values: text)
    with pytest.raises(CheckpointError, match="is not a state of a training: "):
        load_state(path)


@pytest.mark.parametrize("name", ["other", "optimizer.1.m", "optimizer.x.m", "optimizer", "optimizer.-1.m"])
def test_an_array_that_belongs_to_nothing_is_refused(path, name):
    written_by_hand(path, json.dumps, {name: np.zeros(1, np.float32)})
    with pytest.raises(CheckpointError, match=f"array '{name}' belongs to nothing"):
        load_state(path)


# The latest and the one before


def two_states(folder) -> None:
    save_state(folder, some_state(steps=1))
    save_state(folder, some_state(steps=2))


def names(folder) -> set:
    return {path.name for path in folder.iterdir()}


def test_the_previous_state_is_kept(tmp_path):
    two_states(tmp_path)
    save_state(tmp_path, some_state(steps=3))
    assert load_state(tmp_path / "state.safetensors").steps == 3
    assert load_state(tmp_path / "state-previous.safetensors").steps == 2
    assert names(tmp_path) == {"state.safetensors", "state-previous.safetensors"}
    state, note = load_latest_state(tmp_path)
    assert (state.steps, note) == (3, None)


def test_a_damaged_state_gives_way_to_the_previous_one_loudly(tmp_path):
    two_states(tmp_path)
    damaged = tmp_path / "state.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    state, note = load_latest_state(tmp_path)
    assert state.steps == 1
    assert "SHA-256" in note
    assert "goes on from state-previous.safetensors instead, in epoch 3 after batch 3 of 7" in note
    # The next state must not push the damaged one into the place of the whole one.
    assert names(tmp_path) == {"state-damaged.safetensors", "state-previous.safetensors"}
    save_state(tmp_path, some_state(steps=5))
    assert load_state(tmp_path / "state-previous.safetensors").steps == 1
    assert load_state(tmp_path / "state.safetensors").steps == 5


def test_a_missing_state_gives_way_to_the_previous_one_loudly(tmp_path):
    two_states(tmp_path)
    (tmp_path / "state.safetensors").unlink()
    state, note = load_latest_state(tmp_path)
    assert state.steps == 1
    assert "there is no state" in note


def test_two_damaged_states_are_an_error_that_names_both(tmp_path):
    two_states(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        CheckpointError, match=r"cannot be resumed: .*state\.saf.* damaged.*state-prev.* damaged"
    ):
        load_latest_state(tmp_path)


def test_a_damaged_first_state_is_an_error(tmp_path):
    save_state(tmp_path, some_state())
    (tmp_path / "state.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="cannot be resumed"):
        load_latest_state(tmp_path)


def test_no_state_at_all_says_what_to_do(tmp_path):
    with pytest.raises(CheckpointError, match=r"has no state\.safetensors: .* train anew"):
        load_latest_state(tmp_path)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_states_before(tmp_path, monkeypatch, call):
    two_states(tmp_path)

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(CheckpointError, match=r"state\.safetensors' cannot be written: No space left"):
        save_state(tmp_path, some_state(steps=3))
    monkeypatch.undo()
    assert load_state(tmp_path / "state.safetensors").steps == 2
    assert load_state(tmp_path / "state-previous.safetensors").steps == 1
    assert names(tmp_path) == {"state.safetensors", "state-previous.safetensors"}


def test_an_error_of_the_library_is_one_of_ours(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_state(tmp_path / "missing", some_state())


def test_the_digest_depends_on_everything(tmp_path):
    """Two states that differ in one thing have two digests, arrays that run into each other included."""
    one = np.arange(4, dtype=np.float32)
    digests = {
        state_module._digest(values, arrays)
        for values, arrays in [
            ("{}", {"a": one}),
            ("{ }", {"a": one}),
            ("{}", {"b": one}),
            ("{}", {"a": one.reshape(2, 2)}),
            ("{}", {"a": one.view(np.int32)}),
            ("{}", {"a": one + 1}),
            ("{}", {"a": one[:2], "b": one[2:]}),
            ("{}", {"a": one[:3], "b": one[3:]}),
        ]
    }
    assert len(digests) == 8


# The random numbers


def test_random_numbers_go_on():
    ma.manual_seed(7)
    random.generator().normal(size=5)
    random.generator().integers(0, 10, 3, dtype=np.int32)  # leaves half a word in the generator
    random.next_stream()
    state = json.loads(json.dumps(random.state_dict()))

    def draws():
        return (
            random.generator().integers(0, 2**31, 3, dtype=np.int32).tolist(),
            random.generator().normal(size=3).tolist(),
            [random.next_stream() for _ in range(2)],
        )

    expected = draws()
    ma.manual_seed(8)
    random.next_stream()
    random.load_state_dict(state)
    assert draws() == expected
    assert expected[2] == [(7, 1), (7, 2)]


def test_the_state_of_the_random_numbers_is_a_copy():
    ma.manual_seed(7)
    state = random.state_dict()
    expected = random.generator().normal()
    for _ in range(2):
        random.load_state_dict(state)
        assert random.generator().normal() == expected


@pytest.mark.parametrize(
    "change",
    [
        {"seed": -1},
        {"seed": 2**64},
        {"offset": 1.5},
        {"offset": True},
        {"generator": None},
        {"generator": {"bit_generator": "MT19937"}},
        {"generator": {**np.random.PCG64(0).state, "state": {"state": -1, "inc": 1}}},
        {"generator": {**np.random.PCG64(0).state, "state": {"state": 2**200, "inc": 1}}},
        {"generator": {**np.random.PCG64(0).state, "state": {"state": "x", "inc": 1}}},
        {"generator": {**np.random.PCG64(0).state, "uinteger": 2**70}},
    ],
)
def test_a_wrong_state_of_the_random_numbers_is_refused(change):
    ma.manual_seed(7)
    before = random.state_dict()
    with pytest.raises(CheckpointError, match="the state of the random numbers"):
        random.load_state_dict(before | change)
    assert random.state_dict() == before
    missing = {name: before[name] for name in before if name not in change}
    with pytest.raises(CheckpointError, match="incomplete"):
        random.load_state_dict(missing)


def test_a_state_holds_what_was_then(tmp_path):
    """What the file holds does not follow the network any more."""
    trainer = small_training.make(tmp_path)
    trainer.fit(1)
    save_state(tmp_path, replace(trainer.state_dict(), steps=99))
    before = small_training.bits(trainer)["arrays"]
    trainer.fit(2)
    found = load_state(tmp_path / "state-previous.safetensors")
    assert found.steps > 7
    assert small_training.bits(trainer)["arrays"] != before
