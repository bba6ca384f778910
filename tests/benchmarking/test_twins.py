"""The family built in PyTorch and ONNX, with the same weights: thin copies, every kind of block."""

import numpy as np
import pytest

from minialex import nn
from minialex.benchmarking.agreement import error_of_all
from minialex.benchmarking.contestant import Absent
from minialex.benchmarking.ours import loss_and_gradients
from minialex.checking.kernels.thin_models import thin_network
from minialex.models import get_architecture, list_models
from minialex.models.auxiliary import WEIGHT
from minialex.tensor import Tensor

FAMILY = [name for name in list_models() if not name.startswith(("alexnet_", "caffenet"))]
pytestmark = pytest.mark.full


def thin(name):
    """A thin copy in float64 with random running statistics, images for it, and labels."""
    network = thin_network(get_architecture(name))
    generator = np.random.default_rng(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean[...] = generator.normal(0, 0.3, module.running_mean.shape)
            module.running_var[...] = generator.uniform(0.5, 2, module.running_var.shape)
    return network, generator.standard_normal((4, *network.input_shape)), np.array([0, 2, 1, 1])


@pytest.mark.parametrize("name", FAMILY)
def test_pytorch_has_the_same_loss_and_gradients(name):
    torch = pytest.importorskip("torch", reason="the baseline is not installed")
    from minialex.benchmarking.torch_network import torch_network

    network, images, labels = thin(name)
    built = torch_network(network)
    for layer in built.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    outputs = built(torch.from_numpy(images))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    losses = [torch.nn.functional.cross_entropy(each, torch.from_numpy(labels)) for each in outputs]
    loss = losses[0] + WEIGHT * sum(losses[1:])
    loss.backward()
    theirs = [loss.detach().numpy(), *(p.grad.numpy() for p in built.parameters())]
    ours = loss_and_gradients(network, Tensor(images), labels)
    assert [each.shape for each in ours] == [each.shape for each in theirs]
    # Together: the gradient of a bias before batch normalisation is 0, and has the rounding of others only.
    joined = [np.concatenate([each.ravel() for each in given]) for given in (ours, theirs)]
    assert np.linalg.norm(joined[0] - joined[1]) < 1e-9 * np.linalg.norm(joined[1])
    assert len(losses) == (3 if name == "googlenet" else 1)


@pytest.mark.parametrize("name", FAMILY)
def test_the_onnx_graph_gives_the_same_logits(name):
    onnx = pytest.importorskip("onnx", reason="ONNX is not installed")
    library = pytest.importorskip("onnxruntime", reason="the baseline is not installed")
    from minialex.benchmarking.onnx_graph import onnx_model

    network, images, _ = thin(name)
    if name.startswith("vgg"):
        # Its small images have fewer positions than the adaptive pool gives, for which ONNX has no operator.
        with pytest.raises(Absent, match="no operator like avgpool"):
            onnx_model(network, len(images))
        network.avgpool = nn.Identity()
        network.classifier[0] = nn.Linear(16, 128).double()
    model = onnx_model(network.float().eval(), len(images))
    onnx.checker.check_model(model, full_check=True)
    session = library.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    logits = session.run(None, {"images": images.astype(np.float32)})[0]
    expected = network.double()(Tensor(images)).numpy()
    assert error_of_all([logits], [expected]).norm < 1e-4


class OfItsOwn(nn.Module):
    """A forward that says nothing of itself."""

    input_shape = (1, 4, 4)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x):
        return self.conv(x).mean(dim=(2, 3))


def test_a_forward_of_ones_own_is_absent():
    pytest.importorskip("torch", reason="the baseline is not installed")
    pytest.importorskip("onnx", reason="ONNX is not installed")
    from minialex.benchmarking.onnx_graph import onnx_model
    from minialex.benchmarking.torch_network import torch_network

    with pytest.raises(Absent, match=r"OfItsOwn.* cannot be read for PyTorch"):
        torch_network(OfItsOwn())
    with pytest.raises(Absent, match=r"OfItsOwn.* cannot be read for ONNX"):
        onnx_model(OfItsOwn(), 1)
