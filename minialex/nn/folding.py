"""Convolutions that carry the batch normalisation and the ReLU behind them, for inference.

With running statistics, batch normalisation is a scale and a shift of each channel, and the convolution
before it is linear. For y = s (w * x + b - mean) + beta with s = gamma / sqrt(var + eps), the convolution
with weights s w and bias s (b - mean) + beta gives the same, and one pass over the maps is saved (Jacob et
al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
section 3.2; PyTorch's ``fuse_conv_bn_eval``). ReLU then is a step of the same kernel,
``conv2d.forward_relu``.
"""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from minialex.autograd import Operation, enable_grad
from minialex.devices import to_device_array, to_numpy
from minialex.errors import ShapeError
from minialex.nn.activation import ReLU
from minialex.nn.convolution import Conv2d
from minialex.nn.layer import Layer
from minialex.nn.module import Module, Parameter, values_of
from minialex.nn.normalisation import BatchNorm2d
from minialex.nn.shape import Identity
from minialex.nn.trace import inputs_on_meta, on_meta, tensors_in
from minialex.operations.conv2d import Conv2d as Convolution
from minialex.operations.conv2d_relu import conv2d_relu
from minialex.random import seeded


def fold_batch_norm(network: Module, *shapes: Sequence[int]) -> Module:
    """A copy of a network for inference, in which convolutions carry the batch normalisation behind them.

    Folded is each `BatchNorm2d` with running statistics whose input is the result of a `Conv2d` that nothing
    else reads, wherever the two stand: that is found out by a run of the network on the device ``meta``
    (`minialex.nn.trace`). An `Identity` takes its place. Layers with hooks, and those of a class of your own
    that has a `forward` of its own, stay.

    Parameters
    ----------
    network : Module
        It stays as it is.
    *shapes : tuple of int
        Of its inputs, such as (N, C, H, W).

    Returns
    -------
    Module
        Set to evaluation. Its results are those of the network in evaluation but for rounding.

    Raises
    ------
    ShapeError
        If shapes are missing, or do not fit the network.
    TypeError
        If `network` is not a Module.
    """
    return _folded("fold_batch_norm", network, shapes)


def _folded(who: str, network: Module, shapes: Sequence[Sequence[int]]) -> Module:
    inputs_on_meta(who, network, shapes)
    if not shapes:
        raise ShapeError(
            f"{who}: the shapes of the network's inputs are missing; write {who}(network, (1, 3, 224, 224)), "
            "one shape for each input"
        )
    folded = copy.deepcopy(network).eval()
    for convolution, norm in _pairs(who, folded, shapes, BatchNorm2d):
        _fold(folded.get_submodule(convolution), folded.get_submodule(norm))
        _replace(folded, norm, Identity())
    return folded


def fuse_for_inference(network: Module, *shapes: Sequence[int]) -> Module:
    """A copy of a network for inference, with fewer passes over the maps between its layers.

    Convolutions carry the batch normalisation behind them (`fold_batch_norm`) and the ReLU behind that, each
    where nothing else reads what is between. An `Identity` takes the place of both. `Module.freeze` on the
    result lets kernels keep their forms of the weights, too.

    Parameters
    ----------
    network : Module
        It stays as it is.
    *shapes : tuple of int
        Of its inputs, such as (N, C, H, W).

    Returns
    -------
    Module
        Set to evaluation. Its results are those of the network in evaluation but for rounding.

    Raises
    ------
    ShapeError
        If shapes are missing, or do not fit the network.
    TypeError
        If `network` is not a Module.
    """
    fused = _folded("fuse_for_inference", network, shapes)
    for name, relu in _pairs("fuse_for_inference", fused, shapes, ReLU):
        convolution = copy.copy(fused.get_submodule(name))
        convolution.__class__ = ConvReLU2d
        _replace(fused, name, convolution)
        _replace(fused, relu, Identity())
    return fused


class ConvReLU2d(Conv2d):
    """A convolution and the ReLU behind it, by one kernel (``ConvReLU2d`` of PyTorch's intrinsic)."""

    _function = staticmethod(conv2d_relu)


def _replace(network: Module, name: str, module: Module) -> None:
    owner, _, last = name.rpartition(".")
    network.get_submodule(owner)._modules[last] = module


def _pairs(
    who: str, network: Module, shapes: Sequence[Sequence[int]], kind: type[Layer]
) -> list[tuple[str, str]]:
    """The names of each convolution and of the layer of a kind that is the only reader of its result."""
    layers = {
        name: module
        for name, module in network.named_modules()
        if any(_is_no_more_than(module, each) for each in (Conv2d, kind))
    }
    twin = on_meta(network).eval()
    made: dict[str, list[Operation]] = {}

    def after(name: str, module: Module, args: tuple, output: Any) -> None:
        made.setdefault(name, []).append(output.creator)

    for name in layers:
        twin.get_submodule(name).register_forward_hook(functools.partial(after, name))
    for parameter in twin.parameters():
        parameter.requires_grad = True
    inputs = inputs_on_meta(who, twin, shapes, requires_grad=True)
    with enable_grad(), seeded(0):
        results = list(tensors_in(twin(*inputs)))
    operations = _behind([tensor.creator for tensor in results])
    readers = Counter(edge.source for each in operations for edge in each.edges if edge is not None)
    readers.update(tensor.creator for tensor in results)
    once = {name: runs[0] for name, runs in made.items() if len(runs) == 1}
    # Not of a subclass: what is behind its ReLU is no part of the convolution.
    of_convolution = {made_by: name for name, made_by in once.items() if type(made_by) is Convolution}
    pairs = []
    for name, made_by in once.items():
        layer = layers[name]
        if not isinstance(layer, kind):
            continue
        if isinstance(layer, BatchNorm2d) and (layer.running_mean is None or layer.axis != 1):
            continue
        source = made_by.edges[0].source
        if source in of_convolution and readers[source] == 1:
            pairs.append((of_convolution[source], name))
    return pairs


def _is_no_more_than(module: Module, kind: type) -> bool:
    """Whether a module does what its kind does and nothing else."""
    return isinstance(module, kind) and type(module).forward is kind.forward and module._hooks is None


def _behind(pending: list) -> set[Operation]:
    """Every operation that these depend on, themselves included."""
    found: set[Operation] = set()
    while pending:
        operation = pending.pop()
        if isinstance(operation, Operation) and operation not in found:
            found.add(operation)
            pending += [edge.source for edge in operation.edges if edge is not None]
    return found


def _fold(convolution: Module, norm: Module) -> None:
    device, dtype = convolution.weight.device, convolution.weight.dtype

    def wide(kept: Any, otherwise: float) -> np.ndarray:
        """In float64, so that only the result is rounded."""
        values = np.full(norm.num_features, otherwise) if kept is None else to_numpy(values_of(kept))
        return values.astype(np.float64)

    scale = wide(norm.weight, 1.0) / np.sqrt(wide(norm.running_var, 1.0) + norm.eps)
    bias = (wide(convolution.bias, 0.0) - wide(norm.running_mean, 0.0)) * scale + wide(norm.bias, 0.0)
    weight = to_numpy(convolution.weight.data).astype(np.float64) * scale[:, None, None, None]
    for name, values in (("weight", weight), ("bias", bias)):
        array = to_device_array(values.astype(dtype), device)
        convolution._parameters[name] = Parameter(array, device=device)
