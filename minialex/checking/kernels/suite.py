"""What `minialex gradcheck` goes through: every kernel of every operation, and every model.

An operation has cases (`cases`): differentiable functions with small inputs, which the checks call while the
engine is held to the kernel under check. Whoever registers a kernel, in the package or in a plug-in, has it
checked by the cases of its operation, and where it supports none of these by cases that are drawn for it
(`drawn_cases`). A kernel none of whose derivatives was compared is unchecked, which is not a pass.

A case is checked in float64 against numerical derivatives, then against the operation's definition
(`agreement`). What a float32-only kernel computes is checked against the definition, derivative by
derivative, after the definition was checked against numerical ones.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from minialex.autograd import no_grad
from minialex.availability import require_device, usable_devices
from minialex.checking.adapters.tensors import gradcheck, gradgradcheck
from minialex.checking.kernels.agreement import (
    Agreement,
    Setting,
    check_agreement,
    differentiate,
    tolerance_of,
)
from minialex.checking.kernels.cases import Case, make_cases
from minialex.checking.kernels.drawn_cases import case_code, case_of, drawn_calls, usual_calls
from minialex.checking.kernels.kernel_runs import KernelRuns
from minialex.checking.kernels.races import check_kernel
from minialex.checking.kernels.whole_calls import check_calls
from minialex.checking.report import GradcheckError, Report, worst_of
from minialex.checking.reproduction import options_text
from minialex.checking.results import UNCHECKED, WRONG, Result
from minialex.errors import KernelError, MiniAlexError
from minialex.kernels import Kernel, find_kernel, list_kernels, load_plugin, ranked, use
from minialex.kernels.contract.registry import REFERENCE
from minialex.kernels.runtime.threads import set_num_threads
from minialex.models import Architecture, Network, get_architecture
from minialex.models.initialisers import initialise
from minialex.random import seeded
from minialex.tensor import Tensor

# They change parameters in place; tests hold them to their definition.
WITHOUT_GRADIENT = ("adam", "sgd")

_THINNER = 32
# Of wrong gradients in the gallery 8 directions miss no fewer.
_QUICK_DIRECTIONS = 4
_MODEL_DIRECTIONS = 2
# How often a model's inputs are drawn until they reach its result.
_DRAWS = 20
_MOVED = 0.01
# How many cases are drawn for a kernel that supports no others; twice as many until each direction has run.
_DRAWN_CASES = 4
# Checks that fail where the numerical derivatives themselves are poor.
_OF_VALUES = ("values", "kinks", "uncertain", "nothing compared")
# The relative error up to which what is the same but for rounding is the same, in float32.
_CLOSE = 512 * float(np.finfo(np.float32).eps)
_FIGURES = (
    "order",
    "mode",
    "dtype",
    "cases",
    "drawn",
    "refused",
    "compared",
    "zeros",
    "skipped",
    "uncertain",
)
# A derivative known to a tenth of itself is hardly known.
_WIDEST = 0.1
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
        ``"jacobian"`` or ``"directions"``: against numerical derivatives; ``"reference"``: each derivative,
        against that of the operation's definition, for a kernel that computes in float32 only.
    dtype : str
    cases : int
        How many were run, of which `drawn` were drawn for the kernel; `refused` counts those of the operation
        that it does not support.
    compared, zeros : int
        Derivatives that were compared: those that are not 0, and those that are 0 on both sides.
    skipped, uncertain : int
        Derivatives that were left out: at kinks, and where rounding leaves too little of them.
    worst_error, tolerance : float
        The error that takes the largest share of its tolerance, and that tolerance; relative to the largest
        derivative.
    error : GradcheckError or None
    unchecked : str
        Why nothing was compared, of the kernel or of one of its directions; "" if that is not so.
    unused : bool
        Whether derivatives of this order do not take the kernel at all.
    """

    operation: str
    kernel: str
    order: int
    mode: str = "jacobian"
    dtype: str = "float64"
    cases: int = 0
    drawn: int = 0
    refused: int = 0
    compared: int = 0
    zeros: int = 0
    skipped: int = 0
    uncertain: int = 0
    worst_error: float = 0.0
    tolerance: float = 0.0
    seconds: float = 0.0
    unchecked: str = ""
    unused: bool = False
    error: GradcheckError | None = field(default=None, repr=False)

    @property
    def passed(self) -> bool:
        return self.error is None and not self.unchecked

    def add(self, report: Report | Agreement) -> None:
        """Count one case that passed."""
        self.cases += 1
        self.compared += report.compared
        self.zeros += report.zeros
        if isinstance(report, Report):
            self.mode = report.mode
            self.skipped += report.skipped
            self.uncertain += report.uncertain
        pairs = [(self.worst_error, self.tolerance), (report.worst_error, report.tolerance)]
        self.worst_error, self.tolerance = worst_of(pairs)

    def to_result(self) -> Result:
        """The row as files of results hold it."""
        figures = {name: getattr(self, name) for name in _FIGURES} | {
            "worst error": self.worst_error,
            "tolerance": self.tolerance,
        }
        name = f"{self.kernel}, order {self.order}"
        failure = {}
        if self.error is not None:
            failure = {"verdict": WRONG, "message": self.error.summary, "text": str(self.error)}
        elif self.unchecked:
            failure = {"verdict": UNCHECKED, "message": self.unchecked, "text": self.unchecked}
        return Result(self.operation, name, seconds=self.seconds, figures=figures, **failure)

    def to_dict(self) -> dict:
        """The row as JSON holds it."""
        left_out = ("error", "unchecked", "unused")
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in left_out}
        return values | {
            "passed": self.passed,
            "unchecked": bool(self.unchecked),
            "reason": self.unchecked or None,
            "error": self.error and str(self.error),
        }


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
        _KernelCheck(row, task.choice, task.device, task.seed, task.quick).run()
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


