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
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minialex.autograd import Edge, Operation, enable_grad, no_grad
from minialex.devices import to_device_array, to_numpy
from minialex.errors import ModelError, ShapeError
from minialex.nn.activation import ReLU
from minialex.nn.convolution import Conv2d
from minialex.nn.module import Module, Parameter, values_of
from minialex.nn.normalisation import BatchNorm2d
from minialex.nn.shape import Identity
from minialex.nn.trace import inputs_on_meta, on_meta, tensors_in
from minialex.operations.conv2d import Conv2d as Convolution
from minialex.operations.conv2d_relu import conv2d_relu
from minialex.operations.joining import Concatenate
from minialex.random import seeded
from minialex.tensor import Tensor


def fold_batch_norm(network: Module, *shapes: Sequence[int]) -> Module:
    """A copy of a network for inference, in which convolutions carry the batch normalisation behind them.

    Folded is each `BatchNorm2d` with running statistics whose input is the result of a `Conv2d` that nothing
    else reads, wherever the two stand: that is found out by a run of the network on the device ``meta``
    (`minialex.nn.trace`). An `Identity` takes its place. What does more than these layers stays: subclasses,
    layers with hooks, or with hooks around them, and those that have two names or share weights.

    Parameters
    ----------
    network : Module
        It stays as it is.
    *shapes : tuple of int
        Of its inputs, the batch included: (N, C, H, W). A network that does something else for other sizes
        must not be given those.

    Returns
    -------
    Module
        Set to evaluation. Its results are those of the network in evaluation but for rounding, which is made
        sure of by a run of both on random numbers.

    Raises
    ------
    ShapeError
        If shapes are missing, have a length of 0, or do not fit the network.
    TypeError
        If `network` is not a Module.
    ModelError
        If the results are not the same: something that is not seen from outside, such as a layer that keeps
        what it computes, reads what is between two layers. Or if those of the network itself change from run
        to run.
    """
    return _checked("fold_batch_norm", network, shapes, _fold_all)


def fuse_for_inference(network: Module, *shapes: Sequence[int]) -> Module:
    """A copy of a network for inference, with fewer passes over the maps between its layers.

    Convolutions carry the batch normalisation behind them and the `ReLU` behind that, or behind several of
    them concatenated, under the conditions of `fold_batch_norm`, whose parameters and errors these are. ReLU
    must be a layer of its own, used once: a function called in `forward` stays where it is. `Module.freeze`
    on the result lets kernels keep their forms of the weights, too.

    Parameters
    ----------
    network : Module
        It stays as it is.
    *shapes : tuple of int
        Of its inputs, the batch included: (N, C, H, W).

    Returns
    -------
    Module
        Set to evaluation. Its results are those of the network in evaluation but for rounding.

    Raises
    ------
    ShapeError, TypeError, ModelError
        As by `fold_batch_norm`.
    """
    return _checked("fuse_for_inference", network, shapes, _fold_all, _rectify_all)


def _checked(who: str, network: Module, shapes: Sequence[Any], *changes: Callable) -> Module:
    """A changed copy of a network, and that it gives what the network gives."""
    inputs_on_meta(who, network, shapes)
    if not shapes:
        raise ShapeError(
            f"{who}: the shapes of the network's inputs are missing; write {who}(network, (1, 3, 224, 224)), "
            "one shape for each input"
        )
    if not all(map(math.prod, shapes)):
        raise ShapeError(f"{who}: no length of an input may be 0, as in {shapes[0]}: the result is tried out")
    changed = copy.deepcopy(network).eval()
    inputs = _random_inputs(changed, shapes)
    expected = _results(changed, inputs)
    if not _all_close(expected, _results(changed, inputs)):
        raise ModelError(
            f"{who}: the network does not give the same for the same input, so nothing tells whether a "
            "changed one does; use it as it is"
        )
    try:
        for change in changes:
            change(who, changed, shapes)
        found = _results(changed, inputs)
    except Exception as error:
        raise ModelError(
            f"{who}: the changed network does not run: {type(error).__name__}: {error}; use the network as "
            "it is"
        ) from error
    if not _all_close(expected, found):
        raise ModelError(
            f"{who}: the changed network does not give what the network gives: something reads what is "
            "between two of its layers; use the network as it is"
        )
    return changed


def _random_inputs(network: Module, shapes: Sequence[Sequence[int]]) -> list[Tensor]:
    generator = np.random.default_rng(0)
    like = next(network.parameters(), None)
    dtype, device = ("float32", "cpu") if like is None else (like.dtype, like.device)
    arrays = [generator.standard_normal(tuple(shape)).astype(dtype) for shape in shapes]
    return [Tensor(to_device_array(array, device), device=device) for array in arrays]


def _results(network: Module, inputs: list[Tensor]) -> list[np.ndarray]:
    with no_grad(), seeded(0), np.errstate(all="ignore"):
        return [to_numpy(tensor.data) for tensor in tensors_in(network(*inputs))]


def _all_close(expected: list[np.ndarray], found: list[np.ndarray]) -> bool:
    return len(expected) == len(found) and all(map(_close, expected, found))


