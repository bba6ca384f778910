"""A resumed training ends in the bits of one that was never interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_training
from small_training import BATCHES, EPOCHS, OPTIMIZERS, SCHEDULES, bits, files, make, resume

from minialex import functional as F
from minialex import optim
from minialex.data import DataLoader
from minialex.errors import CheckpointError, DamagedSample
from minialex.optim.lr_scheduler import StepLR
from minialex.training.callbacks import Callback, EarlyStopping
from minialex.training.state import load_latest_state
from minialex.training.trainer import Trainer

SCRIPT = Path(__file__).with_name("killed_training.py")


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch):
    """Hundreds of states are written, and no power failure is tested."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


class Interrupted(Exception):
    """What stops a training in the middle."""


class Interrupt(Callback):
    """Stops the training after a step, before the state of that step is written."""

    def __init__(self, step: int):
        self.step = step

    def after_step(self, step):
        if step.number == self.step:
            raise Interrupted


def interrupted_and_resumed(folder: Path, step: int, **options) -> Trainer:
    """A training that was interrupted in a step and resumed from the state before, and is complete."""
    with pytest.raises(Interrupted):
        make(folder, first=(Interrupt(step),), **options).fit(EPOCHS)
    trainer, note = resume(folder, **options)
    assert note is None
    trainer.fit(EPOCHS)
    return trainer


def assert_same_bits(tmp_path: Path, *steps: int, **options) -> None:
    """Interrupt a training in each of the steps, and compare what comes of it with an uninterrupted one."""
    (tmp_path / "whole").mkdir()
    whole = make(tmp_path / "whole", **options)
    whole.fit(EPOCHS)
    expected = bits(whole)
    assert len(expected["history"]) == EPOCHS
    for step in steps:
        folder = tmp_path / str(step)
        folder.mkdir()
        trainer = interrupted_and_resumed(folder, step, **options)
        assert bits(trainer) == expected, f"interrupted in step {step}"
        assert files(folder) == files(tmp_path / "whole"), f"interrupted in step {step}"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_each_optimiser_goes_on_to_the_bit(tmp_path, optimizer):
    assert_same_bits(tmp_path, 4, BATCHES + 1, optimizer=optimizer)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_schedule_goes_on_to_the_bit(tmp_path, schedule):
    # Adam's steps of 0.01 would hide a rate that is wrong by the last bit; those of SGD do not.
    assert_same_bits(tmp_path, 6, BATCHES + 3, optimizer="momentum", schedule=schedule)


