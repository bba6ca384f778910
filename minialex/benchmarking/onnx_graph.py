"""A network as an ONNX graph for inference, built layer by layer with its weights.

Dropout is left out, and batch normalisation uses its running statistics. The operators are those of
opset 17.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from minialex import nn
from minialex.benchmarking.contestant import Absent
from minialex.benchmarking.layers import PlacedLayer, placed_layers
from minialex.models import Network

_OPSET, _FORMAT = 17, 8


def onnx_model(network: Network, batch: int) -> onnx.ModelProto:
    """The graph for batches of one size: images (N, C, H, W) to logits (N, classes), float32.

    Raises
    ------
    Absent
        If ONNX has no operator like one of the layers.
    """
    nodes, weights, name = [], [], "images"
    layers = list(placed_layers(network, batch))
    for layer in layers:
        node = _node(layer, name)
        if node is None:
            continue
        operator, attributes, arrays = node
        inputs = [f"{layer.name}.{i}" for i in range(len(arrays))]
        weights += [numpy_helper.from_array(a, key) for key, a in zip(inputs, arrays, strict=True)]
        nodes.append(helper.make_node(operator, [name, *inputs], [layer.name], layer.name, **attributes))
        name = layer.name
    graph = helper.make_graph(
        nodes,
        network.name,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, layers[0].x)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, layers[-1].y)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = _FORMAT
    return model


def _node(placed: PlacedLayer, x: str) -> tuple[str, dict, list[np.ndarray]] | None:
    """The operator of a layer, its attributes and its weights; None for a layer that does nothing."""
    layer = placed.module
    match layer:
        case nn.Conv2d():
            return "Conv", {**_window(placed), "group": layer.groups}, _weights(layer)
        case nn.Linear():
            return "Gemm", {"transB": 1}, _weights(layer)
        case nn.MaxPool2d(ceil_mode=False):
            return "MaxPool", _window(placed), []
        case nn.AvgPool2d(ceil_mode=False):
            attributes = _window(placed)
            del attributes["dilations"]
            return "AveragePool", {**attributes, "count_include_pad": int(layer.count_include_pad)}, []
        case nn.LocalResponseNorm():
            # ONNX divides alpha by the size.
            scale = layer.size if layer.alpha_mode == "sum" else 1
            factors = {"alpha": layer.alpha * scale, "beta": layer.beta, "bias": layer.k}
            return "LRN", {"size": layer.size, **factors}, []
        case nn.BatchNorm2d(axis=1):
            arrays = [*_weights(layer), layer.running_mean, layer.running_var]
            return "BatchNormalization", {"epsilon": layer.eps}, arrays
        case nn.ReLU():
            return "Relu", {}, []
        case nn.Dropout():
            return None
        case nn.Flatten(start_dim=1, end_dim=-1):
            return "Flatten", {}, []
    raise Absent(f"ONNX has no operator like {placed.name}, {layer}")


def _weights(layer: nn.Module) -> list[np.ndarray]:
    return [parameter.numpy() for parameter in layer.parameters()]


def _window(placed: PlacedLayer) -> dict:
    window = placed.window
    (top, bottom), (left, right) = window.padding
    return {
        "kernel_shape": window.kernel_size,
        "strides": window.stride,
        "pads": (top, left, bottom, right),
        "dilations": window.dilation,
    }