def _close(expected: np.ndarray, found: np.ndarray) -> bool:
    """Whether results agree but for rounding, maps (N, C, ...) channel by channel."""
    if expected.shape != found.shape:
        return False
    if expected.dtype.kind != "f":
        return bool((expected == found).all())
    eps, finite = float(np.finfo(expected.dtype).eps), np.isfinite(expected)
    sizes = np.abs(np.where(finite, expected, 0))
    of_all = sizes.max(initial=0)
    if expected.ndim > 2:
        sizes = sizes.max(axis=(0, *range(2, expected.ndim)), keepdims=True, initial=0)
    else:
        sizes = of_all
    # What a channel was computed from may have been larger than the channel.
    tolerance = np.sqrt(eps) * sizes + 16 * eps * of_all
    return bool((np.abs(found - expected) <= tolerance)[finite].all())


def _fold_all(who: str, network: Module, shapes: Sequence[Sequence[int]]) -> None:
    for convolutions, norm in _followers(who, network, shapes, BatchNorm2d):
        # Behind concatenated maps, each would have a share of the channels.
        if len(convolutions) == 1:
            _fold(network.get_submodule(convolutions[0]), network.get_submodule(norm))
            _replace(network, norm, Identity().eval())


def _rectify_all(who: str, network: Module, shapes: Sequence[Sequence[int]]) -> None:
    for convolutions, relu in _followers(who, network, shapes, ReLU):
        for name in convolutions:
            convolution = copy.copy(network.get_submodule(name))
            convolution.__class__ = ConvReLU2d
            _replace(network, name, convolution)
        _replace(network, relu, Identity().eval())


class ConvReLU2d(Conv2d):
    """A convolution and the ReLU behind it, by one kernel (``ConvReLU2d`` of PyTorch's intrinsic)."""

    _function = staticmethod(conv2d_relu)


def _replace(network: Module, name: str, module: Module) -> None:
    owner, _, last = name.rpartition(".")
    network.get_submodule(owner)._modules[last] = module


def _followers(
    who: str, network: Module, shapes: Sequence[Sequence[int]], kind: type
) -> list[tuple[list[str], str]]:
    """The names of each layer of a kind that reads a convolution, or several concatenated, and of these.

    Nothing else reads their results.
    """
    names = _replaceable(network, (Conv2d, kind))
    twin = on_meta(network).eval()
    made: dict[str, list[Operation | None]] = {}

    def after(name: str, module: Module, args: tuple, output: Any) -> None:
        made.setdefault(name, []).append(output.creator)

    for name in names:
        twin.get_submodule(name).register_forward_hook(functools.partial(after, name))
    for parameter in twin.parameters():
        parameter.requires_grad = True
    inputs = inputs_on_meta(who, twin, shapes, requires_grad=True)
    with enable_grad(), seeded(0):
        results = list(tensors_in(twin(*inputs)))
    operations = _behind([tensor.creator for tensor in results])
    readers = Counter(edge.source for each in operations for edge in each.edges if edge is not None)
    readers.update(tensor.creator for tensor in results)
    once = {name: runs[0] for name, runs in made.items() if len(runs) == 1 and runs[0] in operations}
    # Not of a subclass: what is behind its ReLU is no part of the convolution.
    of_convolution: dict[Any, str] = {
        made_by: name for name, made_by in once.items() if type(made_by) is Convolution
    }

    def convolutions_of(edge: Edge | None) -> list[str] | None:
        """What an operation reads, if that is nothing but convolutions that no other reads."""
        if edge is None or readers[edge.source] != 1:
            return None
        if isinstance(edge.source, Concatenate):
            parts = [convolutions_of(each) for each in edge.source.edges]
            return None if None in parts else [name for part in parts for name in part or ()]
        return [of_convolution[edge.source]] if edge.source in of_convolution else None

    found = []
    for name, made_by in once.items():
        layer = network.get_submodule(name)
        if type(layer) is not kind:
            continue
        if isinstance(layer, BatchNorm2d) and (layer.running_mean is None or layer.axis != 1):
            continue
        convolutions = convolutions_of(made_by.edges[0])
        if convolutions:
            found.append((convolutions, name))
    return found


def _replaceable(network: Module, kinds: tuple[type, ...]) -> list[str]:
    """The names of the layers that are just of these kinds, and can be replaced without being missed.

    They have no hooks, nor has anything around them; no `forward` of their own; one name; their own weights.
    """
    owners = Counter(id(each) for module in network.modules() for each in module._parameters.values())
    modules = list(network.named_modules(remove_duplicate=False))
    names = Counter(id(module) for _, module in modules)
    hooked = [name for name, module in modules if module._hooks is not None]
    return [
        name
        for name, module in modules
        if type(module) in kinds
        and names[id(module)] == 1
        and "forward" not in vars(module)
        and not any(name == each or not each or name.startswith(f"{each}.") for each in hooked)
        and all(owners[id(parameter)] == 1 for parameter in module.parameters())
    ]


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
        convolution._parameters[name] = Parameter(array, convolution.weight.requires_grad, device)