@dataclass
class _KernelCheck:
    """The checks of a row: of the kernels of one operation, device and algorithm, one for each direction."""

    row: Row
    choice: dict[str, str]
    device: str
    seed: int
    quick: bool

    def __post_init__(self):
        self.kernels = [
            find_kernel(operation, algo=algorithm, device=self.device)
            for operation, algorithm in self.choice.items()
        ]
        self.dtype = np.dtype(np.float64)
        if not all(entry.takes(self.dtype) for entry in self.kernels):
            self.dtype = np.dtype(np.float32)
            self.row.mode = "reference"
        self.row.dtype = self.dtype.name
        # What a float32-only kernel computes is compared derivative by derivative.
        self.setting = Setting(
            self.choice, self.device, self.row.order, self.dtype.name, self.dtype != np.float64, self.seed
        )
        # Of cases that were compared.
        self.has_run: set[str] = set()
        self.refusals: Counter[tuple[str, str]] = Counter()

    def run(self) -> None:
        row = self.row
        promised = max(entry.error or 0.0 for entry in self.kernels)
        if tolerance_of(promised, row.order) > _WIDEST:
            row.unchecked = f"it promises a relative error of {promised:g} only, with which it is never wrong"
            return
        try:
            cases = make_cases(row.operation, self.seed)
        except KernelError as error:
            row.unchecked = str(error)
            return
        except Exception as error:
            row.unchecked = f"the cases of {row.operation} raise {type(error).__name__}: {error}"
            return
        try:
            for number, case in enumerate(cases):
                code = [
                    "from minialex.checking.kernels.cases import make_cases",
                    f"case = make_cases({row.operation!r}, seed={self.seed})[{number}]",
                ]
                row.refused += not self.check(case, code)
            if row.refused and self.missing():
                self.check_drawn()
            if row.order == 1 and self.of_a_plugin():
                self.check_as_networks_call()
        except GradcheckError as error:
            row.error = error
            return
        if row.order == 1 and not row.refused and not self.has_run:
            row.unused = True
        elif self.missing() and not row.unchecked:
            row.unchecked = self.why_unchecked()

    def missing(self) -> list[str]:
        """The directions that took no part in what was compared, and should have."""
        missing = [operation for operation in self.choice if operation not in self.has_run]
        if self.row.order == 1 and self.has_run:
            # Some serve second derivatives only. Those that refused a call serve these.
            refused = {operation for operation, _ in self.refusals}
            missing = [operation for operation in missing if operation in refused]
        return missing

    def check_drawn(self) -> None:
        """Check cases that the kernels are likely to support, until each of them has run in some."""
        row = self.row
        try:
            for call in drawn_calls(row.operation, self.kernels, self.seed):
                row.drawn += self.check(case_of(call), case_code(call))
                if row.drawn >= 2 * _DRAWN_CASES:
                    break
                if row.drawn >= _DRAWN_CASES and not self.missing():
                    break
        except KernelError as error:
            row.unchecked = f"it supports no case of {row.operation}; {error}"

    def check_as_networks_call(self) -> None:
        """Compare kernels of a plug-in with the reference: in whole calls, then in those of networks."""
        for entry in self.kernels:
            check_calls(entry, seed=self.seed)
            if entry.device == "cuda-host":
                self.check_launches(entry)
        # Each direction of a convolution or a pooling, also where there are no usual calls of its own.
        for call in usual_calls(self.row.operation, self.seed):
            case, code = case_of(call), case_code(call)
            if self._trial(case, code) is None:
                continue
            lines = [*self._plugin_note(), "import numpy as np", *code]
            name = f"{self.row.operation}, {case.name} [{self.row.kernel}]"
            check_agreement(case, replace(self.setting, jacobian=False), name, self._agreement_code(lines))

    def check_launches(self, kernel: Kernel) -> None:
        """Let the executor's checker look at each launch: what is right on a processor may be a race."""
        try:
            found = check_kernel(kernel, self.dtype, self.seed)
        except KernelError:
            return  # It supports none of the calls that launches are looked at in.
        if found.findings:
            call, finding = found.findings[0]
            raise GradcheckError(
                finding.kind,
                f"in {call}: {finding}",
                operation=kernel.operation,
                kernel=self.row.kernel,
                reproduce="\n".join(
                    [
                        *self._plugin_note(),
                        "from minialex.checking.kernels.races import check_kernel",
                        "from minialex.kernels import find_kernel",
                        f"kernel = find_kernel({kernel.operation!r}, algo={kernel.algorithm!r}, "
                        "device='cuda-host')",
                        f"print(check_kernel(kernel, {self.dtype.name!r}, {self.seed}).findings)",
                    ]
                ),
            )

    def why_unchecked(self) -> str:
        missing = ", ".join(self.missing())
        if not self.refusals:
            return f"no case of {self.row.operation} runs {missing}"
        (_, reason), _ = self.refusals.most_common(1)[0]
        return (
            f"no case was found that {missing} supports: {reason}. Let it state its domain=, from which "
            "cases are drawn"
        )

    def check(self, case: Case, code: list[str]) -> bool:
        """Check a case; False if the kernels refuse it. One that they have no part in counts as nothing."""
        row = self.row
        runs = self._trial(case, code)
        if runs is None:
            return False
        if not runs.run:
            return True
        name = f"{row.operation}, {case.name}" + (", second order" if row.order == 2 else "")
        lines = [*self._plugin_note(), "import numpy as np", "import minialex as ma", *code]
        in_float64 = self.dtype == np.float64
        options = {"mode": "auto"}
        if self.quick or not in_float64:
            # The reference kernels have a row of their own, in which they are checked in full.
            options = {"mode": "directions", "directions": _QUICK_DIRECTIONS}
        report = self._numeric(case, name, lines, options, reference=not in_float64)
        if not in_float64:
            self._behaviour(case, name, lines)
        agreement = check_agreement(case, self.setting, f"{name} [{row.kernel}]", self._agreement_code(lines))
        row.add(report if in_float64 else agreement)
        self.has_run.update(runs.run)
        return True

    def _trial(self, case: Case, code: list[str]) -> KernelRuns | None:
        """Run the kernels once for the case's derivatives; None if they refuse the case."""
        runs = KernelRuns(self.kernels)
        try:
            with runs:
                differentiate(case, replace(self.setting, jacobian=False))
        except Exception as error:
            if isinstance(error, KernelError) and runs.failure is None:
                self.refusals.update(runs.refusals or [("", str(error))])
                return None
            raise GradcheckError(
                "raises",
                f"{type(error).__name__}: {error}",
                operation=f"{self.row.operation}, {case.name}",
                kernel=self.row.kernel,
                reproduce=self._agreement_code([*self._plugin_note(), "import numpy as np", *code]),
            ) from error
        return runs

    def _numeric(self, case: Case, name: str, lines: list[str], options: dict, reference=False) -> Report:
        """Check the derivatives of the kernels against numerical ones; or those of the reference kernels."""
        if case.max_skipped is not None:
            options = options | {"max_skipped": case.max_skipped}
        # What the row compared is told by all its cases together: one may be of nothing but zeros.
        arguments = case, name, lines, options | {"seed": self.seed, "min_compared": 0}
        if reference:
            return self._numeric_with({self.row.operation: REFERENCE}, "cpu", *arguments)
        try:
            return self._numeric_with(self.choice, self.device, *arguments)
        except GradcheckError as error:
            if not isinstance(error.__cause__ or error.__context__, KernelError):
                raise
        # It does not support some memory layout, such as strided arrays, for which the engine takes another.
        choice = {
            entry.operation: (
                entry.algorithm,
                *(each.algorithm for each in ranked(entry.operation, self.device)),
            )
            for entry in self.kernels
        }
        return self._numeric_with(choice, self.device, *arguments)

    def _numeric_with(self, choice, device, case: Case, name: str, lines: list[str], options: dict) -> Report:
        check = gradcheck if self.row.order == 1 else gradgradcheck
        code = [
            f"inputs = [ma.Tensor(np.array(a), requires_grad=True, device={device!r}) for a in case.arrays]",
            f"with ma.kernels.use({choice!r}):",
            f"    ma.{check.__name__}(case.function, inputs{options_text(**options)})",
        ]
        with use(choice):
            return check(
                case.function,
                [Tensor(np.array(a), requires_grad=True, device=device) for a in case.arrays],
                **options,
                name=name,
                kernel=self.row.kernel if choice != {self.row.operation: REFERENCE} else f"cpu, {REFERENCE}",
                reproduce="\n".join(lines + code),
            )

    def _behaviour(self, case: Case, name: str, lines: list[str]) -> None:
        """What is not a matter of values: memory that is shared, not written, changed; layouts; linearity."""
        try:
            self._numeric(case, name, lines, {"dtype": "float32", "mode": "directions", "directions": 1})
        except GradcheckError as error:
            # Differences in float32 say less than the definition, with which the derivatives are compared.
            # What promises less than float32 has is linear, and the same for any layout, to that accuracy.
            coarse = any((entry.error or 0) > _CLOSE for entry in self.kernels)
            if error.check not in (*_OF_VALUES, *(("not linear", "layout") if coarse else ())):
                raise

    def _agreement_code(self, lines: list[str]) -> str:
        return "\n".join(
            [
                *lines,
                "from minialex.checking.kernels.agreement import Setting, check_agreement",
                f"check_agreement(case, {self.setting!r})",
            ]
        )

    def of_a_plugin(self) -> bool:
        modules = (getattr(entry.function, "__module__", "") for entry in self.kernels)
        # Some of the package's own are NumPy's functions as they are.
        return not all(module.partition(".")[0] in ("minialex", "numpy") for module in modules)

    def _plugin_note(self) -> list[str]:
        if not self.of_a_plugin():
            return []
        return ["# The kernel is a plug-in's: ma.kernels.load_plugin(file) comes first."]


