"""How much memory a training step takes, from shapes only.

In the forward pass each layer keeps what its backward needs, and in the backward pass it frees that. At
every moment memory holds, besides the parameters and the optimiser's arrays, what is kept;
the input and the output of the current layer, or the gradients of both; the gradients of the parameters
that backward has passed; and the workspace of the kernel. The largest sum is the peak.
"""

from __future__ import annotations

import math

import numpy as np

from minialex import nn
from minialex.kernels import conv2d, linear
from minialex.kernels.contract.registry import select
from minialex.models.architecture import Network, Shape
from minialex.models.summary import summarise

_FLOAT = 4
# What backward needs (`saved_inputs`, `saved_outputs` in `minialex.operations`).
_KEEP_INPUT = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.LocalResponseNorm)
_KEEP_OUTPUT = (nn.ReLU,)
_KEEP_WINNERS = (nn.MaxPool2d,)  # int32, in the shape of the output


def predict_step_memory(
    network: Network, batch: int, *, optimizer_arrays: int = 1, device: str = "cpu"
) -> int:
    """The peak memory of a training step in bytes, everything included, in float32.

    Parameters
    ----------
    network : Network
    batch : int
        Images.
    optimizer_arrays : int
        How many arrays the optimiser keeps for each parameter: 1 for SGD with momentum, 2 for Adam.
    device : str
        Whose kernels run.

    Raises
    ------
    ModelError
        If the batch is not a positive int.
    """
    summary = summarise(network, batch)
    modules = list(network.children())
    shapes = [summary.input_shape, *(layer.output_shape for layer in summary.layers)]
    trained = [_FLOAT * layer.trainable_parameters for layer in summary.layers]

    # Which array each value is: flatten() gives a view of its input.
    array = [0]
    for i, module in enumerate(modules):
        array.append(array[-1] if isinstance(module, nn.Flatten) else i + 1)
    size = {array[i]: _FLOAT * math.prod(shape) for i, shape in enumerate(shapes)}
    del size[0]  # the images are counted once, at the end

    kept: list[dict] = [{}]  # before each layer: the arrays that the layers before it need
    moments = []
    for i, module in enumerate(modules):
        keeps = dict(kept[-1])
        if isinstance(module, _KEEP_INPUT):
            keeps[array[i]] = size.get(array[i], 0)
        if isinstance(module, _KEEP_OUTPUT):
            keeps[array[i + 1]] = size[array[i + 1]]
        if isinstance(module, _KEEP_WINNERS):
            keeps[f"winners of {i}"] = size[array[i + 1]]
        kept.append(keeps)
        at_work = {array[j]: size.get(array[j], 0) for j in (i, i + 1)}
        forward, _ = _workspaces(module, shapes[i], shapes[i + 1], device)
        moments.append(sum((keeps | at_work).values()) + forward)

    gradients = 0
    for i in reversed(range(len(modules))):
        gradients += trained[i]
        # Nobody asks for the gradient of the images; that of a view is a view.
        of_input = size.get(array[i], 0) if array[i] != array[i + 1] else 0
        _, backward = _workspaces(modules[i], shapes[i], shapes[i + 1], device)
        moments.append(sum(kept[i + 1].values()) + gradients + size[array[i + 1]] + of_input + backward)

    parameters = _FLOAT * (summary.parameters + optimizer_arrays * summary.trainable_parameters)
    return parameters + _FLOAT * math.prod(summary.input_shape) + max(moments)


def largest_batch(
    network: Network, available: int, limit: int, *, optimizer_arrays: int = 1, device: str = "cpu"
) -> int:
    """The largest batch below a limit whose step fits the available bytes; 0 if none does."""
    fits, too_large = 0, limit
    while too_large - fits > 1:
        middle = (fits + too_large) // 2
        needed = predict_step_memory(network, middle, optimizer_arrays=optimizer_arrays, device=device)
        if needed <= available:
            fits = middle
        else:
            too_large = middle
    return fits


def _workspaces(module: nn.Module, x_shape: Shape, y_shape: Shape, device: str) -> tuple[int, int]:
    """What the kernels of a layer allocate beyond their results: forward, and the most in backward."""
    x, y = _stand_in(x_shape), _stand_in(y_shape)
    if isinstance(module, nn.Conv2d):
        weight = _stand_in(module.weight.shape)
        call = conv2d.ConvCall.of(
            x_shape,
            weight.shape,
            stride=module.stride,
            padding=module.padding,
            dilation=module.dilation,
            groups=module.groups,
        )
        return _workspace(conv2d.FORWARD, device, x, weight, None, call=call), max(
            _workspace(conv2d.INPUT_GRAD, device, y, weight, call=call),
            _workspace(conv2d.WEIGHT_GRAD, device, y, x, call=call),
        )
    if isinstance(module, nn.Linear):
        weight = _stand_in(module.weight.shape)
        return _workspace(linear.FORWARD, device, x, weight, None), max(
            _workspace(linear.INPUT_GRAD, device, y, weight), _workspace(linear.WEIGHT_GRAD, device, y, x)
        )
    return 0, 0


def _stand_in(shape: Shape) -> np.ndarray:
    """An array of this shape that takes no memory."""
    return np.broadcast_to(np.float32(0), shape)


def _workspace(operation: str, device: str, *arrays, **parameters) -> int:
    kernel = select(operation, device, *arrays, **parameters)
    return kernel.workspace_bytes(*arrays, **parameters)
