"""What `minialex gradcheck` goes through: every kernel of every operation, and every model.

An operation has cases (`cases`): differentiable functions with small inputs, which the checks call while the
engine is held to the kernel under check. Whoever registers a kernel, in the package or in a plug-in, has it
checked by the cases of its operation, and where it supports none of these by cases that are drawn for it
(`drawn_cases`). A kernel none of whose derivatives was compared is unchecked, which is not a pass.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from minialex.availability import require_device, usable_devices
from minialex.checking.adapters.tensors import gradcheck, gradgradcheck
from minialex.checking.kernels import compositions
from minialex.checking.kernels.cases import Case, make_cases
from minialex.checking.kernels.derivatives import QUICK_DIRECTIONS, KernelDerivatives
from minialex.checking.kernels.rows import Row
from minialex.checking.kernels.thin_models import description, model_case
from minialex.checking.report import GradcheckError
from minialex.checking.reproduction import options_text
from minialex.kernels import list_kernels, load_plugin
from minialex.kernels.runtime.threads import set_num_threads
from minialex.models import get_architecture, list_models
from minialex.tensor import Tensor

# They change parameters in place; tests hold them to their definition.
WITHOUT_GRADIENT = ("adam", "sgd")

# Arrays of parameters that a model checked by default has: a deeper one takes minutes.
_MOST_PARAMETERS = 64
_MODEL_DIRECTIONS = 2
# Fewer rows take less time than a process needs to start.
_ROWS_FOR_A_PROCESS = 20


@dataclass(frozen=True)
class Task:
    """A row that is yet to be computed, in this process or in another.

    `choice` has the kernels to use, by operation; none for a composition, and None for a model.
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
    if operation in compositions.names():
        return [] if algorithm or device else composition_tasks([operation], seed=seed, quick=quick)
    chosen: dict[tuple[str, str, str], list[str]] = {}
    for entry in list_kernels(operation, device):
        root = entry.operation.split(".")[0]
        if root in WITHOUT_GRADIENT or entry.device not in where_to:
            continue
        if algorithm in (None, entry.algorithm):
            chosen.setdefault((root, entry.device, entry.algorithm), []).append(entry.operation)
    tasks = [
        Task(Row(root, f"{where}, {algo}", order), seed, dict.fromkeys(directions, algo), where, quick)
        for (root, where, algo), directions in chosen.items()
        for order in (1, 2)
    ]
    # Asking for particular kernels asks for no compositions.
    if (operation, algorithm, device) == (None, None, None):
        tasks += composition_tasks(compositions.names(), seed=seed, quick=quick)
    return tasks


def composition_tasks(names: Sequence[str], *, seed: int = 0, quick: bool = False) -> list[Task]:
    """Rows for functions without kernels of their own; of their parts, the engine takes the kernels."""
    return [
        Task(Row(name, "a composition", order), seed, {}, quick=quick) for name in names for order in (1, 2)
    ]


def models_by_default() -> list[str]:
    """The models that are checked where nobody names one: those that take seconds, not minutes."""
    counts = {name: len(list(get_architecture(name).build().parameters())) for name in list_models()}
    return [name for name, count in counts.items() if count <= _MOST_PARAMETERS]


def model_tasks(name: str, *, seed: int = 0) -> list[Task]:
    """What `check_model` computes, with the same arguments and errors."""
    what = description(name)
    return [Task(Row(name, what, order), seed) for order in (1, 2)]


def run(task: Task) -> Row:
    """Compute a row."""
    start = time.perf_counter()
    # A task may be run again.
    row = replace(task.row)
    if task.choice is None:
        _check_model(row, task.seed)
    elif not task.choice:
        _check_composition(row, task.seed, task.quick)
    else:
        KernelDerivatives(row, task.choice, task.device, task.seed, task.quick).run()
    if not row.compared and row.error is None and not row.unchecked and not row.unused:
        row.unchecked = "no derivative that is not 0 was compared"
    row.seconds = time.perf_counter() - start
    return row


def run_all(tasks: Sequence[Task], jobs: int = 1, plugin: Path | None = None) -> Iterator[Row]:
    """Compute the rows of tasks, in their order; without those of kernels that have no part in them.

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
        yield from (row for row in map(run, tasks) if not row.unused)
        return
    # Not forked: threads that hold locks are not copied.
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin, (plugin,))
    try:
        yield from (row for row in pool.map(run, tasks) if not row.unused)
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
    yield from run_all(kernel_tasks(operation, algorithm, device, seed=seed, quick=quick))


def check_model(name: str, *, seed: int = 0) -> Iterator[Row]:
    """Check a model with thin layers and small images, along random directions in every parameter."""
    yield from map(run, model_tasks(name, seed=seed))


def _check_model(row: Row, seed: int) -> None:
    made = [
        "from minialex.checking.kernels.thin_models import model_case",
        f"case = model_case({row.operation!r}, seed={seed})",
    ]
    options = {"mode": "directions", "directions": _MODEL_DIRECTIONS, "seed": seed}
    _check_case(row, model_case(row.operation, seed), row.operation, made, options)


def _check_composition(row: Row, seed: int, quick: bool) -> None:
    options = {"mode": "directions", "directions": QUICK_DIRECTIONS} if quick else {"mode": "auto"}
    # What the row compared is told by all its cases together.
    options |= {"seed": seed, "min_compared": 0}
    for number, case in enumerate(make_cases(row.operation, seed)):
        made = [
            "from minialex.checking.kernels.cases import make_cases",
            f"case = make_cases({row.operation!r}, seed={seed})[{number}]",
        ]
        name = f"{row.operation}, {case.name}" if case.name else row.operation
        _check_case(row, case, name, made, options)
        if row.error is not None:
            return


def _check_case(row: Row, case: Case, name: str, made: list[str], options: dict) -> None:
    """Add one case to a row: what was compared, or the error; `made` has the lines that make it again."""
    check = gradcheck if row.order == 1 else gradgradcheck
    code = [
        "import minialex as ma",
        *made,
        "inputs = [ma.Tensor(a, requires_grad=True) for a in case.arrays]",
        f"ma.{check.__name__}(case.function, inputs{options_text(**options)})",
    ]
    inputs = [Tensor(a, requires_grad=True) for a in case.arrays]
    try:
        row.add(check(case.function, inputs, **options, name=name, reproduce="\n".join(code)))
    except GradcheckError as error:
        row.error = error
