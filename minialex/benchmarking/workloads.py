"""What kernels are timed on: the calls that a network makes, read from its layers, and awkward ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from minialex import nn
from minialex.benchmarking.layers import PlacedLayer, placed_layers
from minialex.benchmarking.tasks import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY
from minialex.checks import require_int
from minialex.errors import KernelError
from minialex.kernels import list_kernels, output_shape
from minialex.kernels.elementwise.shape import BINARY, UNARY
from minialex.models import get_architecture

Shape = tuple[int, ...]


# How the arrays of a call are filled, given a generator, a shape and a dtype.


def normal(generator: np.random.Generator, shape: Shape, dtype) -> np.ndarray:
    """Standard normal values."""
    return generator.standard_normal(shape, np.float32).astype(dtype, copy=False)


def positive(generator: np.random.Generator, shape: Shape, dtype) -> np.ndarray:
    """Values from 0.5 to 1.5."""
    return (generator.random(shape, np.float32) + np.float32(0.5)).astype(dtype, copy=False)


def probabilities(generator: np.random.Generator, shape: Shape, dtype) -> np.ndarray:
    """Rows (..., C) that add up to 1."""
    values = positive(generator, shape, np.float64)
    return (values / values.sum(axis=-1, keepdims=True)).astype(dtype)


def log_probabilities(generator: np.random.Generator, shape: Shape, dtype) -> np.ndarray:
    """The logarithms of such rows."""
    return np.log(probabilities(generator, shape, np.float64)).astype(dtype)


def winners_in(size: tuple[int, int]) -> Callable:
    """Places in a plane (H, W), int32."""

    def fill(generator, shape, dtype):
        return generator.integers(0, size[0] * size[1], shape, np.int32)

    return fill


@dataclass(frozen=True)
class Workload:
    """One call of an operation's kernels."""

    # Such as "conv2d.forward".
    operation: str
    # The positional arguments: how each is shaped and filled.
    arrays: tuple[tuple[Shape, Callable] | None, ...]
    # The keyword arguments.
    parameters: dict = field(default_factory=dict)
    # The floating-point operations of the definition's products, two each; 0 where there are none.
    operations: int = 0
    # The positions of the arrays that kernels of this operation change in place.
    changes: tuple[int, ...] = ()
    # Such as "alexnet conv1".
    name: str = ""

    def draw(self, dtype) -> tuple[np.ndarray | None, ...]:
        """The arrays, the same at every call."""
        generator = np.random.default_rng(0)
        return tuple(None if a is None else a[1](generator, a[0], dtype) for a in self.arrays)

    def undefined(self, dtype=np.float32) -> tuple[np.ndarray | None, ...]:
        """Arrays of the same shapes and types, not filled: the system gives them no memory."""
        return tuple(None if a is None else _undefined(*a, dtype) for a in self.arrays)

    @property
    def shapes(self) -> tuple[Shape | None, ...]:
        return tuple(None if a is None else a[0] for a in self.arrays)

    @property
    def elements(self) -> int:
        """The elements of the arguments."""
        return sum(math.prod(shape) for shape in self.shapes if shape is not None)


def _undefined(shape: Shape, fill: Callable, dtype) -> np.ndarray:
    one = fill(np.random.default_rng(0), (1,) * len(shape), dtype)
    return np.empty(shape, one.dtype)


def workloads(operation: str | None, shapes: str, batch: int) -> list[Workload]:
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
    found: list[Workload] = []
    if shapes != "awkward":
        found += model_workloads("alexnet" if shapes == "all" else shapes, batch)
    if shapes in ("awkward", "all"):
        found += awkward_workloads()
    chosen = [each for each in found if operation in (None, each.operation, each.operation.split(".")[0])]
    if not chosen:
        raise KernelError(
            f"{operation} is not called with --shapes {shapes}; try --shapes all or another model, "
            f"such as alexnet_mnist28_bn"
        )
    return chosen


def model_workloads(model: str, batch: int) -> list[Workload]:
    """The calls of a training step of a model. Layers that make the same call share one workload."""
    network = get_architecture(model).build()
    found: dict[tuple, Workload] = {}

    def add(workloads: Iterable[Workload], layer: str) -> None:
        for workload in workloads:
            key = (workload.operation, workload.shapes, repr(workload.parameters))
            before = found.get(key)
            name = f"{model} {layer}" if before is None else f"{before.name}, {layer}"
            found[key] = replace(workload, name=name)

    layers = list(placed_layers(network, batch))
    for layer in layers:
        # Nobody asks for the gradient of the images.
        skipped = "conv2d.input_grad" if layer is layers[0] else None
        add((each for each in _of_layer(layer) if each.operation != skipped), layer.name)
    add(_loss(layers[-1].y), "loss")
    for layer, (name, _) in zip(layers, network.named_children(), strict=True):
        for parameter in layer.module.parameters():
            # The rest of them together take less time than one large one.
            if parameter.ndim > 1:
                add(_updates(parameter.shape), name)
    for size in (512, 2048):
        add(_matmul(size, size, size), f"beside: {size} x {size}")
    return list(found.values())