def check_model(name: str, *, seed: int = 0) -> Iterator[Row]:
    """Check a model with thin layers and small images, along random directions in every parameter."""
    yield from map(run, model_tasks(name, seed=seed))


def model_case(name: str, seed: int) -> Case:
    """A model with thin layers as a function of two small images and of its parameters, and their values.

    The images reach the result: in a layer of two channels ReLU may well switch off both.
    """
    network = thin_network(get_architecture(name))
    random = np.random.default_rng(seed)

    def logits(x, *parameters):
        with seeded(seed), parameters_replaced(network, parameters):
            return network(x)

    for _ in range(_DRAWS):
        images = random.standard_normal((2, *network.input_shape))
        # Larger weights than networks start with: at 0.01 the first layer's gradient is lost in rounding.
        parameters = [
            random.standard_normal(p.shape) / np.sqrt(max(1, p.size / p.shape[0]))
            for p in network.parameters()
        ]
        others = images + random.uniform(-_MOVED, _MOVED, images.shape)
        with no_grad():
            here, there = (logits(*map(Tensor, (x, *parameters))).numpy() for x in (images, others))
        if np.all(here != there):
            return Case(name, logits, (images, *parameters))
    raise AssertionError(f"{name} depends on its images, for some parameters")


def _check_model(row: Row, seed: int) -> None:
    case = model_case(row.operation, seed)
    check = gradcheck if row.order == 1 else gradgradcheck
    options = {"mode": "directions", "directions": _MODEL_DIRECTIONS, "seed": seed}
    try:
        row.add(
            check(
                case.function,
                [Tensor(a, requires_grad=True) for a in case.arrays],
                **options,
                name=row.operation,
                reproduce="\n".join(
                    [
                        "import minialex as ma",
                        "from minialex.checking.kernels.suite import model_case",
                        f"case = model_case({row.operation!r}, seed={seed})",
                        "inputs = [ma.Tensor(a, requires_grad=True) for a in case.arrays]",
                        f"ma.{check.__name__}(case.function, inputs{options_text(**options)})",
                    ]
                ),
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