@pytest.mark.parametrize(
    "options",
    [
        {"accumulate": 3},
        {"clip_norm": 0.5},
        {"accumulate": 2, "clip_norm": 0.5, "loss": lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1)},
        {"validation_metrics": {"validation_top2": lambda evaluation: evaluation.top_k(2)}},
    ],
    ids=lambda options: ", ".join(options),
)
def test_options_of_the_trainer_go_on_to_the_bit(tmp_path, options):
    steps = -(-BATCHES // options.get("accumulate", 1))
    assert_same_bits(tmp_path, 2, steps + 2, optimizer="momentum", **options)


def test_states_of_epochs_alone_replay_what_came_after(tmp_path):
    assert_same_bits(tmp_path, BATCHES + 1, 3 * BATCHES, every_seconds=1e9)


def test_many_steps_of_an_epoch_can_be_the_last(tmp_path):
    assert_same_bits(tmp_path, *range(BATCHES + 2, 2 * BATCHES + 2, 2))


@pytest.mark.needs_gxx
def test_cuda_kernels_go_on_to_the_bit(tmp_path):
    assert_same_bits(tmp_path, BATCHES + 3, device="cuda-host")


# Killed, with nothing left but what is on the disk


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks")
@pytest.mark.parametrize(
    ("every_seconds", "stride"),
    [
        (0, 40),
        pytest.param(1e9, 12, marks=pytest.mark.full),
        pytest.param(1e9, 1, marks=pytest.mark.full),
        pytest.param(0, 1, marks=pytest.mark.full),
    ],
)
def test_a_killed_training_goes_on_to_the_bit(tmp_path, every_seconds, stride):
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, str(every_seconds), str(stride)],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    whole = result["uninterrupted"]
    assert whole["points"].keys() == {"loss", "step", "epoch", "write", "fsync", "replace", "replaced"}
    expected = sum(-(-count // stride) for count in whole["points"].values()) + 1
    assert len(result["outcomes"]) == expected
    for point, outcome in result["outcomes"].items():
        assert outcome["bits"] == whole["bits"], f"killed at {point}"
        assert outcome["files"] == whole["files"], f"killed at {point}"
        assert outcome["leftovers"] == [], f"killed at {point}"
        # The previous state is needed where a kill hit the moment between the two renamings, and only there.
        if outcome["note"] is not None:
            assert point.startswith("replace"), f"killed at {point}: {outcome['note']}"
            assert "the run goes on from state-previous.safetensors instead" in outcome["note"]


def test_a_process_killed_from_outside_goes_on_to_the_bit(tmp_path):
    (tmp_path / "killed").mkdir()
    process = subprocess.Popen([sys.executable, SCRIPT, tmp_path / "killed"])
    try:
        until = time.monotonic() + 120
        while not (tmp_path / "killed" / "metrics.jsonl").exists():
            assert process.poll() is None
            assert time.monotonic() < until, "no epoch was completed"
            time.sleep(0.01)
        time.sleep(0.123)
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL
    trainer, _ = resume(tmp_path / "killed", schedule="exponential")
    epochs = trainer.epoch + 2
    trainer.fit(epochs)
    (tmp_path / "whole").mkdir()
    whole = make(tmp_path / "whole", schedule="exponential")
    whole.fit(epochs)
    assert bits(trainer) == bits(whole)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


# What goes on besides the weights


def state_in_the_middle(folder: Path, step: int = BATCHES + 3, **options):
    """The state before a step of the second epoch."""
    with pytest.raises(Interrupted):
        make(folder, first=(Interrupt(step),), **options).fit(EPOCHS)
    return load_latest_state(folder)[0]


def test_the_time_goes_on(tmp_path):
    state = state_in_the_middle(tmp_path)
    assert 0 < state.sums.seconds < state.seconds < 60
    trainer = make(tmp_path)
    trainer.load_state_dict(replace(state, seconds=1000.0, sums=replace(state.sums, seconds=500.0)))
    assert trainer.seconds == 1000
    last = trainer.fit(2)
    assert 500 < last.seconds < 560
    assert last.images_per_second == pytest.approx(small_training.IMAGES / last.seconds)
    assert 1000 < trainer.seconds < 1060


def test_lines_after_the_state_are_dropped(tmp_path):
    state_in_the_middle(tmp_path)
    path = tmp_path / "metrics.jsonl"
    first = path.read_text()
    assert len(first.splitlines()) == 1
    path.write_text(first + '{"epoch": 2}\n{"epoch": 3, "trai')
    trainer, _ = resume(tmp_path)
    trainer.fit(1)
    assert path.read_text() == first


def require_going_on(trainer_with, step: int, epochs: int = 2) -> Trainer:
    """Compare a training with another that goes on from the state after a step, which is returned."""
    whole = trainer_with()
    whole.fit(epochs)
    expected = bits(whole)
    interrupted = trainer_with(Interrupt(step))
    with pytest.raises(Interrupted):
        interrupted.fit(epochs)
    # The exception came before the callbacks were asked to save, but after the step was whole.
    state = interrupted.state_dict()
    resumed = trainer_with()
    resumed.load_state_dict(state)
    resumed.fit(epochs)
    assert bits(resumed) == expected
    return resumed


def test_the_epochs_waited_and_the_stop_go_on():
    """One batch an epoch: the state is that of the last step, before the validation."""
    x = np.random.default_rng(0).normal(size=(6, 1, 6, 6)).astype(np.float32)
    batches = [(x, np.arange(6) % 3)]

    def trainer_with(*callbacks):
        network = small_training.network()
        # Nothing improves by 100 after the first epoch.
        stopping = EarlyStopping("validation_loss", patience=2, min_delta=100)
        optimizer = optim.SGD(network.parameters())
        return Trainer(network, optimizer, batches, batches, callbacks=(stopping, *callbacks))

    for step in (1, 2, 3):
        resumed = require_going_on(trainer_with, step, epochs=10)
        assert resumed.epoch == 3
        assert "validation_loss has not improved for 2 epochs" in resumed.stopped
    again = trainer_with()
    again.load_state_dict(resumed.state_dict())
    assert again.fit(10) == resumed.history[-1]
    assert again.steps == 3


class _Damaged:
    """A data set whose samples 3, 10, 11 and 40 cannot be read."""

    def __init__(self):
        self.whole = small_training.dataset(0)
        self.classes, self.name = self.whole.classes, self.whole.name

    def __len__(self):
        return len(self.whole)

    def __getitem__(self, index):
        if index in (3, 10, 11, 40):
            raise DamagedSample(f"{index}.png", "it ends in the middle")
        return self.whole[index]


@pytest.mark.parametrize(("batch_size", "steps"), [(8, (1, 6, 9)), (1, (13, 37, 50))])
def test_damaged_samples_are_counted_over_a_resume(batch_size, steps):
    """With batches of one sample, some batches are left out as a whole."""

    def trainer_with(*callbacks):
        network = small_training.network()
        loader = DataLoader(_Damaged(), batch_size, shuffle=True, seed=1, on_error="skip")
        return Trainer(network, optim.SGD(network.parameters()), loader, callbacks=callbacks)

    for step in steps:
        resumed = require_going_on(trainer_with, step)
        assert [metrics.extra for metrics in resumed.history] == [{"train_skipped": 4}] * 2


def test_batches_of_a_list_go_on():
    x = np.random.default_rng(0).normal(size=(20, 1, 6, 6)).astype(np.float32)
    batches = [(x[i : i + 4], np.arange(4) % 3) for i in range(0, 20, 4)]

    def trainer_with(*callbacks):
        network = small_training.network()
        return Trainer(network, optim.Adam(network.parameters()), batches, batches, callbacks=callbacks)

    resumed = require_going_on(trainer_with, 8)
    assert (resumed.epoch, resumed.steps) == (2, 10)


# States of other trainings


def other_network(trainer):
    trainer.network.conv1.weight.data = np.zeros((4, 1, 3, 2), np.float32)


def other_dtype(trainer):
    trainer.network.astype(np.float64)


def other_optimizer(trainer):
    trainer.optimizer = optim.AdamW(trainer.network.parameters())


def other_groups(trainer):
    first, *rest = trainer.network.parameters()
    trainer.optimizer = optim.Adam([{"params": [first]}, {"params": rest}])


def other_schedule(trainer):
    trainer.options = replace(trainer.options, schedule=StepLR(trainer.optimizer, 3))


def other_callbacks(trainer):
    trainer.callbacks = trainer.callbacks[:1]


def other_loader(trainer):
    trainer.train = [trainer.train] * 3


def other_accumulation(trainer):
    trainer.options = replace(trainer.options, accumulate=2)


def other_monitor(trainer):
    trainer.callbacks[2].best.monitor = "validation_loss"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            other_network,
            r"network\.conv1\.weight is float32 \(4, 1, 3, 3\) there, float32 \(4, 1, 3, 2\) here",
        ),
        (other_dtype, r"network\..* is float32 .* there, float64"),
        (other_optimizer, "optimiser: 'Adam' there, 'AdamW' here"),
        (other_groups, "groups of"),
        (other_schedule, "schedule: 'CosineAnnealingLR' there, 'StepLR' here"),
        (other_callbacks, r"callbacks with a state: \['checkpoints', 'early_stopping .* there, \[\] here"),
        (other_loader, "batches an epoch: 7 there, 3 here"),
        (other_accumulation, "batches a step: 1 there, 2 here"),
        (other_monitor, "best value is one of 'validation_accuracy'; this run monitors 'validation_loss'"),
    ],
)
def test_the_state_of_another_training_is_refused_and_nothing_is_changed(tmp_path, change, message):
    state = state_in_the_middle(tmp_path)
    trainer = make(tmp_path)
    change(trainer)
    before = bits(trainer)
    with pytest.raises(CheckpointError, match=message):
        trainer.load_state_dict(state)
    assert bits(trainer) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"random": {"seed": 0, "offset": 0}}, "random numbers"),
        ({"batch": BATCHES + 1}, "contradicts itself"),
        ({"epoch": 2}, "contradicts itself"),
        (
            {"schedule": {"kind": "CosineAnnealingLR", "last_step": -1}},
            "last_step in the saved schedule must be an integer 0 or more, not -1",
        ),
        ({"schedule": None}, "schedule: None there, 'CosineAnnealingLR' here"),
        ({"network": {}}, "missing there"),
    ],
)
def test_a_state_that_is_wrong_in_itself_is_refused_and_nothing_is_changed(tmp_path, change, message):
    state = state_in_the_middle(tmp_path)
    trainer = make(tmp_path)
    before = bits(trainer)
    with pytest.raises(CheckpointError, match=message):
        trainer.load_state_dict(replace(state, **change))
    assert bits(trainer) == before
