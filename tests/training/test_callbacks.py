"""Callbacks: what they write, when, and what they decide."""

import json
import math
import struct
import sys

import numpy as np
import pytest
from safetensors import safe_open
from small_training import BATCHES, make, resume

from minialex.errors import CheckpointError, MiniAlexError
from minialex.training.callbacks import Callback, Checkpoints, EarlyStopping, TensorBoard
from minialex.training.callbacks import checkpoints as checkpoints_module
from minialex.training.callbacks.best import Best
from minialex.training.metrics import EpochMetrics
from minialex.training.state import load_state


def metrics(epoch: int, loss: float, accuracy: float = 0.5, **extra) -> EpochMetrics:
    return EpochMetrics(epoch, loss, accuracy, loss, accuracy, 0.1, 1.0, 10.0, extra)


class Stopped:
    """As much of a trainer as `EarlyStopping` asks for."""

    def __init__(self):
        self.reason = None

    def stop(self, reason):
        self.reason = reason

    def require_metric(self, name):
        assert name == "train_loss"


# The best value


@pytest.mark.parametrize(
    ("mode", "min_delta", "values", "improvements"),
    [
        ("min", 0.0, [3, 2, 2, 4, 1], [1, 1, 0, 0, 1]),
        ("max", 0.0, [3, 2, 3, 4, 1], [1, 0, 0, 1, 0]),
        ("min", 0.5, [3, 2.6, 2.4, 2.0, 1.8], [1, 0, 1, 0, 1]),
        ("max", 0.5, [3, 3.4, 3.6, 4.0, 4.2], [1, 0, 1, 0, 1]),
        ("min", 0.0, [math.nan, 3, math.nan, 2], [0, 1, 0, 1]),
    ],
)
def test_best_knows_improvements(mode, min_delta, values, improvements):
    best = Best("train_loss", mode, min_delta)
    found = [best.update(metrics(epoch, value)) for epoch, value in enumerate(values, 1)]
    assert found == [bool(each) for each in improvements]
    last = max(i for i, each in enumerate(improvements) if each)
    assert (best.value, best.epoch, best.waited) == (values[last], last + 1, len(values) - 1 - last)


def test_best_follows_an_extra_metric():
    best = Best("validation_top5_accuracy", "max")
    assert best.update(metrics(1, 1.0, validation_top5_accuracy=0.5))
    assert not best.update(metrics(2, 0.5, validation_top5_accuracy=0.4))
    assert best.value == 0.5


@pytest.mark.parametrize(
    "change",
    [{"monitor": "lr"}, {"value": "x"}, {"value": None}, {"epoch": None}, {"waited": -1}, {"other": 1}],
)
def test_a_wrong_best_value_is_refused_and_nothing_is_changed(change):
    best = Best("train_loss", "min")
    best.update(metrics(1, 0.5))
    before = best.state_dict()
    with pytest.raises(CheckpointError, match="saved best value"):
        best.load_state_dict(before | change)
    assert best.state_dict() == before


@pytest.mark.parametrize(
    ("make_one", "message"),
    [
        (lambda: Best("train_loss", "least"), "mode must be 'min' or 'max', not 'least'"),
        (lambda: Best("train_loss", "min", -1.0), r"min_delta must be a number 0 or more, not -1\.0"),
        (lambda: EarlyStopping(patience=0), "patience must be an integer 1 or more, not 0"),
        (lambda: EarlyStopping(patience=True), "patience must be .*, not True"),
        (lambda: Checkpoints(None, every_seconds=-1), "every_seconds must be a number 0 or more, not -1"),
        (lambda: Checkpoints(None, every_seconds=math.nan), "every_seconds must be .*, not nan"),
        (lambda: Checkpoints(None, mode="least"), "mode must be 'min' or 'max', not 'least'"),
        (lambda: TensorBoard(None, every_steps=0), "every_steps must be an integer 1 or more, not 0"),
    ],
)
def test_impossible_options_are_refused_by_name(make_one, message):
    with pytest.raises(MiniAlexError, match=message):
        make_one()


# Early stopping


def epochs_until_stopped(values, **options) -> int | None:
    stopping, trainer = EarlyStopping("train_loss", **options), Stopped()
    stopping.before_training(trainer)
    for epoch, value in enumerate(values, 1):
        stopping.after_epoch(metrics(epoch, value), None, None)
        if trainer.reason is not None:
            return epoch
    return None


@pytest.mark.parametrize(
    ("values", "patience", "epoch"),
    [
        ([3, 2, 2, 2, 2], 2, 4),
        ([3, 2, 2, 1, 2, 2], 2, 6),
        ([3, 2, 1], 1, None),
        ([3, 3], 1, 2),
        ([3, 4, 2.9, 4, 2.8, 4], 2, None),
        ([math.nan, math.nan], 2, 2),
    ],
)
def test_it_stops_after_patience_epochs_in_a_row_as_keras_does(values, patience, epoch):
    assert epochs_until_stopped(values, patience=patience) == epoch


