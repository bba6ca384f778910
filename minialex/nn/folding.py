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
from minialex.devices import META, to_device_array, to_numpy
from minialex.errors import ShapeError
from minialex.nn.activation import ReLU
from minialex.nn.convolution import Conv2d
from minialex.nn.module import Module, Parameter, values_of
from minialex.nn.normalisation import BatchNorm2d
from minialex.nn.shape import Identity
from minialex.nn.trace import on_meta, tensors_in
from minialex.operations.conv2d_relu import conv2d_relu
from minialex.random import seeded
from minialex.stand_ins import stand_in
from minialex.tensor import Tensor


def fold_batch_norm(network: Module, *shapes: Sequence[int]) -> Module:
    """A copy of a network for inference, in which convolutions carry the batch normalisation behind them.

    Folded is each `BatchNorm2d` with running statistics whose input is the result of a `Conv2d` that nothing
    else reads, wherever the two stand: that is found out by a run of the network on the device ``meta``
    (`minialex.nn.trace`). An `Identity` takes its place.

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
        If shapes are missing.
    """
    if not shapes:
        raise ShapeError(
            "fold_batch_norm: the shapes of the network's inputs are missing; write fold_batch_norm(network, "
            "(1, 3, 224, 224)), one shape for each input"
        )
    folded = copy.deepcopy(network).eval()
    for convolution, norm in _pairs(network, shapes, BatchNorm2d):
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
    """
    fused = fold_batch_norm(network, *shapes)
    for name, relu in _pairs(fused, shapes, ReLU):
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


def _pairs(network: Module, shapes: Sequence[Sequence[int]], kind: type) -> list[tuple[str, str]]:
    """The names of each convolution and of the layer of a kind that is the only reader of its result."""
    twin = on_meta(network).eval()
    made: dict[str, list[Operation]] = {}

    def after(name: str, module: Module, args: tuple, output: Any) -> None:
        made.setdefault(name, []).extend(each.creator for each in tensors_in(output))

    for name, module in twin.named_modules():
        if isinstance(module, Conv2d | kind):
            module.register_forward_hook(functools.partial(after, name))
    dtype = next(network.parameters()).dtype
    for parameter in twin.parameters():
        parameter.requires_grad = True
    inputs = [Tensor(stand_in(shape, dtype), True, META) for shape in shapes]
    with enable_grad(), seeded(0):
        results = tensors_in(twin(*inputs))
    operations = _behind([tensor.creator for tensor in results])
    readers = Counter(edge.source for each in operations for edge in each.edges if edge is not None)
    of_convolution = {
        runs[0]: name for name, runs in made.items() if _kind(twin, name, Conv2d) and len(runs) == 1
    }
    pairs = []
    for name, runs in made.items():
        if not _kind(twin, name, kind) or len(runs) > 1:
            continue
        layer = twin.get_submodule(name)
        if isinstance(layer, BatchNorm2d) and (layer.running_mean is None or layer.axis != 1):
            continue
        source = runs[0].edges[0].source
        if source in of_convolution and readers[source] == 1:
            pairs.append((of_convolution[source], name))
    return pairs


def _kind(network: Module, name: str, kind: type) -> bool:
    return isinstance(network.get_submodule(name), kind)


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
