"""PyTorch and torchvision as oracles: their files are read, and they read ours."""

import numpy as np
import pytest

import minialex as ma
from minialex.errors import CheckpointError
from minialex.interchange import load_weights, read_torch_file, save_weights
from minialex.models import create_model

torch = pytest.importorskip("torch", reason="the peer that is compared with; install the CPU build of torch")

pytestmark = pytest.mark.full

NETWORKS = {"alexnet_torchvision": "alexnet", "squeezenet1_1": "squeezenet1_1", "resnet18": "resnet18"}
LEGACY = [False, True]


@pytest.mark.parametrize("legacy", LEGACY)
@pytest.mark.parametrize("ours", NETWORKS)
def test_networks_of_torchvision_are_loaded_and_give_the_same(tmp_path, torchvision, ours, legacy):
    torch.manual_seed(3)
    theirs = getattr(torchvision.models, NETWORKS[ours])(weights=None, num_classes=7).eval()
    path = tmp_path / "net.pth"
    torch.save(theirs.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    mine = create_model(ours, num_classes=7).eval()
    loaded = load_weights(path, mine)
    assert len(loaded.tensors) == sum(
        not name.endswith("num_batches_tracked") for name in theirs.state_dict()
    )
    x = np.random.default_rng(4).standard_normal((2, 3, 224, 224)).astype(np.float32)
    with torch.no_grad(), ma.no_grad():
        expected, actual = theirs(torch.from_numpy(x)).numpy(), mine(ma.Tensor(x)).numpy()
    assert np.linalg.norm(actual - expected) <= 1e-5 * np.linalg.norm(expected)

    save_weights(tmp_path / "back.pth", mine)
    theirs.load_state_dict(torch.load(tmp_path / "back.pth", weights_only=True), strict=True)
    with torch.no_grad():
        again = theirs(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize("legacy", LEGACY)
def test_a_checkpoint_in_the_middle_of_training(tmp_path, legacy):
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.randn(5, 3)).square().sum().backward()
    optimizer.step()
    checkpoint = {
        "epoch": 3,
        "best": float("inf"),
        "state_dict": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": {"milestones": [1, 2], "base": (0.1, None)},
    }
    torch.save(checkpoint, tmp_path / "last.pth", _use_new_zipfile_serialization=not legacy)
    found = read_torch_file(tmp_path / "last.pth")
    assert found["epoch"] == 3
    assert found["best"] == float("inf")
    assert found["scheduler"] == checkpoint["scheduler"]
    first = optimizer.state_dict()["state"][0]["exp_avg"].numpy()
    np.testing.assert_array_equal(found["optimizer"]["state"][0]["exp_avg"], first)
    mine = ma.nn.Sequential(ma.nn.Linear(3, 4), ma.nn.BatchNorm1d(4), ma.nn.Linear(4, 2))
    loaded = load_weights(tmp_path / "last.pth", mine)
    assert loaded.key == "state_dict"
    for name, value in mine.state_dict().items():
        np.testing.assert_array_equal(np.array(value), network.state_dict()[name].numpy())


@pytest.mark.parametrize("legacy", LEGACY)
def test_a_whole_module_is_refused_with_what_to_do(tmp_path, legacy):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "net.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"names 'torch.nn.modules.linear.Linear'.*state_dict\(\)"):
        read_torch_file(tmp_path / "net.pth")


@pytest.mark.parametrize("legacy", LEGACY)
def test_views_types_and_parameters(tmp_path, legacy):
    base = torch.arange(24.0)
    values = {
        "view": base[3:15].view(3, 4).t(),
        "same": base,
        "expanded": torch.ones(1).expand(1, 1),
        "parameter": torch.nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64)),
        "brain": torch.tensor([1.0, -0.5, 3e38]).bfloat16(),
        "flags": torch.tensor([True, False]),
        "small": torch.tensor([-3, 4], dtype=torch.int8),
        "empty": torch.empty(0, 3),
        "shape": base.view(4, 6).shape,
        "type": torch.float16,
        "device": torch.device("cpu"),
    }
    torch.save(values, tmp_path / "x.pt", _use_new_zipfile_serialization=not legacy)
    found = read_torch_file(tmp_path / "x.pt")
    for name, value in values.items():
        if isinstance(value, torch.Tensor):
            expected = value.detach().float() if value.dtype == torch.bfloat16 else value.detach()
            np.testing.assert_array_equal(found[name], expected.numpy(), strict=True)
    assert (found["type"], found["device"], found["shape"]) == ("float16", "cpu", (4, 6))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_pytorch_reads_what_is_saved(tmp_path, suffix):
    network = create_model("lenet5")
    save_weights(tmp_path / f"net{suffix}", network)
    if suffix == ".pth":
        found = torch.load(tmp_path / "net.pth", weights_only=True)
    else:
        found = pytest.importorskip("safetensors.torch").load_file(tmp_path / "net.safetensors")
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(found[name].numpy(), np.array(value), strict=True)
