"""Torchvision as an oracle: its networks' names, counts, outputs and gradients, in float64."""

import warnings

import numpy as np
import pytest

import minialex as ma
from minialex import nn
from minialex.models import create_model, get_architecture
from minialex.models.auxiliary import AuxiliaryOutputs

torch = pytest.importorskip("torch", reason="the peer that is compared with; install the CPU build of torch")

pytestmark = pytest.mark.full

# Our name: torchvision's, and the height and width of the images that are compared.
NETWORKS = {
    "alexnet_torchvision": ("alexnet", 79),
    "densenet121": ("densenet121", 64),
    "googlenet": ("googlenet", 70),
    "mobilenet_v2": ("mobilenet_v2", 64),
    "resnet18": ("resnet18", 64),
    "resnet34": ("resnet34", 50),
    "resnet50": ("resnet50", 64),
    "resnext50_32x4d": ("resnext50_32x4d", 50),
    "shufflenet_v2_x1_0": ("shufflenet_v2_x1_0", 64),
    "squeezenet1_0": ("squeezenet1_0", 64),
    "squeezenet1_1": ("squeezenet1_1", 70),
    "vgg11": ("vgg11", 64),
    "vgg11_bn": ("vgg11_bn", 64),
    "vgg16": ("vgg16", 64),
    "vgg16_bn": ("vgg16_bn", 64),
    "vgg19": ("vgg19", 64),
    "vgg19_bn": ("vgg19_bn", 64),
}
CLASSES = 7


