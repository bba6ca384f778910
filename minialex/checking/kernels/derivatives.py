"""The checks of one row: the derivatives of a kernel, against numerical ones and those of the definition.

A case is checked in float64 against numerical derivatives, then against the operation's definition
(`agreement`). What a float32-only kernel computes is checked against the definition, derivative by
derivative, after the definition was checked against numerical ones.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from minialex.checking.adapters.tensors import gradcheck, gradgradcheck
from minialex.checking.kernels.agreement import Setting, check_agreement, differentiate, tolerance_of
from minialex.checking.kernels.cases import Case, called_first, case_of, make_cases
from minialex.checking.kernels.drawn_cases import case_code, drawn_calls, usual_calls
from minialex.checking.kernels.kernel_runs import KernelRuns
from minialex.checking.kernels.races import check_kernel
from minialex.checking.kernels.rows import Row
from minialex.checking.kernels.whole_calls import check_calls
from minialex.checking.report import GradcheckError, Report
from minialex.checking.reproduction import options_text
from minialex.errors import KernelError
from minialex.kernels import Kernel, find_kernel, ranked, use
from minialex.kernels.contract.registry import REFERENCE
from minialex.tensor import Tensor

# Of wrong gradients in the gallery 8 directions miss no fewer.
QUICK_DIRECTIONS = 4
# How many cases are drawn for a kernel that supports no others; twice as many until each direction has run.
_DRAWN_CASES = 4
# Checks that fail where the numerical derivatives themselves are poor.
_OF_VALUES = ("values", "kinks", "uncertain", "nothing compared")
# The relative error up to which what is the same but for rounding is the same, in float32.
_CLOSE = 512 * float(np.finfo(np.float32).eps)
# A derivative known to a tenth of itself is hardly known.
_WIDEST = 0.1

# Directions that functions call only where nothing will be differentiated: their results are compared with
# those of the reference, by the tests, and of a plug-in's kernel here.
NOT_DIFFERENTIATED = {"max_pool2d.evaluate"}


@dataclass
class KernelDerivatives:
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
        except KernelError as error:
            # An example of the operation is not as it must be.
            row.unchecked = str(error)
            return
        if not self.has_run and (
            (row.order == 1 and not row.refused) or NOT_DIFFERENTIATED.issuperset(self.choice)
        ):
            row.unused = True
        elif self.missing() and not row.unchecked:
            row.unchecked = self.why_unchecked()

    def missing(self) -> list[str]:
        """The directions that took no part in what was compared, and should have."""
        missing = [name for name in self.choice if name not in self.has_run | NOT_DIFFERENTIATED]
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
            compared = check_calls(entry, seed=self.seed)
            if compared and entry.operation in NOT_DIFFERENTIATED:
                self.has_run.add(entry.operation)
                self.row.compared += compared
            if entry.device == "cuda-host":
                self.check_launches(entry)
        # Each direction of a convolution or a pooling, also where there are no usual calls of its own.
        usual = (usual_calls(operation, self.seed) for operation in called_first(self.row.operation))
        for call in itertools.chain.from_iterable(usual):
            case, code = case_of(call), case_code(call)
            runs = self._trial(case, code)
            if runs is None or not runs.run:
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
            return (
                f"no case of {self.row.operation} runs {missing}; register one that does, "
                "with @cases_of of minialex.checking"
            )
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
            options = {"mode": "directions", "directions": QUICK_DIRECTIONS}
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
