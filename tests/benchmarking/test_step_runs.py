"""Contestants are validated against float64 before they are timed, and timed in turns."""

import numpy as np
import pytest

from minialex.benchmarking import contestants
from minialex.benchmarking.contestants import TORCH_MODES, Contestant, choose_peers
from minialex.benchmarking.step_runs import run_steps
from minialex.benchmarking.tasks import Task
from minialex.benchmarking.timing import by_clock
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


def run(fakes, training=True, **options):
    """What `run_steps` says of contestants, given as name: (seconds, results) or an exception."""
    clock = [0.0]

    def make(name, task, threads):
        if isinstance(fakes[name], Exception):
            raise fakes[name]
        return Fake(clock, *fakes[name])

    names = [name for name in fakes if name != "minialex"]
    found = run_steps(
        Task("alexnet_mnist28_bn", 4, training), names, 1, 7, make=make, true_results=lambda _: TRUTH,
        measure=by_clock(lambda: clock[0]), sleep=lambda _: None, **options,
    )  # fmt: skip
    return {each.contestant: each for each in found}


def changed(index, factor):
    return [each * factor if i == index else each for i, each in enumerate(TRUTH)]


def test_times_and_ratios():
    found = run({"minialex": (0.5, TRUTH), "torch": (2.0, TRUTH)})
    assert found["torch"].timing.samples == (2.0,) * 7
    row = found["torch"].to_dict(batch=4, operations=10**9, ours=0.5)
    assert (row["images_per_second"], row["gflops"], row["times_ours"]) == (2.0, 0.5, 4.0)
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
def test_a_wrong_contestant_is_not_timed(results):
    found = run({"minialex": (1.0, TRUTH), "torch": (1.0, results)})
    assert found["torch"].status == "wrong"
    assert found["torch"].reason
    assert found["torch"].timing is None
    assert found["minialex"].status == "timed"


def test_ours_can_be_wrong_too():
    found = run({"minialex": (1.0, changed(1, 2.0)), "torch": (1.0, TRUTH)})
    assert (found["minialex"].status, found["torch"].status) == ("wrong", "timed")


def test_inference_is_held_to_less():
    assert run({"minialex": (1.0, changed(2, 1.001))}, training=False)["minialex"].status == "wrong"
    assert run({"minialex": (1.0, changed(2, 1.001))})["minialex"].status == "timed"


def test_a_peer_that_fails_is_absent_with_its_reason():
    found = run({"minialex": (1.0, TRUTH), "torch_compile": RuntimeError("\nno C++ compiler\nat line 3")})
    assert found["torch_compile"].status == "absent"
    assert found["torch_compile"].reason == "RuntimeError: no C++ compiler"


def test_a_failure_of_ours_is_a_bug():
    with pytest.raises(RuntimeError):
        run({"minialex": RuntimeError("x")})


def test_known_absences_are_listed():
    found = run({"minialex": (1.0, TRUTH)}, absent={"openvino": "not installed"})
    assert (found["openvino"].status, found["openvino"].reason) == ("absent", "not installed")


def test_peers_that_are_not_installed(monkeypatch):
    monkeypatch.setattr(contestants.importlib.util, "find_spec", lambda name: None if name == "torch" else 1)
    names, absent = choose_peers(None, training=False)
    assert names == ["onnxruntime", "openvino"]
    assert set(absent) == set(TORCH_MODES)
    assert all("torch not installed" in reason for reason in absent.values())
    with pytest.raises(
        MiniAlexError, match="peer 'torch' cannot take part: torch not installed; pip install"
    ):
        choose_peers("torch", training=True)


def test_choosing_peers(monkeypatch):
    monkeypatch.setattr(contestants.importlib.util, "find_spec", lambda name: 1)
    assert choose_peers("none", True) == ([], {})
    assert choose_peers("torch", True) == (list(TORCH_MODES), {})
    assert choose_peers("openvino, torch_eager,torch_eager", False) == (["openvino", "torch"], {})
    with pytest.raises(MiniAlexError, match="'openvino' is unknown for training"):
        choose_peers("openvino", True)
    with pytest.raises(MiniAlexError, match="'jax' is unknown"):
        choose_peers("jax", False)


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
        [(("vgg", 1), "vgg"), (("alexnet", 0), "batch=0"), (("alexnet", 1, True, False, 0), "size=0")],
    )
    def test_refused(self, arguments, says):
        with pytest.raises(ModelError, match=says):
            Task(*arguments)

    def test_there_and_back(self):
        task = Task("alexnet_mnist28_bn", 2, size=40)
        assert Task(**task.to_dict()) == task
