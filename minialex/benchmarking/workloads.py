"""What kernels are timed on: the calls that a network makes, read from its layers, and awkward examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from minialex import nn
from minialex.benchmarking.layers import PlacedLayer, placed_layers
from minialex.benchmarking.tasks import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY
from minialex.checks import require_int
from minialex.errors import KernelError
from minialex.kernels import list_kernels
from minialex.kernels.adam.examples import update as adam
from minialex.kernels.avg_pool2d.examples import average_pooling
from minialex.kernels.batch_norm.examples import batch_normalisation
from minialex.kernels.contract.examples import Example, example_calls, normal, operations_with_examples
from minialex.kernels.conv2d.examples import convolution
from minialex.kernels.cross_entropy.examples import cross_entropy
from minialex.kernels.dropout.examples import dropout
from minialex.kernels.linear.examples import dense
from minialex.kernels.local_response_norm.examples import response_normalisation
from minialex.kernels.matmul.examples import product
from minialex.kernels.max_pool2d.examples import max_pooling
from minialex.kernels.reduction.examples import total
from minialex.kernels.relu.examples import rectifier
from minialex.kernels.sgd.examples import update as sgd
from minialex.kernels.softmax.examples import softmax
from minialex.models import load_model


def workloads(operation: str | None, shapes: str, batch: int) -> list[Example]:
    """The calls of one operation (``"conv2d"``), of one direction of it, or of all.

    Parameters
    ----------
    operation : str or None
    shapes : str
        The name of a model for its calls in a training step, ``"awkward"``, or ``"all"`` for those of
        `alexnet` and the awkward ones.
    batch : int
        The images of a model's step.

    Raises
    ------
    KernelError
        If the operation has no kernels or no calls, or the batch is below 1.
    ModelError
        If `shapes` is none of these.
    """
    require_int("batch", batch, 1, error=KernelError)
    if operation is not None and not list_kernels(operation):
        known = sorted({entry.operation.split(".")[0] for entry in list_kernels()})
        raise KernelError(f"operation {operation!r} is unknown; there are: {', '.join(known)}")
    found: list[Example] = []
    if shapes != "awkward":
        found += model_workloads("alexnet" if shapes == "all" else shapes, batch)
    if shapes in ("awkward", "all"):
        found += [each for name in operations_with_examples() for each in example_calls(name, "awkward")]
    chosen = [each for each in found if operation in (None, each.operation, each.operation.split(".")[0])]
    if not chosen:
        raise KernelError(_why_none(operation, shapes))
    return chosen


def _why_none(operation: str | None, shapes: str) -> str:
    how = "@examples of minialex.kernels.contract.examples"
    if not any(operation in (None, name, name.split(".")[0]) for name in operations_with_examples()):
        return f"operation {operation!r} has no example calls to time; register some with {how}"
    if shapes in ("awkward", "all"):
        return f"{operation} is not called with --shapes {shapes}; give its {how} the cases awkward="
    return (
        f"{operation} is not called with --shapes {shapes}; try --shapes all or another model, "
        f"such as alexnet_mnist28_bn"
    )


def model_workloads(model: str, batch: int) -> list[Example]:
    """The calls of a training step of a model. Layers that make the same call share one workload."""
    network = load_model(model).build()
    found: dict[tuple, Example] = {}

    def add(examples: Iterable[Example], layer: str) -> None:
        for example in examples:
            key = (example.operation, example.shapes, repr(example.parameters))
            before = found.get(key)
            name = f"{model} {layer}" if before is None else f"{before.name}, {layer}"
            found[key] = replace(example, name=name)

    layers = list(placed_layers(network, batch))
    for layer in layers:
        # Nobody asks for the gradient of the images.
        skipped = "conv2d.input_grad" if layer is layers[0] else None
        add((each for each in _of_layer(layer) if each.operation != skipped), layer.name)
    add((*cross_entropy(*layers[-1].y), *softmax(layers[-1].y, 1)), "loss")
    rate = {"lr": LEARNING_RATE, "weight_decay": WEIGHT_DECAY}
    for layer in layers:
        for parameter in layer.module.parameters():
            # The rest of them together take less time than one large one.
            if parameter.ndim > 1:
                add(sgd(parameter.shape, momentum=MOMENTUM, **rate), layer.name)
                add(adam(parameter.shape, step=10, **rate), layer.name)
    for size in (512, 2048):
        add(product(size, size, size), f"beside: {size} x {size}")
    return list(found.values())


def _of_layer(placed: PlacedLayer) -> Iterator[Example]:
    """The kernels that a layer runs, forward and backward."""
    layer, x = placed.module, placed.x
    match layer:
        case nn.Conv2d():
            window, options = placed.window, {"dilation": placed.window.dilation, "groups": layer.groups}
            weight = layer.weight.shape
            yield from convolution(x, weight, stride=window.stride, padding=window.padding, **options)
            yield from total(placed.y, (0, 2, 3), values=normal)
        case nn.Linear():
            yield from dense(x[0], layer.in_features, layer.out_features)
        case nn.MaxPool2d():
            window, options = placed.window, {"ceil_mode": layer.ceil_mode, "values": normal}
            options |= {"stride": window.stride, "padding": window.padding, "dilation": window.dilation}
            yield from max_pooling(x, window.kernel_size, **options)
        case nn.AvgPool2d():
            window, options = placed.window, {"ceil_mode": layer.ceil_mode}
            options |= {"stride": window.stride, "padding": window.padding}
            options["count_include_pad"] = layer.count_include_pad
            yield from average_pooling(x, window.kernel_size, **options)
        case nn.LocalResponseNorm():
            alpha = layer.alpha if layer.alpha_mode == "sum" else layer.alpha / layer.size
            yield from response_normalisation(x, layer.size, alpha, layer.beta, layer.k)
        case nn.BatchNorm2d():
            yield from batch_normalisation(x, layer.axis, layer.eps)
        case nn.ReLU():
            yield from rectifier(x, values=normal)
        case nn.Dropout():
            yield from dropout(x, layer.p)
