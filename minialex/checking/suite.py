"""What `minialex gradcheck` goes through: every kernel of every operation, and every model.

An operation has cases (`minialex.checking.cases`): differentiable functions with small inputs, which the
checks call while `minialex.kernels.use` holds the kernel under check. Whoever registers a kernel, in the
package or in a plug-in, has it checked by the cases of its operation.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from minialex.checking.cases import make_cases
from minialex.checking.report import GradcheckError, Report, worst_of
from minialex.checking.reproduction import options_text
from minialex.checking.tensors import gradcheck, gradgradcheck
from minialex.devices import require_device, usable_devices
from minialex.errors import KernelError, MiniAlexError
from minialex.kernels import list_kernels, load_plugin, use
from minialex.kernels.threads import set_num_threads
from minialex.models import Architecture, Network, get_architecture
from minialex.nn.init import initialise
from minialex.random import seeded
from minialex.tensor import Tensor

# They change parameters in place; tests hold them to their definition.
WITHOUT_GRADIENT = ("adam", "sgd")

_THINNER = 32
# Of wrong gradients in the gallery 8 directions miss no fewer.
_QUICK_DIRECTIONS = 4
_MODEL_DIRECTIONS = 2
# Fewer rows take less time than a process needs to start.
_ROWS_FOR_A_PROCESS = 20
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
        The error that takes the largest share of its tolerance, and that tolerance; relative to the largest
        derivative.
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
        pairs = [(self.worst_error, self.tolerance), (report.worst_error, report.tolerance)]
        self.worst_error, self.tolerance = worst_of(pairs)

    def to_dict(self) -> dict:
        """The row as JSON holds it."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "error"}
        return values | {"passed": self.error is None, "error": self.error and str(self.error)}


@dataclass(frozen=True)
class Task:
    """A row that is yet to be computed, in this process or in another.

    `choice` has the kernels to use, by operation; None for a model.
    """

    row: Row
    seed: int
    choice: dict[str, str] | None = None
    device: str = "cpu"
    quick: bool = False


def kernel_tasks(
    operation: str | None = None,
    algorithm: str | None = None,
    device: str | None = None,
    *,
    seed: int = 0,
    quick: bool = False,
) -> list[Task]:
    """What `check_kernels` computes, with the same arguments and errors."""
    where_to = usable_devices() if device is None else [require_device(device)]
    chosen: dict[tuple[str, str, str], list[str]] = {}
    for entry in list_kernels(operation, device):
        root = entry.operation.split(".")[0]
        if root in WITHOUT_GRADIENT or entry.device not in where_to:
            continue
        if algorithm in (None, entry.algorithm):
            chosen.setdefault((root, entry.device, entry.algorithm), []).append(entry.operation)
    return [
        Task(Row(root, f"{where}, {algo}", order), seed, dict.fromkeys(directions, algo), where, quick)
        for (root, where, algo), directions in chosen.items()
        for order in (1, 2)
    ]


def model_tasks(name: str, *, seed: int = 0) -> list[Task]:
    """What `check_model` computes, with the same arguments and errors."""
    size = thin_network(get_architecture(name)).input_shape[1]
    return [Task(Row(name, f"widths / {_THINNER}, images of {size}", order), seed) for order in (1, 2)]


def run(task: Task) -> Row:
    """Compute a row."""
    start = time.perf_counter()
    # A task may be run again.
    row = replace(task.row)
    if task.choice is None:
        _check_model(row, task.seed)
    else:
        _check_cases(row, task.choice, task.device, task.seed, task.quick)
    row.seconds = time.perf_counter() - start
    return row


def run_all(tasks: Sequence[Task], jobs: int = 1, plugin: Path | None = None) -> Iterator[Row]:
    """Compute the rows of tasks, in their order.

    Parameters
    ----------
    tasks : sequence of Task
    jobs : int
        In how many processes, each with one thread, if there are enough rows.
    plugin : path, optional
        A file of kernels that was loaded, for the other processes to load.
    """
    jobs = min(jobs, len(tasks) // _ROWS_FOR_A_PROCESS)
    if jobs < 2:
        yield from map(run, tasks)
        return
    # Not forked: threads that hold locks are not copied.
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin, (plugin,))
    try:
        yield from pool.map(run, tasks)
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(plugin: Path | None) -> None:
    """Make a process ready to run tasks. It ends with the one that started it, which heeds Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    set_num_threads(1)
    if plugin is not None:
        load_plugin(plugin)


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
    yield from map(run, kernel_tasks(operation, algorithm, device, seed=seed, quick=quick))


def _check_cases(row: Row, choice: dict[str, str], device: str, seed: int, quick: bool) -> None:
    check = gradcheck if row.order == 1 else gradgradcheck
    options = {"mode": "directions", "directions": _QUICK_DIRECTIONS} if quick else {"mode": "auto"}
    for number, case in enumerate(make_cases(row.operation, seed)):
        inputs = [Tensor(a, requires_grad=True, device=device) for a in case.arrays]
        try:
            with use(choice):
                report = check(
                    case.function,
                    inputs,
                    **options,
                    seed=seed,
                    name=f"{row.operation}, {case.name}" + (", second order" if row.order == 2 else ""),
                    kernel=row.kernel,
                    reproduce=_reproduction(row, choice, number, device, seed, options),
                )
            row.add(report)
        except GradcheckError as error:
            row.error = error
            break
        except KernelError:
            row.refused += 1


def _reproduction(
    row: Row, choice: dict[str, str], number: int, device: str, seed: int, options: dict
) -> str:
    check = "gradcheck" if row.order == 1 else "gradgradcheck"
    return "\n".join(
        (
            "import minialex as ma",
            "from minialex.checking.cases import make_cases",
            "# For a kernel of a plug-in, ma.kernels.load_plugin(file) comes first.",
            f"case = make_cases({row.operation!r}, seed={seed})[{number}]",
            f"inputs = [ma.Tensor(a, requires_grad=True, device={device!r}) for a in case.arrays]",
            f"with ma.kernels.use({choice!r}):",
            f"    ma.{check}(case.function, inputs, seed={seed}{options_text(**options)})",
        )
    )


def check_model(name: str, *, seed: int = 0) -> Iterator[Row]:
    """Check a model with thin layers and small images, along random directions in every parameter."""
    yield from map(run, model_tasks(name, seed=seed))


def _check_model(row: Row, seed: int) -> None:
    network = thin_network(get_architecture(row.operation))
    random = np.random.default_rng(seed)
    arrays = [random.standard_normal((2, *network.input_shape))]
    # Larger weights than networks start with: at 0.01 the first layer's gradient is lost in rounding.
    arrays += [
        random.standard_normal(p.shape) / np.sqrt(max(1, p.size / p.shape[0])) for p in network.parameters()
    ]

    def logits(x, *parameters):
        with seeded(seed), parameters_replaced(network, parameters):
            return network(x)

    try:
        row.add(
            (gradcheck if row.order == 1 else gradgradcheck)(
                logits,
                [Tensor(a, requires_grad=True) for a in arrays],
                mode="directions",
                directions=_MODEL_DIRECTIONS,
                seed=seed,
                name=row.operation,
            )
        )
    except GradcheckError as error:
        row.error = error


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