def test_the_reason_is_said():
    stopping, trainer = EarlyStopping("train_loss", patience=2), Stopped()
    stopping.before_training(trainer)
    for epoch, value in enumerate([3, 0.5, 2, 2], 1):
        stopping.after_epoch(metrics(epoch, value), None, None)
    assert trainer.reason == "train_loss has not improved for 2 epochs; its best was 0.5 in epoch 2"


def test_two_early_stops_of_different_metrics_live_together(tmp_path):
    first = (EarlyStopping("validation_loss", patience=9),)
    trainer = make(tmp_path, first=first)
    assert len(trainer.state_dict().callbacks) == 3
    with pytest.raises(MiniAlexError, match="keys of their own"):
        make(tmp_path, first=(EarlyStopping("train_loss", patience=9),))


def test_an_unknown_metric_is_refused_before_training(tmp_path):
    with pytest.raises(MiniAlexError, match="no metric 'loss' to monitor; there are: train_loss"):
        make(tmp_path, first=(EarlyStopping("loss"),)).fit(1)
    assert not list(tmp_path.iterdir())


# Checkpoints


class Clock:
    """A clock that shows ten seconds more at each look."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        self.now += 10
        return self.now


class Writes(Callback):
    """Notes after which steps a state was written; to stand behind `Checkpoints`."""

    def __init__(self, path):
        self.path, self.steps, self.found = path, [], None

    def save(self, trainer):
        now = self.path.stat().st_mtime_ns if self.path.exists() else None
        if now != self.found:
            assert load_state(self.path).steps == trainer.steps
            self.steps.append(trainer.steps)
        self.found = now


def steps_with_a_state(folder, monkeypatch, every_seconds):
    monkeypatch.setattr(checkpoints_module, "time", Clock())
    trainer = make(folder, every_seconds=every_seconds)
    writes = Writes(folder / "state.safetensors")
    trainer.callbacks += (writes,)
    trainer.fit(2)
    return writes.steps


def test_a_state_is_written_after_every_epoch(tmp_path, monkeypatch):
    assert steps_with_a_state(tmp_path, monkeypatch, 1e9) == [BATCHES, 2 * BATCHES]


def test_a_state_is_written_whenever_the_seconds_have_passed(tmp_path, monkeypatch):
    """A look takes ten seconds: one at the beginning, one at each step, one more when a state was written."""
    assert steps_with_a_state(tmp_path, monkeypatch, 30) == [3, 6, 7, 10, 13, 14]


def test_a_state_is_written_after_every_step(tmp_path, monkeypatch):
    """And after the epoch that it ends, with the validation behind it."""
    expected = sorted([*range(1, 2 * BATCHES + 1), BATCHES, 2 * BATCHES])
    assert steps_with_a_state(tmp_path, monkeypatch, 0) == expected


def notes_of(path) -> dict:
    with safe_open(path, framework="numpy") as file:
        return file.metadata()


@pytest.mark.parametrize(("monitor", "mode"), [("validation_loss", "min"), ("train_accuracy", "max")])
def test_the_best_weights_are_those_of_the_best_epoch(tmp_path, monitor, mode):
    class Weights(Callback):
        def __init__(self):
            self.epochs = []

        def after_epoch(self, metrics, network, validation):
            self.epochs.append({name: array.copy() for name, array in network.state_dict().items()})

    weights = Weights()
    trainer = make(tmp_path, optimizer="momentum", schedule="none", first=(weights,), every_seconds=1e9)
    chosen = Checkpoints(tmp_path, monitor=monitor, mode=mode)
    trainer.callbacks = (*trainer.callbacks[:-1], chosen)
    trainer.fit(6)
    values = [metrics.to_dict()[monitor] for metrics in trainer.history]
    best = values.index({"min": min, "max": max}[mode](values))
    assert 0 < best < 5, "the test says nothing if the first or the last epoch is the best"
    assert (chosen.best.epoch, chosen.best.value) == (best + 1, values[best])
    for name, epoch in (("best", best), ("last", 5)):
        path = tmp_path / f"{name}.safetensors"
        with safe_open(path, framework="numpy") as file:
            for array, expected in weights.epochs[epoch].items():
                np.testing.assert_array_equal(file.get_tensor(array), expected)
        assert notes_of(path)["epoch"] == str(epoch + 1)
        assert float(notes_of(path)[monitor]) == values[epoch]


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    for name in (".state.safetensors.abc", ".last.safetensors.x", ".best.safetensors.y", ".metrics.jsonl.z"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / ".gitignore").write_text("*")
    make(tmp_path, every_seconds=1e9).fit(1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".gitignore",
        "best.safetensors",
        "last.safetensors",
        "metrics.jsonl",
        "state.safetensors",
    ]


# The metrics file


def test_metrics_have_a_line_an_epoch(tmp_path):
    seen = []

    class Lines(Callback):
        def save(self, trainer):
            if trainer.batch == 0:
                seen.append((tmp_path / "metrics.jsonl").read_text().splitlines())

    trainer = make(tmp_path, first=(Lines(),), every_seconds=1e9)
    trainer.fit(3)
    assert [len(lines) for lines in seen] == [1, 2, 3]
    lines = [json.loads(line) for line in seen[-1]]
    assert lines == [metrics.to_dict() for metrics in trainer.history]
    assert [line["epoch"] for line in lines] == [1, 2, 3]


# TensorBoard


def masked_crc(data: bytes) -> int:
    """CRC-32C as TensorFlow masks it, by the definition bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def events_of(folder):
    """The events of a folder's files in the order in which TensorBoard reads them."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.iterdir()):
        assert "tfevents" in path.name
        content, position = path.read_bytes(), 0
        while position < len(content):
            header = content[position : position + 8]
            (length,) = struct.unpack("<Q", header)
            assert struct.unpack_from("<I", content, position + 8)[0] == masked_crc(header)
            data = content[position + 12 : position + 12 + length]
            assert struct.unpack_from("<I", content, position + 12 + length)[0] == masked_crc(data)
            position += 16 + length
            yield Event.FromString(data)


def shown(folder) -> dict:
    """What TensorBoard shows: {tag: [(step, value), ...]}, without what a resumed run has purged."""
    from tensorboardX.proto.event_pb2 import SessionLog

    series: dict[str, list] = {}
    for event in events_of(folder):
        if event.session_log.status == SessionLog.START:
            for tag, points in series.items():
                series[tag] = [(step, value) for step, value in points if step < event.step]
        for value in event.summary.value:
            series.setdefault(value.tag, []).append((event.step, value.simple_value))
    return series


def test_event_files_hold_the_metrics(tmp_path):
    (tmp_path / "run").mkdir()
    trainer = make(
        tmp_path / "run",
        every_seconds=1e9,
        first=(TensorBoard(tmp_path / "board", every_steps=5),),
        clip_norm=0.5,
        validation_metrics={"validation_top2": lambda evaluation: evaluation.top_k(2)},
    )
    trainer.fit(3)
    series = shown(tmp_path / "board" / "epochs")
    names = {
        "loss/train": "train_loss",
        "loss/validation": "validation_loss",
        "accuracy/train": "train_accuracy",
        "accuracy/validation": "validation_accuracy",
        "learning_rate": "lr",
        "images_per_second": "images_per_second",
        "validation_top2": "validation_top2",
    }
    assert series.keys() == names.keys()
    for tag, name in names.items():
        expected = [(epoch.epoch, float(np.float32(epoch.to_dict()[name]))) for epoch in trainer.history]
        assert series[tag] == expected
    steps = shown(tmp_path / "board" / "steps")
    assert steps.keys() == {"loss/step", "accuracy/step", "learning_rate/step", "gradient_norm/step"}
    assert all([step for step, _ in points] == [5, 10, 15, 20] for points in steps.values())
    assert all(value > 0 for _, value in steps["gradient_norm/step"])
    first, *_ = events_of(tmp_path / "board" / "steps")
    assert first.file_version == "brain.Event:2"


class Interrupted(Exception):
    pass


class Interrupt(Callback):
    def after_step(self, step):
        if step.number == BATCHES + 4:
            raise Interrupted


def test_a_resumed_run_shows_no_step_twice_and_none_less(tmp_path):
    def options(name):
        return {"every_seconds": 1e9, "first": (TensorBoard(tmp_path / name / "board", every_steps=1),)}

    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    make(tmp_path / "whole", **options("whole")).fit(3)
    killed = options("killed")
    with pytest.raises(Interrupted):
        make(tmp_path / "killed", **killed | {"first": (*killed["first"], Interrupt())}).fit(3)
    trainer, _ = resume(tmp_path / "killed", **options("killed"))
    assert trainer.steps == BATCHES
    trainer.fit(3)
    for part in ("epochs", "steps"):
        found, expected = (
            shown(tmp_path / "killed" / "board" / part),
            shown(tmp_path / "whole" / "board" / part),
        )
        found.pop("images_per_second", None), expected.pop("images_per_second", None)
        assert found == expected
        assert len(list((tmp_path / "killed" / "board" / part).iterdir())) == 2
    assert [step for step, _ in found["loss/step"]] == [*range(1, 3 * BATCHES + 1)]


def test_events_are_on_the_disk_when_a_state_may_be_written(tmp_path):
    seen = []

    class Look(Callback):
        def save(self, trainer):
            parts = [shown(tmp_path / "board" / part) for part in ("steps", "epochs")]
            seen.append(
                [len(part.get(tag, [])) for part, tag in zip(parts, ("loss/step", "loss/train"), strict=True)]
            )

    make(tmp_path, every_seconds=1e9, first=(TensorBoard(tmp_path / "board", every_steps=1), Look())).fit(1)
    assert seen == [[n, 0] for n in range(1, BATCHES + 1)] + [[BATCHES, 1]]


def test_without_tensorboardx_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MiniAlexError, match=r"pip install 'minialex\[tensorboard\]'"):
        TensorBoard(tmp_path)
