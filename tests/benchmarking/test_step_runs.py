"""Contestants are validated against float64 before they are timed, and timed in turns."""

import numpy as np
import pytest

from minialex.benchmarking import baselines, step_runs
from minialex.benchmarking.baselines import TORCH_MODES, Baselines, choose_baselines
from minialex.benchmarking.contestant import Contestant
from minialex.benchmarking.step_runs import run_steps
from minialex.benchmarking.tasks import Task
from minialex.benchmarking.timing import Turns, by_clock
from minialex.errors import MiniAlexError, ModelError

TRUTH = [np.array(2.0), np.array([3.0, -4.0]), np.array([[0.5, 0.25]])]


class Fake(Contestant):
    """Gives some results, and moves a clock."""

    def __init__(self, clock, seconds, results):
        self.clock, self.seconds, self._results = clock, seconds, results

    def results(self):
        return [np.asarray(each, np.float32) for each in self._results]

    def run(self):
        self.clock[0] += self.seconds


@pytest.fixture
def run(monkeypatch):
    """What `run_steps` says of contestants, given as name: (seconds, results) or an exception."""

    def run(fakes, training=True, absent=()):
        clock = [0.0]

        def make(name, task, threads):
            if isinstance(fakes[name], Exception):
                raise fakes[name]
            return Fake(clock, *fakes[name])

        monkeypatch.setattr(step_runs, "make_contestant", make)
        monkeypatch.setattr(step_runs, "truth", lambda task: TRUTH)
        others = Baselines([name for name in fakes if name != "minialex"], dict(absent))
        turns = Turns(7, measure=by_clock(lambda: clock[0]), sleep=lambda _: None)
        found = run_steps(Task("alexnet_mnist28_bn", 4, training), others, 1, turns)
        return {each.contestant: each for each in found}

    return run


def changed(index, factor):
    return [each * factor if i == index else each for i, each in enumerate(TRUTH)]


def test_times_and_ratios(run):
    found = run({"minialex": (0.5, TRUTH), "torch": (2.0, TRUTH)})
    assert found["torch"].timing.samples == (2.0,) * 7
    task = Task("alexnet_mnist28_bn", 4)
    row = found["torch"].to_dict(task, ours=0.5)
    assert (row["images_per_second"], row["times_ours"]) == (2.0, 4.0)
    assert row["gflops"] == task.operations / 2e9
    assert found["minialex"].error.norm == 0


@pytest.mark.parametrize(
    "results",
    [
        changed(0, 1.001),  # the loss
        changed(2, 1.2),  # a small gradient beside a large one
        changed(1, np.nan),
        TRUTH[:2],
        [TRUTH[0], TRUTH[1][None], TRUTH[2]],
    ],
)
def test_a_wrong_contestant_is_not_timed(run, results):
    found = run({"minialex": (1.0, TRUTH), "torch": (1.0, results)})
    assert found["torch"].status == "wrong"
    assert found["torch"].reason
    assert found["torch"].timing is None
    assert found["minialex"].status == "timed"


def test_ours_can_be_wrong_too(run):
    found = run({"minialex": (1.0, changed(1, 2.0)), "torch": (1.0, TRUTH)})
    assert (found["minialex"].status, found["torch"].status) == ("wrong", "timed")


def test_inference_is_held_to_less(run):
    assert run({"minialex": (1.0, changed(2, 1.001))}, training=False)["minialex"].status == "wrong"
    assert run({"minialex": (1.0, changed(2, 1.001))})["minialex"].status == "timed"


def test_a_baseline_that_fails_is_absent_with_its_reason(run):
    found = run({"minialex": (1.0, TRUTH), "torch_compile": RuntimeError("\nno C++ compiler\nat line 3")})
    assert found["torch_compile"].status == "absent"
    assert found["torch_compile"].reason == "RuntimeError: no C++ compiler"


def test_a_failure_of_ours_is_a_bug(run):
    with pytest.raises(RuntimeError):
        run({"minialex": RuntimeError("x")})


def test_known_absences_are_listed(run):
    found = run({"minialex": (1.0, TRUTH)}, absent={"openvino": "not installed"})
    assert (found["openvino"].status, found["openvino"].reason) == ("absent", "not installed")


def test_baselines_that_are_not_installed(monkeypatch):
    monkeypatch.setattr(baselines.importlib.util, "find_spec", lambda name: None if name == "torch" else 1)
    found = choose_baselines(None, training=False)
    assert found.names == ["onnxruntime", "openvino"]
    assert set(found.absent) == set(TORCH_MODES)
    assert all("torch not installed" in reason for reason in found.absent.values())
    with pytest.raises(
        MiniAlexError, match="baseline 'torch' cannot take part: torch not installed; pip install"
    ):
        choose_baselines("torch", training=True)


def test_choosing_baselines(monkeypatch):
    monkeypatch.setattr(baselines.importlib.util, "find_spec", lambda name: 1)
    assert choose_baselines("none", True) == Baselines([])
    assert choose_baselines("torch", True) == Baselines(list(TORCH_MODES))
    chosen = choose_baselines("openvino, torch_eager,torch_eager", False)
    assert chosen == Baselines(["openvino", "torch"])
    with pytest.raises(MiniAlexError, match="'openvino' is unknown for training"):
        choose_baselines("openvino", True)
    with pytest.raises(MiniAlexError, match="'jax' is unknown"):
        choose_baselines("jax", False)


class TestTask:
    def test_the_same_weights_at_every_call(self):
        task = Task("alexnet_cifar_thinner4", 2)
        first, again = (task.network().state_dict() for _ in range(2))
        assert all(np.array_equal(first[name], again[name]) for name in first)
        assert np.abs(first["conv1.weight"]).max() > 0

    def test_without_lrn(self):
        layers = Task("alexnet_one_tower", 1, without_lrn=True).architecture().names()
        assert "norm1" not in layers
        assert layers[:3] == ["conv1", "relu1", "pool1"]
        with pytest.raises(ModelError, match="no local response normalisation"):
            Task("alexnet_torchvision", 1, without_lrn=True)

    def test_another_size(self):
        task = Task("alexnet_mnist28_bn", 2, size=40)
        assert task.images().shape == (2, 1, 40, 40)
        assert task.architecture().input_shape == (1, 40, 40)

    def test_operations(self):
        """The products of the paper's network, three passes less the gradient of the images."""
        assert Task("alexnet", 2, False).operations == 2 * 2 * 724_406_816
        assert Task("alexnet", 2).operations == 2 * (6 * 724_406_816 - 2 * 105_415_200)

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (("vgg", 1), "vgg"),
            (("alexnet", 0), "batch must be an integer 1 or more, not 0"),
            (("alexnet", 1, True, False, 0), "size must be an integer 1 or more, not 0"),
        ],
    )
    def test_refused(self, arguments, says):
        with pytest.raises(ModelError, match=says):
            Task(*arguments)

    def test_there_and_back(self):
        task = Task("alexnet_mnist28_bn", 2, size=40)
        assert Task(**task.to_dict()) == task
