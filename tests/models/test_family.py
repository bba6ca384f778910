"""The networks with blocks: what they give, how they train, and what they are called."""

import numpy as np
import pytest

import minialex as ma
from minialex import functional as F
from minialex import nn
from minialex.checking.kernels.thin_models import thin_network
from minialex.errors import CheckpointError, ModelError
from minialex.models import create_model, get_architecture, list_models
from minialex.models.architecture import conv, dropout, named, relu, rewritten
from minialex.models.auxiliary import AuxiliaryOutputs, objective
from minialex.models.blocks import branches, residual, sequence

FAMILY = [name for name in list_models() if not name.startswith(("alexnet", "caffenet"))]


@pytest.mark.parametrize("name", FAMILY)
def test_a_thin_copy_trains_a_step(name):
    """Every parameter gets a gradient, and a small step against it lowers the loss."""
    ma.manual_seed(3)
    network = thin_network(get_architecture(name))
    random = np.random.default_rng(1)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.training = False
        elif isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            # In layers of two channels ReLU may well switch off both, or stand exactly at its kink.
            module.bias.data[...] = random.uniform(0.3, 0.8, module.bias.shape)
    images = ma.Tensor(np.random.default_rng(0).standard_normal((3, *network.input_shape)))
    labels = np.array([0, 2, 1])

    def loss():
        return objective(network(images), labels, F.cross_entropy)

    before = loss()
    before.backward()
    squares = 0.0
    for parameter_name, parameter in network.named_parameters():
        gradient = parameter.grad.numpy()
        assert gradient.shape == parameter.shape, parameter_name
        assert np.isfinite(gradient).all(), parameter_name
        squares += float((gradient**2).sum())
    step = 1e-6 / np.sqrt(squares)
    for parameter in network.parameters():
        parameter.data -= step * parameter.grad.numpy()
    # To first order the loss falls by the step times the gradient's squared norm.
    fall = before.item() - loss().item()
    assert fall == pytest.approx(1e-6 * np.sqrt(squares), rel=0.05)


def test_googlenet_gives_auxiliary_logits_in_training_only():
    network = thin_network(get_architecture("googlenet"))
    images = ma.Tensor(np.random.default_rng(0).standard_normal((2, *network.input_shape)))
    outputs = network(images)
    assert isinstance(outputs, AuxiliaryOutputs)
    assert outputs._fields == ("logits", "aux_logits2", "aux_logits1")
    assert [y.shape for y in outputs] == [(2, 3)] * 3
    assert network.eval()(images).shape == (2, 3)


def test_the_objective_adds_three_tenths_of_the_auxiliary_losses():
    outputs = AuxiliaryOutputs(*(ma.Tensor(np.array([value])) for value in (1.0, 20.0, 300.0)))
    found = objective(outputs, 2.0, lambda y, target: (y * target).sum())
    assert found.item() == pytest.approx(2 * (1 + 0.3 * 20 + 0.3 * 300), rel=1e-15)


def test_weights_under_the_former_names_of_alexnet_torchvision_load():
    former = {
        "conv1": "features.0", "conv2": "features.3", "conv3": "features.6", "conv4": "features.8",
        "conv5": "features.10", "fc6": "classifier.1", "fc7": "classifier.4", "fc8": "classifier.6",
    }  # fmt: skip
    first, second = create_model("alexnet_torchvision", 2), create_model("alexnet_torchvision", 2)
    state = first.state_dict()
    saved = {
        f"{old}.{part}": state[f"{new}.{part}"] for old, new in former.items() for part in ("weight", "bias")
    }
    assert len(saved) == len(state) == 16
    second.load_state_dict(saved)
    for name, array in second.state_dict().items():
        np.testing.assert_array_equal(array, state[name])
    with pytest.raises(CheckpointError, match=r"missing: features\.0\.weight"):
        second.load_state_dict({name: saved[name] for name in saved if name != "conv1.weight"})


# Torchvision's `min_size`, where its networks are the same at that size as ours; the others by hand.
SMALLEST = {"alexnet_torchvision": 63, "densenet121": 29, "vgg16": 32, "resnet50": 1, "mobilenet_v2": 1}


@pytest.mark.parametrize("name", SMALLEST)
def test_the_smallest_images(name):
    architecture, size = get_architecture(name), SMALLEST[name]
    assert architecture.fits((3, size, size))
    assert architecture.fits((3, size + 300, size + 301))
    if size > 1:
        assert not architecture.fits((3, size - 1, size - 1))
        with pytest.raises(ModelError, match=rf"Square sizes that fit: {size} or more\."):
            architecture.require_fit((3, size - 1, size - 1))


@pytest.mark.parametrize("num_classes", [0, -3, 2.0, True, "10"])
@pytest.mark.parametrize("name", FAMILY)
def test_an_impossible_number_of_classes_is_refused(name, num_classes):
    with pytest.raises(ModelError, match="num_classes must be an integer 1 or more"):
        get_architecture(name).build(num_classes)


def test_layers_inside_blocks_are_rewritten_and_keep_their_names():
    table = named(a=sequence(conv(4, 3), dropout(), sequence(dropout(), relu())), b=dropout())
    without = rewritten(table, lambda layer: None if layer.prefix == "drop" else layer)
    assert [row.name for row in without] == ["a"]
    assert [(layer.name, layer.prefix) for layer in without[0].layers()] == [("0", "conv"), ("1", "relu")]


def test_shapes_that_do_not_go_together_are_refused():
    x = (1, 4, 6, 6)
    with pytest.raises(ModelError, match="a residual block adds"):
        residual(named(conv=conv(5, 1))).make(x, 2)
    with pytest.raises(ModelError, match="branches must give images of one size"):
        branches(a=conv(2, 1), b=conv(2, 3)).make(x, 2)
    with pytest.raises(ModelError, match="4 channels cannot be split among 3 branches"):
        branches(a=relu(), b=relu(), c=relu(), split=True).make(x, 2)
