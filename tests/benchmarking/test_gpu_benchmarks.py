"""What a benchmark does on a GPU, with a stand-in for the few functions of CuPy that it calls."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from minialex.benchmarking import baselines, cudnn_baseline, gpu, step_runs
from minialex.benchmarking.agreement import error_of_all
from minialex.benchmarking.baselines import (
    TORCH_MODES,
    Baselines,
    baselines_of,
    choose_baselines,
    make_contestant,
)
from minialex.benchmarking.convnet_runs import convnet_task, run_convnet
from minialex.benchmarking.kernel_runs import choose_kernels, run_workload
from minialex.benchmarking.report import where
from minialex.benchmarking.tables import limits_line
from minialex.benchmarking.tasks import Task
from minialex.benchmarking.timing import Turns, by_clock, interleave
from minialex.errors import MiniAlexError
from minialex.kernels import Kernel, find_kernel
from minialex.kernels.contract.examples import Example, example_calls, normal
from minialex.models import summarise

ONE = Turns(1, shortest=0.0, sleep=lambda _: None)


class StandIn:
    """A GPU whose work takes time of its own: calls return at once, and the events see when it is done."""

    def __init__(self):
        self.now = 0.0  # milliseconds on the GPU
        stand_in = self

        class Event:
            def record(self, stream):
                assert stream is stand_in.null
                self.at = stand_in.now

            def synchronize(self):
                self.reached = True

        def elapsed(start, end):
            assert end.reached
            return end.at - start.at

        def copyto(target, source):
            assert target.nbytes == source.nbytes == 2**28
            stand_in.now += 0.5

        self.null = SimpleNamespace(synchronize=lambda: None)
        device = SimpleNamespace(
            id=0, compute_capability="90", attributes={"MultiProcessorCount": 132, "ClockRate": 1_980_000}
        )
        self.module = SimpleNamespace(
            float32=np.float32,
            zeros=lambda length, dtype: SimpleNamespace(nbytes=length * np.dtype(dtype).itemsize),
            copyto=copyto,
            cuda=SimpleNamespace(
                Event=Event,
                Stream=SimpleNamespace(null=self.null),
                Device=lambda: device,
                get_elapsed_time=elapsed,
                runtime=SimpleNamespace(getDeviceProperties=lambda i: {"name": b"NVIDIA H100"}),
            ),
        )


@pytest.fixture
def stand_in(monkeypatch):
    made = StandIn()
    monkeypatch.setitem(sys.modules, "cupy", made.module)
    return made


def test_time_is_that_of_the_events(stand_in):
    calls = []

    def run():
        calls.append(1)
        stand_in.now += 3.0

    turns = Turns(2, warmup=1, shortest=0.01, measure=gpu.by_events(), sleep=lambda _: None)
    found = interleave({"a": run}, turns)
    assert found["a"].samples == (pytest.approx(0.003),) * 2
    # Ten milliseconds are four calls of three; one to warm up, and one before each of the two samples.
    assert found["a"].calls == 4
    assert len(calls) == 1 + 2 * (1 + 4)


def test_limits_by_lanes_and_clock(stand_in):
    limits = gpu.measure_limits()
    assert limits.peak["float32"] == pytest.approx(2 * 128 * 132 * 1.98)
    assert limits.peak["float64"] == pytest.approx(limits.peak["float32"] / 2)
    assert limits.bandwidth == pytest.approx(2 * 2**28 / 0.5e-3 / 1e9)
    assert "limits of NVIDIA H100" in limits_line(limits.to_dict())
    assert where({"settings": {"device": "cuda"}, "limits": limits.to_dict(), "threads": 2}) == "NVIDIA H100"


def test_the_fixed_computation_is_waited_for(stand_in):
    waited = []
    stand_in.null.synchronize = lambda: waited.append(stand_in.now)
    gpu.fixed_computation()()
    assert waited == [0.5]


def test_where():
    assert where({"settings": {}, "threads": 1}) == "1 thread"
    host = {"settings": {"device": "cuda-host"}, "threads": 2}
    assert where(host) == "CUDA kernels on the CPU, 2 threads, no GPU"


class TestBaselines:
    def test_on_each_device(self):
        assert baselines_of(False, "cuda") == baselines_of(True, "cuda") == list(TORCH_MODES)
        assert baselines_of(True, "cuda-host") == []
        assert choose_baselines(None, True, "cuda-host") == Baselines([])
        with pytest.raises(
            MiniAlexError, match="'torch' is unknown for training on cuda-host; there are: none"
        ):
            choose_baselines("torch", True, "cuda-host")

    def test_pytorch_without_a_gpu(self, monkeypatch):
        torch = SimpleNamespace(__version__="2.13+cpu", cuda=SimpleNamespace(is_available=lambda: False))
        monkeypatch.setitem(sys.modules, "torch", torch)
        monkeypatch.setattr(baselines.importlib.util, "find_spec", lambda name: 1)
        found = choose_baselines(None, True, "cuda")
        assert found.names == []
        assert set(found.absent.values()) == {"PyTorch 2.13+cpu cannot use a GPU"}
        assert cudnn_baseline.why_not_here().endswith("cannot use a GPU, and so cannot call cuDNN")
        torch.cuda.is_available = lambda: True
        assert choose_baselines(None, True, "cuda") == Baselines(list(TORCH_MODES))
        assert cudnn_baseline.why_not_here() is None

    @pytest.mark.parametrize("direction", ["forward", "input_grad", "weight_grad"])
    def test_the_convolutions_of_cudnn(self, direction):
        """On NumPy arrays, where PyTorch calls another library by the same functions."""
        pytest.importorskip("torch")
        operation = f"conv2d.{direction}"
        (theirs,) = cudnn_baseline.cudnn_kernels(operation)
        assert (theirs.device, theirs.algorithm) == ("cuda", "cudnn")
        on_cpu = Kernel(operation, "cpu", "cudnn", theirs.function)
        for workload in example_calls(operation, "awkward"):
            if workload.name in ("tiny", "prime lengths", "dilated"):
                (found,) = run_workload(workload, [on_cpu], "float64", ONE)
                assert (found.status, found.reason) == ("timed", ""), workload.name

    def test_cudnn_has_only_convolutions(self):
        assert cudnn_baseline.cudnn_kernels("relu.forward") == []


def test_kernels_of_another_device_are_timed():
    """Its arrays are made by that device, and its results compared as NumPy arrays."""
    workload = Example("relu.forward", (normal((3, 5, 7)),), name="small")
    kernels = choose_kernels("relu.forward", (), False, "cuda-host")
    assert {entry.device for entry in kernels} == {"cuda-host"}
    right = find_kernel("relu.forward", algo="plain").function
    there = [
        Kernel("relu.forward", "cuda-host", "right", right),
        Kernel("relu.forward", "cuda-host", "wrong", abs),
    ]
    found = run_workload(workload, there, "float32", ONE)
    assert [each.status for each in found] == ["timed", "wrong"]


class TestConvnet:
    def test_the_protocol(self):
        task = convnet_task(128, "cpu")
        architecture = task.architecture()
        assert task.images().shape == (128, 3, 224, 224)
        assert summarise(architecture.build(), 1).parameters == 61_100_840
        assert not {"norm", "drop"} & {layer.prefix for row in architecture.layers for layer in row.layers()}
        assert task.title == "alexnet_torchvision without dropout, batch 128"

    def test_forward_and_backward(self, monkeypatch):
        clock = [0.0]

        class Fake:
            def __init__(self, forward, both):
                self.seconds = forward, both

            def results(self):
                return [np.float32([1.0])]

            def forward(self):
                clock[0] += self.seconds[0]

            def forward_and_backward(self):
                clock[0] += self.seconds[1]

        seconds = {"minialex": (1.0, 4.0), "torch": (2.0, 5.0)}
        monkeypatch.setattr(step_runs, "make_contestant", lambda name, task, threads: Fake(*seconds[name]))
        monkeypatch.setattr(step_runs, "truth", lambda task: [np.ones(1)])
        turns = Turns(3, measure=by_clock(lambda: clock[0]), sleep=lambda _: None)
        others = Baselines(["torch"], {"torch_compile": "why"})
        ours, theirs, absent = run_convnet(convnet_task(2, "cpu"), others, 1, turns)
        assert absent == {"contestant": "torch_compile", "status": "absent", "reason": "why"}
        assert (ours["forward"]["median"], ours["backward_seconds"], ours["timing"]["median"]) == (1, 3, 4)
        assert (theirs["backward_seconds"], theirs["times_ours"]) == (3, 1.25)
        assert ours["images_per_second"] == 0.5

    def test_the_passes_of_real_contestants(self):
        """Both libraries go back from the logits to the parameters and the images, twice the same."""
        pytest.importorskip("torch")
        task = Task("alexnet_cifar_thinner4", 2, without_dropout=True)
        gradients = {}
        for name in ("minialex", "torch"):
            contestant = make_contestant(name, task, 1)
            assert tuple(contestant.forward().shape) == (2, 10)
            for _ in range(2):
                contestant.forward_and_backward()
            found = (contestant.images, *contestant.network.parameters())
            gradients[name] = [np.asarray(each.grad.numpy()) for each in found]
        assert gradients["minialex"][0].shape == (2, 3, 32, 32)
        assert np.abs(gradients["minialex"][0]).max() > 0
        assert error_of_all(gradients["minialex"], gradients["torch"]).norm < 1e-4
