"""The peers compute the same networks: built from our layers, with our weights."""

import numpy as np
import pytest

from minialex import nn
from minialex.benchmarking.agreement import error_of_all
from minialex.benchmarking.contestants import Absent
from minialex.benchmarking.ours import loss_and_gradients, make, truth
from minialex.benchmarking.step_runs import run_steps
from minialex.benchmarking.tasks import Task
from minialex.models import Architecture, Network
from minialex.models.architecture import (
    CLASSES,
    avg_pool,
    batch_norm,
    conv,
    dense,
    dropout,
    flatten,
    lrn,
    max_pool,
    relu,
)  # fmt: skip
from minialex.tensor import Tensor

SMALL = Architecture(
    name="small",
    source="this test",
    input_shape=(3, 21, 19),
    num_classes=5,
    # Unequal padding at a stride, of negative numbers too; groups; both pools; LRN with alpha as the
    # paper's and as Caffe's.
    layers=(
        conv(8, 5, stride=4, padding="same"), max_pool(3, 2, padding="same"), lrn(alpha=0.5),
        conv(6, 3, padding=1, groups=2, bias=False), batch_norm(eps=1e-3), relu(),
        lrn(alpha=0.5, alpha_mode="mean", k=1.0), avg_pool(2, 1),
        flatten(), dense(7), relu(), dropout(), dense(CLASSES),
    ),
    initialiser="default",
    trainable_parameters=0,
    differs="",
)  # fmt: skip


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
    torch = pytest.importorskip("torch", reason="the peer is not installed")
    from minialex.benchmarking.torch_peer import torch_network

    peer = torch_network(network).double()
    network.astype(np.float64)
    peer[-2].p = 0.0
    loss = torch.nn.functional.cross_entropy(peer(torch.from_numpy(IMAGES)), torch.from_numpy(LABELS))
    loss.backward()
    theirs = [loss.detach().numpy(), *(p.grad.numpy() for p in peer.parameters())]
    ours = loss_and_gradients(network, Tensor(IMAGES), LABELS)
    assert len(ours) == 1 + 9
    assert error_of_all(ours, theirs).norm < 1e-12
    # Dropout is on again, and no gradient is left.
    assert [layer.p for layer in network if isinstance(layer, nn.Dropout)] == [0.5]
    assert all(p.grad is None for p in network.parameters())


def test_torch_has_the_same_logits(network):
    torch = pytest.importorskip("torch", reason="the peer is not installed")
    from minialex.benchmarking.torch_peer import torch_network

    peer = torch_network(network).double().eval()
    ours = network.astype(np.float64).eval()(Tensor(IMAGES)).numpy()
    with torch.no_grad():
        assert error_of_all([peer(torch.from_numpy(IMAGES)).numpy()], [ours]).norm < 1e-12


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_onnx_graph_gives_the_same_logits(network, runtime):
    onnx = pytest.importorskip("onnx", reason="ONNX is not installed")
    library = pytest.importorskip(runtime, reason="the peer is not installed")
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


def test_what_a_peer_lacks_is_said():
    task = Task("alexnet_mnist28_bn_rows", 1)
    for module, function, arguments in (
        ("torch_peer", "torch_network", ()), ("onnx_graph", "onnx_model", (1,)),
    ):  # fmt: skip
        pytest.importorskip(module.split("_")[0], reason="the peer is not installed")
        build = getattr(__import__(f"minialex.benchmarking.{module}", fromlist=[function]), function)
        with pytest.raises(Absent, match="bn1"):
            build(task.network(), *arguments)


@pytest.mark.parametrize("training", [True, False])
def test_ours_beside_the_peers(training):
    """The contestants as the command makes them, on a small network that is real."""
    pytest.importorskip("torch", reason="the peer is not installed")
    peers = ["torch", "torch_channels_last"]
    if not training:
        for name in ("onnxruntime", "openvino"):
            pytest.importorskip(name, reason="the peer is not installed")
            peers.append(name)
    found = run_steps(Task("alexnet_cifar_thinner4", 2, training), peers, 1, 1, warmup=1, shortest=0.0)
    assert [(each.contestant, each.status, each.reason) for each in found] == [
        (name, "timed", "") for name in ("minialex", *peers)
    ]
    assert all(each.timing.median > 0 for each in found)


def test_wrong_weights_of_ours_are_found_out():
    """One layer off by a percent differs from the truth by far more than is allowed."""
    task = Task("alexnet_cifar_thinner4", 2, False)
    contestant = make(task, 1)
    contestant.network.unfreeze()
    contestant.network[0].weight.data[...] *= 1.01
    assert error_of_all(contestant.results(), truth(task)).norm > 1e-3
