"""A network as an ONNX graph for inference, built module by module with its weights.

Dropout is left out, and batch normalisation uses its running statistics. The operators are those of
opset 17.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from minialex import nn
from minialex.benchmarking.contestant import Absent
from minialex.benchmarking.layers import PlacedLayer, placed_layers
from minialex.models import Network
from minialex.models.auxiliary import AuxiliaryHead
from minialex.models.blocks import Concatenation, DenseConnection, Residual
from minialex.models.summary import name_of
from minialex.nn.parts import is_layer, is_plain_sequence

_OPSET, _FORMAT = 17, 8


def onnx_model(network: nn.Module, batch: int) -> onnx.ModelProto:
    """The graph for batches of one size: images (N, C, H, W) to logits (N, classes), float32.

    Raises
    ------
    Absent
        If ONNX has no operator like one of the layers, or a module has a forward of its own.
    """
    layers = list(placed_layers(network, batch))
    graph = _Graph({id(layer.module): layer for layer in layers})
    name = graph.add(network, "", "images")
    made = helper.make_graph(
        graph.nodes,
        name_of(network),
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, layers[0].x)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, layers[-1].y)],
        graph.weights,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = _FORMAT
    return model


class _Graph:
    """Nodes and weights, added module by module."""

    def __init__(self, placed: dict[int, PlacedLayer]):
        self.placed = placed
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, module: nn.Module, name: str, x: str) -> str:
        """Add what a module makes of x; return the name of its result."""
        match module:
            case Residual():
                sides = (self._row(module, each, name, x) for each in (module._body, module._shortcut))
                return self._row(module, module._end, name, self._node("Add", f"{name}.sum", sides))
            case Concatenation():
                x = self._row(module, module._start, name, x)
                inputs = [x] * len(module._branches)
                if module._split:
                    inputs = [f"{name}.part{i}" for i in range(len(inputs))]
                    self.nodes.append(helper.make_node("Split", [x], inputs, name, axis=1))
                parts = [
                    self._row(module, (key,), name, part)
                    for key, part in zip(module._branches, inputs, strict=True)
                ]
                return self._row(
                    module, module._end, name, self._node("Concat", f"{name}.cat", parts, axis=1)
                )
            case DenseConnection():
                parts = [x, self._row(module, module._body, name, x)]
                return self._node("Concat", f"{name}.cat", parts, axis=1)
            case nn.ChannelShuffle():
                return self._shuffled(module, name, x)
        if isinstance(module, Network) or is_plain_sequence(module):
            trunk = (key for key, each in module.named_children() if not isinstance(each, AuxiliaryHead))
            return self._row(module, tuple(trunk), name, x)
        if not is_layer(module):
            raise Absent(f"the forward of {name}, a {type(module).__name__}, cannot be read for ONNX")
        return self._layer(self.placed[id(module)], name, x)

    def _row(self, module: nn.Module, children: tuple[str, ...], name: str, x: str) -> str:
        for key in children:
            x = self.add(module._modules[key], f"{name}.{key}" if name else key, x)
        return x

    def _layer(self, layer: PlacedLayer, name: str, x: str) -> str:
        found = _node(layer, x)
        if found is None:
            return x
        operator, attributes, arrays = found
        inputs = [self._weight(f"{name}.{i}", array) for i, array in enumerate(arrays)]
        return self._node(operator, name, [x, *inputs], **attributes)

    def _shuffled(self, module: Any, name: str, x: str) -> str:
        """(N, g, C/g, H, W) with the axes of the channels swapped."""
        n, c, h, w = self.placed[id(module)].x
        apart = np.array([n, module.groups, c // module.groups, h, w], np.int64)
        x = self._node("Reshape", f"{name}.apart", [x, self._weight(f"{name}.groups", apart)])
        x = self._node("Transpose", f"{name}.swapped", [x], perm=[0, 2, 1, 3, 4])
        joined = np.array([n, c, h, w], np.int64)
        return self._node("Reshape", name, [x, self._weight(f"{name}.shape", joined)])

    def _node(self, operator: str, name: str, inputs: Iterable[str], **attributes) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name, **attributes))
        return name

    def _weight(self, name: str, array: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(array, name))
        return name


def _node(placed: PlacedLayer, x: str) -> tuple[str, dict, list[np.ndarray]] | None:
    """The operator of a layer, its attributes and its weights; None for a layer that does nothing."""
    layer = placed.module
    match layer:
        case nn.Conv2d():
            return "Conv", {**_window(placed), "group": layer.groups}, _weights(layer)
        case nn.Linear():
            return "Gemm", {"transB": 1}, _weights(layer)
        case nn.MaxPool2d():
            return "MaxPool", {**_window(placed), "ceil_mode": int(layer.ceil_mode)}, []
        case nn.AvgPool2d(ceil_mode=False):
            attributes = _window(placed)
            del attributes["dilations"]
            return "AveragePool", {**attributes, "count_include_pad": int(layer.count_include_pad)}, []
        case nn.AdaptiveAvgPool2d() if placed.y[2:] == (1, 1):
            return "GlobalAveragePool", {}, []
        case nn.AdaptiveAvgPool2d() if placed.x == placed.y:
            return None
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
        case nn.ReLU6():
            return "Clip", {}, [np.float32(0).reshape(()), np.float32(6).reshape(())]
        case nn.Tanh():
            return "Tanh", {}, []
        case nn.Dropout() | nn.Identity():
            return None
        case nn.Flatten(start_dim=1, end_dim=-1):
            return "Flatten", {}, []
    raise Absent(f"ONNX has no operator like {placed.name}, {layer}")


def _weights(layer: nn.Module) -> list[np.ndarray]:
    return [np.ascontiguousarray(parameter.numpy()) for parameter in layer.parameters()]


def _window(placed: PlacedLayer) -> dict:
    window = placed.window
    (top, bottom), (left, right) = window.padding
    return {
        "kernel_shape": window.kernel_size,
        "strides": window.stride,
        "pads": (top, left, bottom, right),
        "dilations": window.dilation,
    }
