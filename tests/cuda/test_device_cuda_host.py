"""The device ``cuda-host``: the engine on the CUDA kernels, against the engine on the cpu."""

import numpy as np
import pytest

import minialex as ma
from minialex import functional as F
from minialex import kernels, nn, optim
from minialex.errors import DeviceError

pytestmark = pytest.mark.needs_gxx


def test_a_tensor_moves_by_copy():
    t = ma.tensor([1.0, 2.0], requires_grad=True)
    there = t.to("cuda-host")
    assert (there.device, there.requires_grad) == ("cuda-host", True)
    assert there.to("cuda-host") is there
    t.data[0] = 7
    assert there.numpy().tolist() == [1.0, 2.0]
    assert "device='cuda-host'" in repr(there)


def test_tensors_of_two_devices_do_not_mix():
    t = ma.tensor([1.0])
    with pytest.raises(DeviceError, match=r"'cuda-host' and 'cpu' meet; move one with \.to\(device\)"):
        t * t.to("cuda-host")


def test_a_result_stays_on_the_device_and_its_kernels_ran():
    x = ma.tensor([[-1.0, 2.0]], device="cuda-host", requires_grad=True)
    y = F.relu(x)
    y.backward(ma.tensor([[3.0, 4.0]], device="cuda-host"))
    assert (y.device, x.grad.device) == ("cuda-host", "cuda-host")
    with kernels.use(relu="plain"), pytest.raises(ma.errors.KernelError, match="on 'cuda-host'"):
        F.relu(x)


def test_a_network_that_was_moved_is_trained_in_place():
    network = nn.Linear(2, 1)
    network.weight.data[...] = 1
    network.bias.data[...] = 0
    network.to("cuda-host")
    optimizer = optim.SGD(network.parameters(), lr=0.5)
    network(ma.tensor([[1.0, 2.0]], device="cuda-host")).sum().backward()
    optimizer.step()
    assert network.weight.numpy().tolist() == [[0.5, 0.0]]
    frozen = network.freeze()
    with pytest.raises(ma.errors.MiniAlexError, match="frozen"):
        optimizer.step()
    assert frozen(ma.tensor([[1.0, 2.0]], device="cuda-host")).numpy().tolist() == [[0.0]]


@pytest.mark.full
def test_alexnet_agrees_with_the_cpu_forward_and_backward():
    x = np.random.default_rng(0).standard_normal((1, 3, 227, 227)).astype(np.float32)

    def run(device):
        ma.manual_seed(0)
        network = ma.models.create_model("alexnet")
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.data *= 3  # at first a network's logits are too small to tell images apart
        network.to(device)
        ma.manual_seed(1)  # of dropout
        logits = network(ma.Tensor(x, device=device))
        F.cross_entropy(logits, np.array([3])).backward()
        gradients = {name: parameter.grad.numpy() for name, parameter in network.named_parameters()}
        return {"logits": logits.numpy()} | gradients

    here, there = run("cpu"), run("cuda-host")
    for name, right in here.items():
        assert np.linalg.norm(there[name] - right) <= 1e-5 * np.linalg.norm(right), name
