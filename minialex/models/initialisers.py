"""Named initialisers of whole networks: what papers and frameworks draw for each layer.

An initialiser is a function of a layer and its name, such as ``"conv2"`` or ``"classifier.1"``; it sets the
layer's weight and bias. Those of batch normalisation start at 1 and 0 in every network.
"""

from __future__ import annotations

from collections.abc import Callable

from minialex.creation import zeros
from minialex.errors import ModelError
from minialex.nn import Module
from minialex.nn.init import (
    assign,
    glorot_uniform,
    he_normal,
    he_uniform,
    normal,
    pytorch,
    trunc_normal_,
    uniform,
)


def _gaussian(module: Module, name: str, dense_std: float, bias: float) -> None:
    """N(0, 0.01), with its own deviation in fc6 and fc7, and a raised bias in the paper's five layers."""
    raised = name in ("conv2", "conv4", "conv5", "fc6", "fc7")
    std = dense_std if name in ("fc6", "fc7") else 0.01
    assign(module, normal(module.weight.shape, std), bias if raised else 0.0)


def paper(module: Module, name: str) -> None:
    """Krizhevsky et al. 2012, section 5: N(0, 0.01); bias 1 in conv2, conv4, conv5, fc6 and fc7, else 0.

    The ones accelerate "the early stages of learning by providing the ReLUs with positive inputs". On
    small data sets the network often stays at the loss of guessing.
    """
    _gaussian(module, name, dense_std=0.01, bias=1.0)


def caffe(module: Module, name: str) -> None:
    """Caffe's bvlc_alexnet: as `paper`, but N(0, 0.005) in fc6 and fc7, and 0.1 where the bias is 1."""
    _gaussian(module, name, dense_std=0.005, bias=0.1)


def caffenet(module: Module, name: str) -> None:
    """Caffe's bvlc_reference_caffenet: as `caffe`, with the paper's bias of 1."""
    _gaussian(module, name, dense_std=0.005, bias=1.0)


def keras(module: Module, name: str) -> None:
    """Keras's default for its layers: Glorot's uniform weights, bias 0."""
    assign(module, glorot_uniform(module.weight.shape), 0.0)


def keras_uniform_convolutions(module: Module, name: str) -> None:
    """Keras's ``kernel_initializer="uniform"`` (+-0.05) in convolutions, its default in dense layers."""
    draw = uniform if module.weight.ndim == 4 else glorot_uniform
    assign(module, draw(module.weight.shape), 0.0)


def keras_he_normal_convolutions(module: Module, name: str) -> None:
    """Keras's ``kernel_initializer="he_normal"`` in convolutions, its default in dense layers."""
    draw = he_normal if module.weight.ndim == 4 else glorot_uniform
    assign(module, draw(module.weight.shape), 0.0)


def he(module: Module, name: str) -> None:
    """He's normal weights by fan-in, bias 0, in every layer: the safe choice with ReLU."""
    assign(module, he_normal(module.weight.shape), 0.0)


def he_fan_out(module: Module, name: str) -> None:
    """He's normal weights by fan-out in convolutions, N(0, 0.01) in dense layers, bias 0.

    Torchvision's for VGG and MobileNetV2.
    """
    if module.weight.ndim == 4:
        assign(module, he_normal(module.weight.shape, "fan_out"), 0.0)
    else:
        assign(module, normal(module.weight.shape, 0.01), 0.0)


def zfnet(module: Module, name: str) -> None:
    """Zeiler and Fergus 2013, section 3: weights of 0.01, taken as N(0, 0.01); bias 0."""
    assign(module, normal(module.weight.shape, 0.01), 0.0)


def nin(module: Module, name: str) -> None:
    """Caffe's Network in Network: N(0, 0.05), in conv1, conv3 and the last layer N(0, 0.01); bias 0."""
    std = 0.01 if name in ("conv1", "conv3", "cccp8-1024") else 0.05
    assign(module, normal(module.weight.shape, std), 0.0)


def googlenet(module: Module, name: str) -> None:
    """Torchvision's GoogLeNet: N(0, 0.01) for all weights, PyTorch's default for the biases.

    It cuts the distribution off at +-2, which is 200 deviations away.
    """
    pytorch(module)
    module.weight.data[...] = normal(module.weight.shape, 0.01)


def resnet(module: Module, name: str) -> None:
    """He et al. 2015, section 3.4, as in torchvision: He's normal weights by fan-out in convolutions.

    The dense layer has PyTorch's default.
    """
    if module.weight.ndim == 4:
        assign(module, he_normal(module.weight.shape, "fan_out"), 0.0)
    else:
        pytorch(module)


def densenet(module: Module, name: str) -> None:
    """Huang et al. 2017, section 4.2, as in torchvision: He's normal weights by fan-in in convolutions.

    The dense layer has PyTorch's default weights, and bias 0.
    """
    if module.weight.ndim == 4:
        assign(module, he_normal(module.weight.shape), 0.0)
    else:
        pytorch(module)
        assign(module, module.weight.data, 0.0)


def squeezenet(module: Module, name: str) -> None:
    """Torchvision's SqueezeNet: He's uniform weights by fan-in, N(0, 0.01) in the last layer; bias 0."""
    last = name.startswith("classifier.")
    draw = normal(module.weight.shape, 0.01) if last else he_uniform(module.weight.shape)
    assign(module, draw, 0.0)


def mobilenet_v1(module: Module, name: str) -> None:
    """TensorFlow's MobileNet v1: N(0, 0.09), cut off at two deviations; bias 0."""
    weight = zeros(module.weight.shape)
    assign(module, trunc_normal_(weight, std=0.09, a=-0.18, b=0.18).data, 0.0)


INITIALISERS: dict[str, Callable[[Module, str], None]] = {
    initialiser.__name__: initialiser
    for initialiser in (
        paper,
        caffe,
        caffenet,
        pytorch,
        keras,
        keras_uniform_convolutions,
        keras_he_normal_convolutions,
        he,
        he_fan_out,
        zfnet,
        nin,
        googlenet,
        resnet,
        densenet,
        squeezenet,
        mobilenet_v1,
    )
}


def initialise(network: Module, initialiser: str) -> None:
    """Draw the weights of every convolution and dense layer of a network by a named initialiser.

    Raises
    ------
    ModelError
        If there is none of this name; the message lists them.
    """
    if initialiser not in INITIALISERS:
        raise ModelError(f"initialiser {initialiser!r} is unknown; there are: {', '.join(INITIALISERS)}")
    for name, module in network.named_modules():
        weight = getattr(module, "weight", None)
        if weight is not None and weight.ndim > 1:  # not those of batch normalisation
            INITIALISERS[initialiser](module, name)