@pytest.fixture
def theirs(torchvision):
    """Build a network of torchvision, with options and without its warnings."""

    def build(name, **options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torchvision.models.get_model(name, **options)

    return build


def options_of(name):
    """GoogLeNet has its auxiliary heads only if asked."""
    return (
        {"aux_logits": True, "transform_input": False, "init_weights": False} if name == "googlenet" else {}
    )


def without_dropout(*networks):
    """Set the dropout of networks to evaluation, which leaves batch normalisation in training."""
    for network in networks:
        for module in network.modules():
            if isinstance(module, nn.Dropout | torch.nn.Dropout):
                module.training = False


def filled(network, random):
    """Random weights and running statistics, of a size that keeps signals alive through any depth."""
    for name, tensor in network.state_dict().items():
        shape = tuple(tensor.shape)
        if name.endswith("num_batches_tracked"):
            continue
        if name.endswith("running_var"):
            values = random.uniform(0.5, 2, shape)
        elif len(shape) > 1:
            values = random.standard_normal(shape, np.float32) * np.sqrt(2 / np.prod(shape[1:]))
        elif name.endswith("weight"):
            values = random.uniform(0.5, 1.5, shape)
        else:
            values = random.standard_normal(shape) * 0.1
        tensor.copy_(torch.from_numpy(values))


def relative_error(found, expected):
    """By norm; NaN stays NaN, which is below nothing."""
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_load_by_name_and_outputs_and_gradients_agree(name, theirs):
    their_name, size = NETWORKS[name]
    random = np.random.default_rng(len(name))
    with torch.device("meta"):  # drawing weights that are not used takes long
        their_network = theirs(their_name, num_classes=CLASSES, **options_of(name)).double()
    filled(their_network.to_empty(device="cpu"), random)
    state = {key: value.numpy() for key, value in their_network.state_dict().items()}
    with np.errstate(invalid="ignore"):  # weights that are not drawn yet may be anything
        network = get_architecture(name).build(CLASSES).astype(np.float64)

    own = {key: value.shape for key, value in network.state_dict().items()}
    kept = {key: value.shape for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert own == kept
    network.load_state_dict(state)

    images = random.standard_normal((2, 3, size, size))
    for training in (False, True):
        network.train(training)
        their_network.train(training)
        without_dropout(network, their_network)
        compare(network, their_network, images, random)
        for key, value in their_network.named_buffers():
            if not key.endswith("num_batches_tracked"):
                assert relative_error(network.get_buffer(key), value.numpy()) < 1e-9, key


def compare(network, their_network, images, random):
    """Outputs, auxiliary ones, too, and the gradients of a random upstream gradient."""
    x, their_x = ma.Tensor(images, requires_grad=True), torch.tensor(images, requires_grad=True)
    outputs, expected = network(x), their_network(their_x)
    if isinstance(expected, tuple):
        assert isinstance(outputs, AuxiliaryOutputs)
        assert outputs._fields == expected._fields
    else:
        outputs, expected = (outputs,), (expected,)
    upstreams = [random.standard_normal(tuple(each.shape)) for each in expected]
    network.zero_grad()
    their_network.zero_grad()
    loss = sum((y * ma.Tensor(g)).sum() for y, g in zip(outputs, upstreams, strict=True))
    their_loss = sum((y * torch.tensor(g)).sum() for y, g in zip(expected, upstreams, strict=True))
    loss.backward()
    their_loss.backward()
    for y, right in zip(outputs, expected, strict=True):
        assert np.ptp(right.detach().numpy()) > 0, "all logits are the same"
        assert relative_error(y.numpy(), right.detach().numpy()) < 1e-9
    assert relative_error(x.grad.numpy(), their_x.grad.numpy()) < 1e-9
    for key, layer in their_network.named_modules():
        parameters = dict(layer.named_parameters(recurse=False))
        own = network.get_submodule(key)._parameters if parameters else {}
        if key.startswith("aux") and not their_network.training:
            assert all(own[part].grad is None for part in parameters), key
        elif parameters:
            # Together: that of a bias before batch normalisation is 0, and both have its rounding only.
            found, right = (
                np.concatenate([each[part].grad.numpy().ravel() for part in parameters])
                for each in (own, parameters)
            )
            assert np.linalg.norm(right) > 0, key
            assert relative_error(found, right) < 1e-9, key


@pytest.mark.parametrize("name", NETWORKS)
def test_counts_are_torchvision_s(name, torchvision, theirs):
    """The parameters that its weights state, its products to three decimals, and all of them by PyTorch."""
    from torch.utils.flop_counter import FlopCounterMode

    their_name, _ = NETWORKS[name]
    meta = torchvision.models.get_model_weights(their_name).IMAGENET1K_V1.meta
    architecture = get_architecture(name)
    heads = sum(
        p.size for key, p in architecture.build().named_parameters() if key.startswith(("aux1.", "aux2."))
    )
    assert architecture.trainable_parameters - heads == meta["num_params"]
    assert round(architecture.macs / 1e9, 3) == meta["_ops"]

    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        theirs(their_name, **options_of(name)).eval()(torch.empty(1, *architecture.input_shape))
    assert architecture.macs == counter.get_total_flops() // 2


@pytest.mark.parametrize("name", NETWORKS)
def test_hyperparameters_are_torchvision_s(name, theirs):
    """What the comparison in float64 does not see: the rates of dropout, and how fast statistics move."""
    with torch.device("meta"):
        their_network = theirs(NETWORKS[name][0], **options_of(name))
    network = get_architecture(name).build()
    dropouts = [m.p for m in network.modules() if isinstance(m, nn.Dropout)]
    assert sorted(dropouts) == sorted(m.p for m in their_network.modules() if isinstance(m, torch.nn.Dropout))
    for key, module in their_network.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            own = network.get_submodule(key)
            assert (own.eps, own.momentum) == (module.eps, module.momentum), key


@pytest.mark.parametrize(
    "name",
    [
        "densenet121",
        "googlenet",
        "mobilenet_v2",
        "resnet18",
        "shufflenet_v2_x1_0",
        "squeezenet1_1",
        "vgg11_bn",
    ],
)
def test_networks_start_with_torchvision_s_distributions(name, theirs):
    """The deviation of every weight and bias of 1,000 numbers or more; five standard errors are allowed."""
    torch.manual_seed(3)
    ma.manual_seed(3)
    options = options_of(name) | ({"init_weights": True} if name == "googlenet" else {})
    state = theirs(NETWORKS[name][0], **options).state_dict()
    own = create_model(name).state_dict()
    for key, value in state.items():
        if value.numel() < 1000 or key.endswith("num_batches_tracked"):
            continue
        deviation, expected = float(own[key].std()), float(value.double().std(correction=0))
        assert abs(deviation - expected) <= 5 * expected * np.sqrt(2 / value.numel()), key
        assert abs(float(own[key].mean()) - float(value.double().mean())) <= 5 * expected * np.sqrt(
            2 / value.numel()
        ), key