def _of_layer(placed: PlacedLayer) -> Iterator[Workload]:
    """The kernels that a layer runs, forward and backward."""
    layer, x, y = placed.module, placed.x, placed.y
    match layer:
        case nn.Conv2d():
            window = placed.window
            parameters = _window(window.stride, window.padding, window.dilation) | {"groups": layer.groups}
            yield from _convolution(x, layer.weight.shape, parameters)
            yield Workload("sum.forward", ((y, normal),), {"axis": (0, 2, 3), "keepdims": False})
        case nn.Linear():
            yield from _dense(x[0], layer.in_features, layer.out_features)
        case nn.MaxPool2d():
            window = placed.window
            parameters = _window(window.stride, window.padding, window.dilation)
            yield from _max_pool(x, window.kernel_size, parameters, layer.ceil_mode)
        case nn.AvgPool2d():
            window = placed.window
            options = {"ceil_mode": layer.ceil_mode, "count_include_pad": layer.count_include_pad}
            yield from _avg_pool(x, window.kernel_size, window.stride, window.padding, options)
        case nn.LocalResponseNorm():
            alpha = layer.alpha if layer.alpha_mode == "sum" else layer.alpha / layer.size
            yield from _response_norm(x, layer.size, alpha, layer.beta, layer.k)
        case nn.BatchNorm2d():
            yield from _batch_norm(x, layer.axis, layer.eps)
        case nn.ReLU():
            yield from _relu(x)
        case nn.Dropout():
            yield from _dropout(x, layer.p)


def awkward_workloads() -> list[Workload]:
    """Prime lengths, a batch of one, many small groups, dilation, unequal padding, tiny arrays."""
    same, unequal = ((1, 1), (1, 1)), ((1, 0), (0, 1))
    primes, plane, length = (3, 17, 37, 41), (7, 13, 101, 3), (1_000_003,)

    def conv(x, weight, groups=1, **window):
        return _convolution(x, weight, _window(**window) | {"groups": groups})

    averaged = {"ceil_mode": True, "count_include_pad": False}
    calls = [
        ("tiny", conv((2, 3, 7, 6), (4, 3, 3, 2), padding=unequal)),
        ("batch 1", conv((1, 256, 13, 13), (384, 256, 3, 3), padding=same)),
        ("prime lengths", conv(primes, (23, 17, 3, 5), padding=((1, 2), (0, 3)))),
        ("depthwise", conv((8, 64, 29, 31), (64, 1, 3, 3), 64, padding=same)),
        ("dilated", conv((2, 24, 40, 33), (40, 24, 3, 3), padding=same, dilation=(2, 3))),
        ("stride above kernel", conv((4, 19, 61, 53), (12, 19, 2, 2), stride=(3, 3))),
        ("1x1", conv((4, 96, 27, 27), (64, 96, 1, 1))),
        ("prime lengths", _max_pool(primes, (3, 2), _window((2, 3), unequal), True)),
        ("dilated", _max_pool((2, 24, 40, 33), (3, 3), _window(padding=same, dilation=(2, 3)), False)),
        ("prime lengths", _avg_pool(primes, (3, 2), (2, 3), unequal, averaged)),
        ("prime lengths, alpha 1", _response_norm(primes, 5, 1.0, 0.75, 1.0)),
        ("window beyond the channels", _response_norm((8, 3, 61, 53), 9, 0.5, 0.6, 2.0)),
        ("prime lengths", _batch_norm(primes, 1, 1e-5)),
        ("rows", _batch_norm((5, 6, 31, 29), 2, 1e-5)),
        ("prime lengths", _dense(31, 1021, 509)),
        ("batch 1", _dense(1, 4096, 1000)),
        ("prime length", _relu(length)),
        ("prime length", _dropout(length, 0.3)),
        ("prime lengths", _matmul(509, 1021, 307)),
        ("one row", _matmul(1, 4096, 1000)),
        ("prime lengths", _loss((31, 1009))),
        ("prime length", _updates(length)),
        ("broadcast", _binary(plane)),
        ("prime lengths", _unary(plane)),
        ("prime lengths", _reductions(plane)),
        ("every second row", _index_add(plane)),
    ]
    return [replace(each, name=name) for name, group in calls for each in group]


def _window(stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1)) -> dict:
    return {"stride": stride, "padding": padding, "dilation": dilation}


def _convolution(x: Shape, weight: Shape, window: dict) -> Iterator[Workload]:
    y = output_shape("conv2d", x, weight, **window)
    products = 2 * math.prod(y) * math.prod(weight[1:])
    xs, ws, gs, bias = (x, normal), (weight, normal), (y, normal), (weight[:1], normal)
    yield Workload("conv2d.forward", (xs, ws, bias), window, products)
    yield Workload("conv2d.input_grad", (gs, ws), {"input_size": x[2:], **window}, products)
    yield Workload("conv2d.weight_grad", (gs, xs), {"kernel_size": weight[2:], **window}, products)


