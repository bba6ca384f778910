"""One gradient check in full, to be read: the numbers, the Jacobian, and where the kinks are.

    explanation = explain("conv2d")
    print(explanation)
    draw_explanation(Path("gradcheck.png"), explanation)

The numbers are those of the check itself: this module asks `minialex.checking.gradients.jacobians` for them,
and only chooses what to show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import BoundaryNorm, FuncNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from minialex.checking.adapters.tensors import on_arrays
from minialex.checking.gradients.check import Check
from minialex.checking.gradients.comparison import Comparison, Kind, index_in
from minialex.checking.gradients.differences import STEPS
from minialex.checking.gradients.jacobians import compare_jacobians
from minialex.checking.gradients.noise import ROUNDING
from minialex.checking.gradients.order_of_checks import run_checks
from minialex.checking.gradients.paths import Path as MovedInputs
from minialex.checking.gradients.paths import same_branches
from minialex.checking.kernels.cases import Case, make_cases
from minialex.checking.report import GradcheckError, Report
from minialex.errors import MiniAlexError
from minialex.plots import LABEL_POINTS, save, style
from minialex.tensor import Tensor

# The cases that show most; of other operations, the smallest.
_SHOWN = {
    "conv2d": "SAME at stride 2",
    "local_response_norm": "alpha 1",
    "relu": "one element at 0",
}
_MAX_SKIPPED = 0.2


@dataclass(frozen=True)
class Jacobian:
    """The derivatives of all M elements of the output by all elements of one input.

    Attributes
    ----------
    compared : Comparison
        Both sides of each, what the numeric ones may be off by, and the steps with which they were found.
    shape : tuple of int
        The input's shape.
    """

    compared: Comparison
    shape: tuple[int, ...]

    @property
    def input(self) -> int:
        """The position of the input."""
        return self.compared.input

    @property
    def analytic(self) -> np.ndarray:
        """What backward computes, row by row: float64 (M, size)."""
        return self.compared.analytic

    @property
    def numeric(self) -> np.ndarray:
        """What the differences give, column by column: float64 (M, size)."""
        return self.compared.found.value

    @cached_property
    def tolerance(self) -> np.ndarray:
        """How far apart the two may be."""
        return self.compared.tolerance

    @cached_property
    def kinds(self) -> np.ndarray:
        """What became of each: a `minialex.checking.gradients.comparison.Kind`."""
        return self.compared.kinds()

    @property
    def kinked(self) -> np.ndarray:
        """Where there is nothing to compare with."""
        return np.isin(self.kinds, (Kind.KINK, Kind.UNCERTAIN))

    @property
    def difference(self) -> np.ndarray:
        return self.analytic - self.numeric

    @property
    def share(self) -> np.ndarray:
        """The difference as a share of what is allowed: above 1 is wrong; 0 where nothing is compared."""
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.abs(self.difference) / self.tolerance
        share[np.isnan(share)] = np.inf
        share[self.difference == 0] = 0
        share[self.kinked] = 0
        return share

    @property
    def wrong(self) -> int:
        return int(np.count_nonzero(self.share > 1))


@dataclass(frozen=True)
class Walk:
    """How one derivative is found, step by step.

    Attributes
    ----------
    input, index, output_index
        It is the derivative of the output at `output_index` by that input at `index`.
    x, step : float
        The input's value there, and h.
    middle, values
        f(x), and f at x + h, x - h, x + h/2, x - h/2.
    coarse, fine, numeric : float
        D(h), D(h/2), and Richardson's R from them.
    finer : float or None
        D(h/4), where h is larger than usual and R is extrapolated from all three.
    truncation, rounding, jump : float
        The three parts of the error of R.
    analytic, tolerance : float
    kinked : bool
        Whether it is skipped.
    branched : bool
        Whether the function takes another branch within the step.
    """

    input: int
    index: tuple[int, ...]
    output_index: tuple[int, ...]
    x: float
    step: float
    middle: float
    values: tuple[float, float, float, float]
    coarse: float
    fine: float
    finer: float | None
    numeric: float
    truncation: float
    rounding: float
    jump: float
    analytic: float
    tolerance: float
    kinked: bool
    branched: bool

    def lines(self) -> list[str]:
        """The walk as text."""
        names = ("f(x + h)", "f(x - h)", "f(x + h/2)", "f(x - h/2)")
        second = [self.values[k] - 2 * self.middle + self.values[k + 1] for k in (0, 2)]
        lines = [
            f"The derivative of the output at {self.output_index} by input {self.input} at {self.index}.",
            f"The input is x = {self.x!r} there; it is moved by h = {self.step:.6g}, and nothing else is.",
            "",
            f"  f(x)        {self.middle:.16g}",
            *(f"  {name:10}  {value:.16g}" for name, value in zip(names, self.values, strict=True)),
            "",
            f"  D(h)        {self.coarse:.16g}  = [f(x + h) - f(x - h)] / 2h",
            f"  D(h/2)      {self.fine:.16g}  = [f(x + h/2) - f(x - h/2)] / h",
            *self._extrapolation(),
            f"  backward    {self.analytic:.16g}  , the analytic derivative",
            "",
        ]
        if self.kinked:
            why = "f takes another branch within h" if self.branched else "the second difference jumps"
            return lines + [
                f"  S(h) - 4 S(h/2) = {second[0] - 4 * second[1]:.3g}; it would be about 0 if f were smooth.",
                f"  This is a kink: {why}. The slope on the left is "
                f"{(self.middle - self.values[1]) / self.step:.6g},",
                f"  on the right {(self.values[0] - self.middle) / self.step:.6g}, and R is neither. "
                "Skipped, and counted as skipped.",
            ]
        error = abs(self.analytic - self.numeric)
        size = max(abs(self.analytic), abs(self.numeric)) or 1.0
        verdict = "they agree" if error <= self.tolerance else "WRONG"
        return lines + [
            f"  difference  {error:.3g} absolute, {error / size:.3g} relative to the derivative",
            f"  tolerance   {self.tolerance:.3g} absolute, {self.tolerance / size:.3g} relative"
            f"  = 4 times the error of R + {ROUNDING} eps |derivative|",
            f"  verdict     {verdict}",
        ]

    def _extrapolation(self) -> list[str]:
        parts = (
            f"  error of R  {self.truncation + self.rounding + self.jump:.3g} absolute"
            f"  = {self.truncation:.3g} + {self.rounding:.3g} + {self.jump:.3g}"
        )
        names = [
            "              (noise: what f scatters by near x, at least its last bit;",
            "              S(h): f(x + h) - 2 f(x) + f(x - h))",
        ]
        if self.finer is None:
            return [
                f"  R           {self.numeric:.16g}  = [4 D(h/2) - D(h)] / 3, the numeric derivative",
                parts,
                "              = |R - D(h/2)| + 8 noise / h + |S(h) - 4 S(h/2)| / h",
                *names,
            ]
        return [
            f"  D(h/4)      {self.finer:.16g}  = [f(x + h/4) - f(x - h/4)] / (h/2)",
            "              (h is larger than usual, against rounding: there are three steps)",
            f"  E(h)        {(4 * self.fine - self.coarse) / 3:.16g}  = [4 D(h/2) - D(h)] / 3",
            f"  E(h/2)      {(4 * self.finer - self.fine) / 3:.16g}  = [4 D(h/4) - D(h/2)] / 3",
            f"  R           {self.numeric:.16g}  = [16 E(h/2) - E(h)] / 15, the numeric derivative",
            parts,
            "              = |R - E(h/2)| + 8 noise / (h/2) + |8 B(h/2) - B(h)| / 7",
            *names[:1],
            "              B(h): [S(h) - 4 S(h/2)] / h;",
            *names[1:],
        ]


@dataclass(frozen=True)
class Explanation:
    """One check in full.

    Attributes
    ----------
    operation, case, seed
        What was checked.
    inputs, output : float64 arrays
        Where, and the value there.
    upstream, gradients
        One random upstream gradient, and what backward makes of it: an array for each input.
    jacobians : tuple of Jacobian
        One for each input.
    walks : tuple of Walk
        The derivatives that the text goes through: the largest, or the worst if one is wrong; and one
        at a kink if there is any.
    report : Report or None
        If the check passed.
    error : GradcheckError or None
        If it failed.
    """

    operation: str
    case: str
    seed: int
    inputs: tuple[np.ndarray, ...]
    output: np.ndarray
    upstream: np.ndarray
    gradients: tuple[np.ndarray, ...]
    jacobians: tuple[Jacobian, ...]
    walks: tuple[Walk, ...]
    report: Report | None
    error: GradcheckError | None

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """The text, line by line."""
        return [
            f"One gradient check in full: {self.operation}, {self.case}, float64, seed {self.seed}",
            *self._function(),
            *self._walks(),
            *self._all(),
            *self._upstream(),
            *self._verdict(),
        ]

    def _function(self) -> list[str]:
        lines = _section(1, "The function, and where it is differentiated")
        for i, array in enumerate(self.inputs):
            lines.append(f"input {i}    {array.shape}, {array.size} elements: {_some(array)}")
        lines.append(f"output     {self.output.shape}, {self.output.size} elements: {_some(self.output)}")
        count = self.output.size * sum(a.size for a in self.inputs)
        return lines + [
            f"Each of {self.output.size} outputs may depend on each of {sum(a.size for a in self.inputs)} "
            f"elements: {count:,} derivatives, the Jacobian.",
            "A column is what four calls of forward with one element moved tell; a row is what one call of",
            "backward tells. The two never meet in the code: that is why comparing them means something.",
        ]

    def _walks(self) -> list[str]:
        lines = _section(2, "One derivative" + (", and one at a kink" if len(self.walks) > 1 else ""))
        for walk in self.walks:
            lines += walk.lines() + [""]
        return lines[:-1]

    def _all(self) -> list[str]:
        lines = _section(3, "All of them")
        row = "{:8} {:>8} {:>9} {:>9} {:>10} {:>6} {:>28} {:>19}"
        figures = "outputs", "elements", "compared", "0 on both", "kinks"
        lines.append(row.format("", *figures, "largest absolute difference", "of what is allowed"))
        for each in self.jacobians:
            smooth = ~each.kinked
            largest = np.abs(each.difference[smooth]).max(initial=0)
            worst = each.share.max(initial=0)
            share = f"{worst:.2g} times, {each.wrong:,} WRONG" if each.wrong else f"{worst:.1%}"
            compared, zeros = (f"{(each.kinds == kind).sum():,}" for kind in (Kind.COMPARED, Kind.ZERO))
            figures = *each.analytic.shape, compared, zeros, int(each.kinked.sum())
            lines.append(row.format(f"input {each.input}", *figures, f"{largest:.1e}", share))
        for each in self.jacobians:
            elements = np.flatnonzero(each.kinked.any(axis=0))
            if len(elements):
                where = [index_in(each.shape, int(e)) for e in elements]
                shown = ", ".join(map(str, where[:8])) + (", ..." if len(where) > 8 else "")
                lines.append(f"kinks: moving input {each.input} at {shown} crosses one")
        return lines

    def _upstream(self) -> list[str]:
        lines = _section(4, "A random upstream gradient")
        lines += [
            "Training never asks for a row of the Jacobian, but for one combination of all rows, weighted",
            f"with an upstream gradient u. For u = {_some(self.upstream)}:",
        ]
        u = self.upstream.ravel()
        for each, gradient in zip(self.jacobians, self.gradients, strict=True):
            smooth = ~each.kinked.any(axis=0)
            expected = (u @ each.numeric)[smooth]
            difference = np.abs(gradient.ravel()[smooth] - expected).max(initial=0)
            lines.append(
                f"input {each.input}    backward(u) and u J, J the numeric Jacobian, differ by "
                f"{difference:.1e} absolute, at values up to {np.abs(expected).max(initial=0):.3g}"
            )
        return lines + [
            "An upstream gradient of ones, as .sum() sends, would give only the sums of the columns: a",
            "backward that mixes up the rows would pass.",
        ]

    def _verdict(self) -> list[str]:
        lines = _section(5, "The verdict, after the checks of behaviour as well")
        return lines + str(self.report if self.error is None else self.error).splitlines()


def _section(number: int, title: str) -> list[str]:
    return ["", f"{number}. {title}", "-" * (len(title) + 3)]


def _some(array: np.ndarray, count: int = 4) -> str:
    first = ", ".join(f"{value:.4g}" for value in array.ravel()[:count])
    return f"[{first}{', ...' if array.size > count else ''}]"


def explain(operation: str, case_name: str | None = None, seed: int = 0) -> Explanation:
    """Check one case of an operation and keep every number.

    Parameters
    ----------
    operation : str
        Such as ``"conv2d"``. The kernels are those that the engine chooses, or that
        `minialex.kernels.use` names.
    case_name : str, optional
        One of the operation's cases in `minialex.checking.kernels.cases`; by default one that is small and
        shows much.
    seed : int
        Of the values and the upstream gradients.

    Raises
    ------
    MiniAlexError
        If there is no such operation or case. A wrong gradient raises no error: it is in the result.
    """
    return explain_case(operation, _choose(operation, case_name, make_cases(operation, seed)), seed)


def explain_case(operation: str, case: Case, seed: int = 0) -> Explanation:
    """Check a case that you bring, such as a function of your own; see `explain`."""
    inputs = [Tensor(a, requires_grad=True) for a in case.arrays]
    forward, vjp, branches = on_arrays(case.function, inputs)
    dtype = np.dtype(np.float64)
    arrays = [np.array(a, dtype, order="C") for a in case.arrays]
    wrt = tuple(range(len(arrays)))
    report = Report(f"{operation}, {case.name}", "", "jacobian", dtype.name, STEPS[dtype], seed)
    check = Check(forward, vjp, arrays, wrt, dtype, report, "central", _MAX_SKIPPED, branches, "")
    error = None
    try:
        run_checks(check)
    except GradcheckError as caught:
        if caught.check in ("result", "shape", "not deterministic", "raises") or not hasattr(check, "noise"):
            raise  # there is no Jacobian to show
        error = caught

    upstream = check.upstream()
    jacobians = [Jacobian(each, arrays[each.input].shape) for each in compare_jacobians(check)]
    walks = tuple(_walk(check, jacobians[i], row, element) for i, row, element in _chosen(jacobians))
    return Explanation(
        operation,
        case.name,
        seed,
        inputs=tuple(arrays),
        output=check.y,
        upstream=upstream,
        gradients=tuple(check.gradients(upstream)),
        jacobians=tuple(jacobians),
        walks=walks,
        report=None if error else report,
        error=error,
    )


def _choose(operation: str, name: str | None, cases: list[Case]) -> Case:
    if name is None:
        name = _SHOWN.get(operation)
        if name is None:
            return min(cases, key=lambda case: sum(a.size for a in case.arrays))
    for case in cases:
        if case.name == name:
            return case
    known = ", ".join(repr(case.name) for case in cases)
    raise MiniAlexError(f"operation {operation!r} has no case {name!r}; there are: {known}")


def _chosen(jacobians: list[Jacobian]) -> list[tuple[int, int, int]]:
    """The derivatives to walk through, as (input, row, element)."""
    first = next((each for each in jacobians if each.wrong), jacobians[0])
    measure = first.share if first.wrong else np.where(first.kinked, -1, np.abs(first.numeric))
    chosen = [(first, measure)]
    kinked = next((each for each in jacobians if each.kinked.any()), None)
    if kinked is not None:
        # The output that moves: the others have nothing to show.
        chosen.append((kinked, np.where(kinked.kinked, np.abs(kinked.numeric), -1)))
    return [
        (each.input, *index_in(measure.shape, int(measure.argmax())))
        for each, measure in chosen
        if measure.size
    ]


def _walk(check: Check, jacobian: Jacobian, row: int, element: int) -> Walk:
    i, found = jacobian.input, jacobian.compared.found
    along = MovedInputs.along(check, i, element)
    step = float(found.step[row, element])
    t = step / along.unit

    def f(t: float) -> float:
        return float(check.evaluate(along(t)).flat[row])

    values = tuple(f(each) for each in (t, -t, t / 2, -t / 2))
    coarse, fine = (values[0] - values[1]) / (2 * step), (values[2] - values[3]) / step
    numeric = float(jacobian.numeric[row, element])
    finer = None
    if t > along.usual_step:
        finer = (f(t / 4) - f(-t / 4)) / (step / 2)
    here, *around = ([np.array(b) for b in check.branches(*along(each))] for each in (0.0, t, -t))
    return Walk(
        input=i,
        index=index_in(jacobian.shape, element),
        output_index=index_in(check.y.shape, row),
        x=float(check.inputs[i].flat[element]),
        step=step,
        middle=float(check.y.flat[row]),
        values=values,
        coarse=coarse,
        fine=fine,
        numeric=numeric,
        finer=finer,
        truncation=abs(numeric - (fine if finer is None else (4 * finer - fine) / 3)),
        rounding=float(found.rounding[row, element]),
        jump=float(found.jump[row, element]),
        analytic=float(jacobian.analytic[row, element]),
        tolerance=float(jacobian.tolerance[row, element]),
        kinked=bool(jacobian.kinked[row, element]),
        branched=any(not same_branches(here, other) for other in around),
    )


def draw_explanation(path: Path, explanation: Explanation) -> None:
    """Draw the Jacobian as a PNG: a row for each input; analytic, numeric, and their difference."""
    jacobians = explanation.jacobians
    heights = [1.0 if each.analytic.shape[1] > 4 else 0.6 for each in jacobians]
    # White to blue is allowed, orange to red is not.
    bounds = [0, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 1e300]
    shares = ListedColormap(["#ffffff", "#e3edf7", "#b9d3ea", "#7fadd6", "#3d7fbb", "#f39c34", "#c0211f"])
    with style(grid=False), rc_context({"font.size": LABEL_POINTS, "hatch.linewidth": 0.6}):
        figure = Figure(figsize=(13.5, 1.2 + 3.4 * sum(heights)), layout="constrained")
        grid = figure.subplots(len(jacobians), 3, squeeze=False, height_ratios=heights)
        for each, row in zip(jacobians, grid, strict=True):
            smooth = np.where(each.kinked, 0, each.numeric)
            limit = max(np.abs(smooth).max(initial=0), np.abs(each.analytic).max(initial=0)) or 1.0
            # Colours by the square root: small derivatives should be seen beside large ones.
            root = FuncNorm(
                (lambda v: np.sign(v) * np.sqrt(np.abs(v)), lambda v: v * np.abs(v)), vmin=-limit, vmax=limit
            )
            look = {"cmap": "RdBu_r", "norm": root}
            of = f"input {each.input} {each.shape}"
            pictures = [
                _draw_matrix(row[0], each, explanation, each.analytic, f"{of}: analytic, by backward", look),
                _draw_matrix(row[1], each, explanation, smooth, f"{of}: numeric, by differences", look),
            ]
            ticks = [share * limit for share in (-1, -0.25, 0, 0.25, 1)]
            bar = figure.colorbar(pictures[1], ax=row[:2], label="derivative", pad=0.01)
            bar.set_ticks(ticks, labels=[f"{tick:.2g}" for tick in ticks])
            look = {"cmap": shares, "norm": BoundaryNorm(bounds, shares.N)}
            largest = np.abs(each.difference[~each.kinked]).max(initial=0)
            title = f"{of}: difference, {largest:.1e} at most"
            picture = _draw_matrix(row[2], each, explanation, each.share, title, look)
            bar = figure.colorbar(picture, ax=row[2], label="difference / tolerance", spacing="uniform")
            bar.set_ticks(bounds[:-1], labels=["0", "1e-4", "1e-3", "0.01", "0.1", "1: the limit", "10"])
        kinks = sum(int(each.kinked.sum()) for each in jacobians)
        wrong = sum(each.wrong for each in jacobians)
        compared = sum(each.kinked.size for each in jacobians) - kinks
        hatched = f"; {kinks:,} at kinks, hatched, are not compared" if kinks else ""
        figure.suptitle(
            f"The Jacobian of {explanation.operation}, {explanation.case}: {compared:,} derivatives, "
            f"{wrong:,} wrong{hatched}\nframed: what the text goes through",
            fontsize=11,
        )
        save(figure, path)


def _draw_matrix(axes, jacobian: Jacobian, explanation: Explanation, values, title: str, look: dict):
    picture = axes.imshow(values, aspect="auto", interpolation="nearest", **look)
    rows, columns = values.shape
    for shape, draw_line, end in (
        (jacobian.shape, axes.axvline, columns),
        (explanation.output.shape, axes.axhline, rows),
    ):
        for block, colour in _blocks(shape):
            for cut in range(block, end, block):
                draw_line(cut - 0.5, color=colour, linewidth=0.6)
    for row, column in np.argwhere(jacobian.kinked):
        place = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(place, 1, 1, facecolor="0.88", edgecolor="0.4", hatch="////", linewidth=0))
    for walk in explanation.walks:
        if walk.input == jacobian.input:
            element = int(np.ravel_multi_index(walk.index, jacobian.shape)) if jacobian.shape else 0
            output = explanation.output.shape
            row = int(np.ravel_multi_index(walk.output_index, output)) if output else 0
            axes.add_patch(
                Rectangle((element - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=1.6)
            )
    axes.spines[:].set_visible(True)
    axes.set_title(title, fontsize=LABEL_POINTS)
    axes.set(
        xlabel=f"element of input {jacobian.input}, in C order",
        ylabel=f"element of the output {explanation.output.shape}",
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return picture


def _blocks(shape: tuple[int, ...]) -> list[tuple[int, str]]:
    """How many elements a plane, or the row of a matrix, has, and how many an image; each with a colour."""
    inner = (math.prod(shape[-2:] if len(shape) > 2 else shape[-1:]), "0.85")
    return [each for each in (inner, (math.prod(shape[1:]), "0.5")) if each[0]]
