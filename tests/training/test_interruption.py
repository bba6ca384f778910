"""Ctrl-C at every point of a training: what is saved goes on to the bits of an uninterrupted one."""

import signal
import threading

import pytest
from small_training import BATCHES, EPOCHS, bits, files, make, resume

from minialex import functional as F
from minialex.errors import CheckpointError
from minialex.training.callbacks import Callback
from minialex.training.interruption import uninterrupted
from minialex.training.state import load_latest_state


@pytest.fixture(autouse=True)
def _interrupts():
    """Let SIGINT interrupt, which shells have programs in the background ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Points(Callback):
    """Sends SIGINT to the process at one of the points that a training passes."""

    def __init__(self, kind=None, number=0, times=1):
        self.kind, self.left, self.times = kind, number, times
        self.passed = []

    def at(self, kind):
        if kind == self.kind:
            self.left -= 1
            if self.left == 0:
                for _ in range(self.times):
                    signal.raise_signal(signal.SIGINT)
                self.passed.append(kind)

    def loss(self, logits, targets):
        # After the forward pass, which has moved running statistics and random numbers.
        self.at("step")
        return F.cross_entropy(logits, targets)

    def after_step(self, step):
        self.at("update")

    def after_epoch(self, metrics, network, validation):
        self.at("epoch")

    def measure(self, evaluation):
        self.at("validation")
        return 0.5


def trainer_with(folder, points, **options):
    folder.mkdir(exist_ok=True)
    return make(
        folder,
        first=(points,),
        loss=points.loss,
        every_seconds=1e9,
        validation_metrics={"measured": points.measure},
        **options,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted training."""
    folder = tmp_path_factory.mktemp("whole")
    trainer = trainer_with(folder, Points())
    trainer.fit(EPOCHS)
    return bits(trainer), files(folder)


@pytest.mark.parametrize(
    ("kind", "number", "position"),
    [
        ("step", 1, (0, 0)),
        ("step", 4, (0, 3)),
        ("step", BATCHES + 1, (1, 0)),
        ("update", 1, (0, 1)),
        ("update", BATCHES, (0, BATCHES)),
        ("validation", 1, (0, BATCHES)),
        ("validation", 2, (1, BATCHES)),
        ("epoch", 1, (1, 0)),
        ("epoch", EPOCHS, (EPOCHS, 0)),
    ],
)
def test_an_interrupted_training_goes_on_to_the_bit(tmp_path, whole, kind, number, position):
    folder, points = tmp_path / "run", Points(kind, number)
    trainer = trainer_with(folder, points)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(EPOCHS)
    # What must be whole was done to its end.
    assert points.passed == ([kind] if kind in ("update", "epoch") else [])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert (trainer.epoch, trainer.batch) == position
    state, note = load_latest_state(folder)
    assert note is None
    assert (state.epoch, state.batch) == position

    resumed = Points()
    options = {"loss": resumed.loss, "validation_metrics": {"measured": resumed.measure}}
    again, _ = resume(folder, first=(resumed,), every_seconds=1e9, **options)
    again.fit(EPOCHS)
    assert bits(again) == whole[0]
    assert files(folder) == whole[1]


@pytest.mark.parametrize(("kind", "number"), [("step", 4), ("validation", 1)])
def test_the_trainer_itself_goes_on_to_the_bit(tmp_path, whole, kind, number):
    """As in a notebook, where one interrupts the cell and runs it again."""
    folder = tmp_path / "run"
    trainer = trainer_with(folder, Points(kind, number))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(EPOCHS)
    trainer.fit(EPOCHS)
    assert bits(trainer) == whole[0]
    assert files(folder) == whole[1]


def test_batches_that_make_no_step_yet_are_taken_again(tmp_path):
    options = {"accumulate": 3, "optimizer": "momentum"}
    expected = trainer_with(tmp_path / "whole", Points(), **options)
    expected.fit(EPOCHS)
    # In the second batch of the second step.
    with pytest.raises(KeyboardInterrupt):
        trainer_with(tmp_path / "run", Points("step", 5), **options).fit(EPOCHS)
    points = Points()
    validation = {"measured": points.measure}
    again, _ = resume(
        tmp_path / "run",
        first=(points,),
        loss=points.loss,
        every_seconds=1e9,
        validation_metrics=validation,
        **options,
    )
    assert (again.epoch, again.batch) == (0, 3)
    again.fit(EPOCHS)
    assert bits(again) == bits(expected)


def test_a_second_interruption_does_not_wait_and_saves_nothing_half(tmp_path):
    folder, points = tmp_path / "run", Points("update", 2, times=2)
    with pytest.raises(KeyboardInterrupt):
        trainer_with(folder, points).fit(EPOCHS)
    assert points.passed == []
    with pytest.raises(CheckpointError, match=r"no state\.safetensors"):
        load_latest_state(folder)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_interruption_while_the_first_is_saved_leaves_the_state_before(tmp_path, monkeypatch):
    import safetensors.numpy

    folder = tmp_path / "run"
    trainer = trainer_with(folder, Points("step", BATCHES + 3))
    save = safetensors.numpy.save_file

    def interrupted(arrays, path, metadata):
        if (trainer.epoch, trainer.batch) == (1, 2):
            signal.raise_signal(signal.SIGINT)
        save(arrays, path, metadata)

    monkeypatch.setattr(safetensors.numpy, "save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(EPOCHS)
    state, _ = load_latest_state(folder)
    assert (state.epoch, state.batch) == (1, 0)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_state_that_is_saved_already_is_not_written_again(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        trainer_with(folder, Points("epoch", 1)).fit(EPOCHS)
    assert not (folder / "state-previous.safetensors").exists()


def test_a_training_in_another_thread_is_none_of_the_signals_business(tmp_path):
    """Signals are handled in the main thread alone."""
    trainer = trainer_with(tmp_path / "run", Points())
    thread = threading.Thread(target=trainer.fit, args=(1,))
    thread.start()
    thread.join()
    assert trainer.epoch == 1


def test_what_waits_comes_after_the_block():
    order = []

    def work():
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            order.append("work")
        order.append("never")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert order == ["work"]


def test_a_signal_that_is_ignored_or_left_to_the_system_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with uninterrupted():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_error_in_the_block_is_not_hidden_by_a_signal_that_waits():
    def fail():
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        fail()