def _max_pool(x: Shape, kernel_size: Shape, window: dict, ceil_mode: bool) -> Iterator[Workload]:
    window = {"kernel_size": kernel_size, **window, "ceil_mode": ceil_mode}
    y = output_shape("max_pool2d", x, **window)
    index = (y, winners_in(x[2:]))
    yield Workload("max_pool2d.forward", ((x, normal),), window)
    yield Workload("max_pool2d.scatter", ((y, normal), index), {"input_size": x[2:]})
    yield Workload("max_pool2d.gather", ((x, normal), index))


def _avg_pool(x: Shape, kernel_size: Shape, stride: Shape, padding, options: dict) -> Iterator[Workload]:
    window = {"kernel_size": kernel_size, "stride": stride, "padding": padding, **options}
    y = output_shape("avg_pool2d", x, **window)
    yield Workload("avg_pool2d.forward", ((x, normal),), window)
    yield Workload("avg_pool2d.input_grad", ((y, normal),), {"input_size": x[2:], **window})


def _response_norm(x: Shape, size: int, alpha: float, beta: float, k: float) -> Iterator[Workload]:
    parameters = {"size": size, "alpha": alpha, "beta": beta, "k": k}
    yield Workload("local_response_norm.forward", ((x, normal),), parameters)
    yield Workload("local_response_norm.backward", ((x, normal), (x, normal)), parameters)
    yield Workload("channel_window_sum.forward", ((x, normal),), {"size": size})


def _batch_norm(x: Shape, axis: int, eps: float) -> Iterator[Workload]:
    features, parameters = (x[axis],), {"axis": axis, "eps": eps}
    weight, var = (features, normal), (features, positive)
    yield Workload("batch_norm.forward", ((x, normal), weight, weight), parameters)
    yield Workload("batch_norm.evaluate", ((x, normal), weight, weight, weight, var), parameters)
    yield Workload("batch_norm.backward", ((x, normal), (x, normal), weight, weight, var), parameters)


def _dense(batch: int, inputs: int, outputs: int) -> Iterator[Workload]:
    products = 2 * batch * inputs * outputs
    x, weight, g = ((batch, inputs), normal), ((outputs, inputs), normal), ((batch, outputs), normal)
    yield Workload("linear.forward", (x, weight, ((outputs,), normal)), {}, products)
    yield Workload("linear.input_grad", (g, weight), {}, products)
    yield Workload("linear.weight_grad", (g, x), {}, products)


def _relu(x: Shape) -> Iterator[Workload]:
    yield Workload("relu.forward", ((x, normal),))
    yield Workload("relu.backward", ((x, normal), (x, normal)))


def _dropout(x: Shape, p: float) -> Iterator[Workload]:
    yield Workload("dropout.forward", ((x, normal),), {"p": p, "seed": 1, "offset": 2})


def _matmul(rows: int, inner: int, columns: int) -> Iterator[Workload]:
    arrays = (((rows, inner), normal), ((inner, columns), normal))
    yield Workload("matmul.forward", arrays, {}, 2 * rows * inner * columns)


def _loss(logits: Shape) -> Iterator[Workload]:
    x, target, per_row = (logits, normal), (logits, probabilities), (logits[:1], normal)
    yield Workload("cross_entropy.forward", (x, target))
    yield Workload("cross_entropy.backward", (per_row, x, target))
    yield Workload("softmax.forward", (x,), {"axis": 1})
    yield Workload("softmax.backward", (x, target), {"axis": 1})
    yield Workload("log_softmax.forward", (x,), {"axis": 1})
    yield Workload("log_softmax.backward", (x, (logits, log_probabilities)), {"axis": 1})


def _updates(shape: Shape) -> Iterator[Workload]:
    p, decay = (shape, normal), {"weight_decay": WEIGHT_DECAY}
    sgd = {"lr": LEARNING_RATE, "momentum": MOMENTUM, **decay, "nesterov": False}
    betas = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    adam = {"lr": LEARNING_RATE, **betas, **decay, "decoupled": False, "step": 10}
    yield Workload("sgd.update", (p, p, p), sgd, changes=(0, 2))
    yield Workload("adam.update", (p, p, p, (shape, positive)), adam, changes=(0, 2, 3))


def _binary(shape: Shape) -> Iterator[Workload]:
    for operation in BINARY:
        yield Workload(f"{operation}.forward", ((shape, normal), ((shape[1], 1, 1), positive)))


def _unary(shape: Shape) -> Iterator[Workload]:
    for operation in UNARY:
        parameters = {"exponent": -0.75} if operation == "power" else {}
        yield Workload(f"{operation}.forward", ((shape, positive),), parameters)


def _reductions(shape: Shape) -> Iterator[Workload]:
    for operation in ("sum", "amax"):
        parameters = {"axis": (0, 2, 3), "keepdims": False}
        yield Workload(f"{operation}.forward", ((shape, normal),), parameters)


def _index_add(shape: Shape) -> Iterator[Workload]:
    rows = tuple(range(0, shape[0], 2))
    parameters = {"index": slice(None, None, 2), "shape": shape}
    yield Workload("index_add.forward", (((len(rows), *shape[1:]), normal),), parameters)
