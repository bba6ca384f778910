"""The outcome for one kernel, or one model: a row of what `minialex gradcheck` prints."""

from __future__ import annotations

from dataclasses import dataclass, field

from minialex.checking.kernels.agreement import Agreement
from minialex.checking.report import GradcheckError, Report, worst_of
from minialex.checking.results import UNCHECKED, WRONG, Result

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
