"""The baselines compute the same networks: built from our layers, with our weights."""

import numpy as np
import pytest

from minialex import nn
from minialex.benchmarking import ours
from minialex.benchmarking.agreement import error_of_all
from minialex.benchmarking.baselines import Baselines
from minialex.benchmarking.contestant import Absent
from minialex.benchmarking.ours import loss_and_gradients, make, truth
from minialex.benchmarking.step_runs import run_steps
from minialex.benchmarking.tasks import Task
from minialex.benchmarking.timing import Turns
from minialex.models import Architecture, Network, architecture
from minialex.nn.utils import fuse_for_inference
from minialex.tensor import Tensor

SMALL = Architecture(
    name="small",
    source="this test",
    input_shape=(3, 21, 19),
    num_classes=5,
    # Unequal padding at a stride, of negative numbers too; groups; both pools; LRN with alpha as the
    # paper's and as Caffe's.
    layers=(
        architecture.conv(8, 5, stride=4, padding="same"),
        architecture.max_pool(3, 2, padding="same"),
        architecture.lrn(alpha=0.5),
        architecture.conv(6, 3, padding=1, groups=2, bias=False),
        architecture.batch_norm(eps=1e-3),
        architecture.relu(),
        architecture.lrn(alpha=0.5, alpha_mode="mean", k=1.0),
        architecture.avg_pool(2, 1),
        architecture.flatten(),
        architecture.dense(7),
        architecture.relu(),
        architecture.dropout(),
        architecture.dense(architecture.CLASSES),
    ),
    initialiser="default",
    trainable_parameters=0,
    differs="",
)


@pytest.fixture
def network() -> Network:
    """The small network, with weights, biases and running statistics that all count."""
    built = SMALL.build()
    generator = np.random.default_rng(0)
    for parameter in built.parameters():
        parameter.data[...] = generator.normal(0, 0.5, parameter.shape)
    for array in built.buffers():
        array[...] = generator.uniform(0.5, 1.5, array.shape)
    return built


IMAGES = np.random.default_rng(1).standard_normal((4, 3, 21, 19))
LABELS = np.array([0, 3, 1, 4])


def test_torch_has_the_same_gradients(network):
    torch = pytest.importorskip("torch", reason="the baseline is not installed")
    from minialex.benchmarking.torch_network import torch_network

    built = torch_network(network).double()
    network.astype(np.float64)
    for layer in built.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    loss = torch.nn.functional.cross_entropy(built(torch.from_numpy(IMAGES)), torch.from_numpy(LABELS))
    loss.backward()
    theirs = [loss.detach().numpy(), *(p.grad.numpy() for p in built.parameters())]
    ours = loss_and_gradients(network, Tensor(IMAGES), LABELS)
    assert len(ours) == 1 + 9
    assert error_of_all(ours, theirs).norm < 1e-12
    # Dropout is on again, and no gradient is left.
    assert [layer.p for layer in network if isinstance(layer, nn.Dropout)] == [0.5]
    assert all(p.grad is None for p in network.parameters())


def test_torch_has_the_same_logits(network):
    torch = pytest.importorskip("torch", reason="the baseline is not installed")
    from minialex.benchmarking.torch_network import torch_network

    built = torch_network(network).double().eval()
    ours = network.astype(np.float64).eval()(Tensor(IMAGES)).numpy()
    with torch.no_grad():
        assert error_of_all([built(torch.from_numpy(IMAGES)).numpy()], [ours]).norm < 1e-12


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_onnx_graph_gives_the_same_logits(network, runtime):
    onnx = pytest.importorskip("onnx", reason="ONNX is not installed")
    library = pytest.importorskip(runtime, reason="the baseline is not installed")
    from minialex.benchmarking.onnx_graph import onnx_model

    model = onnx_model(network, len(IMAGES))
    onnx.checker.check_model(model, full_check=True)
    images = IMAGES.astype(np.float32)
    if runtime == "onnxruntime":
        session = library.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        logits = session.run(None, {"images": images})[0]
    else:
        core = library.Core()
        # On processors that have it, bfloat16 would be the default.
        precision = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", precision)
        logits = compiled([images])[0]
    expected = network.astype(np.float64).eval()(Tensor(IMAGES)).numpy()
    assert error_of_all([logits], [expected]).norm < 1e-5


def test_what_a_baseline_lacks_is_said():
    task = Task("alexnet_mnist28_bn_rows", 1)
    pytest.importorskip("torch", reason="the baseline is not installed")
    pytest.importorskip("onnx", reason="ONNX is not installed")
    from minialex.benchmarking.onnx_graph import onnx_model
    from minialex.benchmarking.torch_network import torch_network

    with pytest.raises(Absent, match="bn1"):
        torch_network(task.network())
    with pytest.raises(Absent, match="bn1"):
        onnx_model(task.network(), 1)


@pytest.mark.parametrize("training", [True, False])
def test_ours_beside_the_baselines(training):
    """The contestants as the command makes them, on a small network that is real."""
    pytest.importorskip("torch", reason="the baseline is not installed")
    names = ["torch", "torch_channels_last"]
    if not training:
        for name in ("onnxruntime", "openvino"):
            pytest.importorskip(name, reason="the baseline is not installed")
            names.append(name)
    turns = Turns(1, warmup=1, shortest=0.0)
    found = run_steps(Task("alexnet_cifar_thinner4", 2, training), Baselines(names), 1, turns)
    assert [(each.contestant, each.status, each.reason) for each in found] == [
        (name, "timed", "") for name in ("minialex", *names)
    ]
    assert all(each.timing.median > 0 for each in found)


def test_wrong_weights_of_ours_are_found_out(monkeypatch):
    """One layer off by a percent differs from the truth by far more than is allowed."""

    def fuse_wrongly(*arguments):
        network = fuse_for_inference(*arguments)
        network[0].weight.data[...] *= 1.01
        return network

    monkeypatch.setattr(ours, "fuse_for_inference", fuse_wrongly)
    task = Task("alexnet_cifar_thinner4", 2, False)
    assert error_of_all(make(task, 1).results(), truth(task)).norm > 1e-3
