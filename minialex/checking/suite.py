"""What `minialex gradcheck` goes through: every kernel of every operation, and every model.

An operation has cases (`minialex.checking.cases`): differentiable functions with small inputs, which the
checks call while `minialex.kernels.use` holds the kernel under check. Whoever registers a kernel, in the
package or in a plug-in, has it checked by the cases of its operation.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from minialex.checking.cases import make_cases
from minialex.checking.report import GradcheckError, Report
from minialex.checking.tensors import gradcheck, gradgradcheck
from minialex.devices import require_device, usable_devices
from minialex.errors import KernelError, MiniAlexError
from minialex.kernels import list_kernels, use
from minialex.models import Architecture, Network, get_architecture
from minialex.nn.init import initialise
from minialex.random import seeded
from minialex.tensor import Tensor

# They change parameters in place; tests hold them to their definition.
WITHOUT_GRADIENT = ("adam", "sgd")

_THINNER = 32
_MODEL_DIRECTIONS = 2
_SMALLEST_IMAGE = 12


@dataclass
class Row:
    """The outcome for one kernel, or one model.

    Attributes
    ----------
    operation, kernel : str
        The kernel as ``device, algorithm``; for a model what was made smaller.
    order : int
        1 for gradients, 2 for the gradients of gradients.
    mode : str
        ``"jacobian"`` or ``"directions"``.
    cases : int
        How many were run; `refused` counts those that the kernel does not support.
    elements, skipped : int
        Derivatives that were compared, and left out at kinks.
    worst_error, tolerance : float
        Relative to the largest derivative.
    error : GradcheckError or None
    """

    operation: str
    kernel: str
    order: int
    mode: str = "jacobian"
    cases: int = 0
    refused: int = 0
    elements: int = 0
    skipped: int = 0
    worst_error: float = 0.0
    tolerance: float = 0.0
    seconds: float = 0.0
    error: GradcheckError | None = field(default=None, repr=False)

    def add(self, report: Report) -> None:
        """Count one case that passed."""
        self.cases += 1
        self.mode = report.mode
        self.elements += report.compared
        self.skipped += report.skipped
        self.worst_error = max(self.worst_error, report.worst_error)
        self.tolerance = max(self.tolerance, report.tolerance)

    def to_dict(self) -> dict:
        """The row as JSON holds it."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "error"}
        return values | {"passed": self.error is None, "error": self.error and str(self.error)}


def check_kernels(
    operation: str | None = None,
    algorithm: str | None = None,
    device: str | None = None,
    *,
    seed: int = 0,
    quick: bool = False,
) -> Iterator[Row]:
    """Check each kernel that fits the names given; yield two rows for each, for first and second order.

    Without a device, the kernels of all devices that can be used here are checked.

    Raises
    ------
    DeviceError
        If a device is named that cannot be used.
    """
    where_to = usable_devices() if device is None else [require_device(device)]
    chosen: dict[tuple[str, str, str], list[str]] = {}
    for entry in list_kernels(operation, device):
        root = entry.operation.split(".")[0]
        if root in WITHOUT_GRADIENT or entry.device not in where_to:
            continue
        if algorithm in (None, entry.algorithm):
            chosen.setdefault((root, entry.device, entry.algorithm), []).append(entry.operation)
    for (root, where, algo), directions in chosen.items():
        choice = dict.fromkeys(directions, algo)
        for order in (1, 2):
            yield _check_cases(Row(root, f"{where}, {algo}", order), choice, where, seed, quick)


def _check_cases(row: Row, choice: dict[str, str], device: str, seed: int, quick: bool) -> Row:
    check = gradcheck if row.order == 1 else gradgradcheck
    mode = "directions" if quick else "auto"
    start = time.perf_counter()
    for number, case in enumerate(make_cases(row.operation, seed)):
        inputs = [Tensor(a, requires_grad=True, device=device) for a in case.arrays]
        try:
            with use(choice):
                report = check(
                    case.function,
                    inputs,
                    mode=mode,
                    seed=seed,
                    name=f"{row.operation}, {case.name}" + (", second order" if row.order == 2 else ""),
                    kernel=row.kernel,
                    reproduce=_reproduction(row, choice, number, device, seed, mode),
                )
            row.add(report)
        except GradcheckError as error:
            row.error = error
            break
        except KernelError:
            row.refused += 1
    row.seconds = time.perf_counter() - start
    return row


def _reproduction(row: Row, choice: dict[str, str], number: int, device: str, seed: int, mode: str) -> str:
    check = "gradcheck" if row.order == 1 else "gradgradcheck"
    return "\n".join(
        (
            "import minialex as ma",
            "from minialex.checking.cases import make_cases",
            "# For a kernel of a plug-in, ma.kernels.load_plugin(file) comes first.",
            f"case = make_cases({row.operation!r}, seed={seed})[{number}]",
            f"inputs = [ma.Tensor(a, requires_grad=True, device={device!r}) for a in case.arrays]",
            f"with ma.kernels.use({choice!r}):",
            f"    ma.{check}(case.function, inputs, mode={mode!r}, seed={seed})",
        )
    )


def check_model(name: str, *, seed: int = 0) -> Iterator[Row]:
    """Check a model with thin layers and small images, along random directions in every parameter."""
    network = thin_network(get_architecture(name))
    random = np.random.default_rng(seed)
    arrays = [random.standard_normal((2, *network.input_shape))]
    # Larger weights than networks start with: at 0.01 the first layer's gradient is lost in rounding.
    arrays += [
        random.standard_normal(p.shape) / np.sqrt(max(1, p.size / p.shape[0])) for p in network.parameters()
    ]

    def logits(x, *parameters):
        with seeded(seed), parameters_replaced(network, parameters):
            return network(x)

    size = f"widths / {_THINNER}, images of {network.input_shape[1]}"
    for order in (1, 2):
        row = Row(name, size, order)
        start = time.perf_counter()
        try:
            row.add(
                (gradcheck if order == 1 else gradgradcheck)(
                    logits,
                    [Tensor(a, requires_grad=True) for a in arrays],
                    mode="directions",
                    directions=_MODEL_DIRECTIONS,
                    seed=seed,
                    name=name,
                )
            )
        except GradcheckError as error:
            row.error = error
        row.seconds = time.perf_counter() - start
        yield row


def thin_network(architecture: Architecture) -> Network:
    """The network with a fraction of every width, for the smallest images that it can take, in float64."""
    thin = tuple(
        replace(layer, options=layer.options | {"outputs": _thinner(layer.options["outputs"])})
        if isinstance(layer.options.get("outputs"), int)
        else layer
        for layer in architecture.layers
    )
    for size in range(_SMALLEST_IMAGE, architecture.input_shape[1] + 1):
        small = replace(architecture, layers=thin, input_shape=(architecture.input_shape[0], size, size))
        try:
            network = small.build(3)
        except MiniAlexError:
            continue
        initialise(network, "he")
        return network.astype(np.float64)
    raise AssertionError(f"{architecture.name} can be built for its own images")


def _thinner(outputs: int) -> int:
    # Even, because the next convolution may cut them into two groups.
    return max(2, outputs // _THINNER // 2 * 2)


@contextmanager
def parameters_replaced(network: Network, parameters: Iterable[Tensor]) -> Iterator[None]:
    """Let a network compute with other tensors in place of its parameters, given in their order."""
    values = iter(parameters)
    before = [(module, dict(module._parameters)) for module in network.modules()]
    try:
        for module, own in before:
            for name, parameter in own.items():
                if parameter is not None:
                    module._parameters[name] = next(values)
        yield
    finally:
        for module, own in before:
            module._parameters.update(own)
