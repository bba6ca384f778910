"""Learning curves of one run or of several, as Matplotlib figures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from minialex.errors import RunError
from minialex.training.lettering import drawable, fonts
from minialex.training.report.labels import shortened, spread

# Okabe and Ito 2008, which people of every kind of colour vision tell apart, with violet in place of its
# yellow, which is hardly seen on white. Each has a marker of its own as well.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7a10d8")
_MARKERS = "osD^vP*X"
MAX_RUNS = len(COLOURS)

_LABEL_LENGTH = 30
_FONT_POINTS, _LABEL_POINTS = 10, 9
# Of an average character, and of a line, in units of the font size.
_CHARACTER_WIDTH, _LINE_HEIGHT = 0.62, 1.35
_MOST_MARKED_EPOCHS = 40
# Where the marks beside the labels are, in widths of a panel.
_MARK_AT = 1.05


@dataclass(frozen=True)
class Theme:
    """The colours of what is not a curve."""

    ink: str
    grid: str
    line: str


LIGHT = Theme(ink="#1d2329", grid="#b6bdc5", line="#0060a8")
DARK = Theme(ink="#e3e7eb", grid="#59626c", line="#6db6f2")


@dataclass(frozen=True)
class RunCurves:
    """What is drawn of a run.

    Attributes
    ----------
    name : str
    history : sequence of dict
        One an epoch: epoch, train_loss, train_accuracy, validation_loss, validation_accuracy (0 to 1); the
        last two are None where there were no validation images.
    part : str
        What the validation figures were measured on: ``"validation"`` or ``"test"``.
    """

    name: str
    history: Sequence[dict]
    part: str


@dataclass(frozen=True)
class _Line:
    epochs: list[int]
    values: list[float]
    colour: str
    marker: str
    dashed: bool
    label: str  # nothing: the line has none


_METRICS = {"accuracy": ("accuracy (%)", 100, "{:.2f}"), "loss": ("loss", 1, "{:.4f}")}


def figure_of_runs(runs: Sequence[RunCurves], theme: Theme = LIGHT) -> Figure:
    """Accuracy and loss of up to eight runs by epoch: validation solid, training dashed.

    Raises
    ------
    RunError
        If there are more than eight runs, or none of them has completed an epoch.
    """
    if len(runs) > MAX_RUNS:
        raise RunError(f"a picture has room for {MAX_RUNS} runs, and these are {len(runs)}; name fewer")
    if not any(run.history for run in runs):
        raise RunError("no run has completed an epoch; there is nothing to draw")
    figure = _figure(
        {name: _lines_of_runs(runs, name) for name in _METRICS}, theme, panel=(4.0, 3.2), top=0.45
    )
    parts = sorted({run.part for run in runs})
    with matplotlib.rc_context(_style(theme)):
        styles = [
            Line2D([], [], color=theme.ink, label=f"after the epoch, on the {' or '.join(parts)} images"),
            Line2D([], [], color=theme.ink, ls=(0, (3, 2)), lw=1.1, label="during the epoch, in training"),
        ]
        figure.legend(handles=styles, loc="upper left", ncols=2, frameon=False, fontsize=_LABEL_POINTS)
    return figure


def figure_of_run(run: RunCurves, metric: str, theme: Theme = LIGHT) -> Figure:
    """One metric of a run by epoch, ``"accuracy"`` or ``"loss"``: on validation images and in training."""
    lines = [
        _line(run, f"{source}_{metric}", metric, theme.line, marker, source == "train", label)
        for source, marker, label in (("validation", "o", run.part), ("train", "s", "training"))
        if source == "train" or _is_validated(run)
    ]
    return _figure({metric: lines}, theme, panel=(3.0, 2.0), top=0.15)


def image_of(figure: Figure, kind: str) -> bytes:
    """A figure as the bytes of a ``"png"`` or ``"svg"`` file; they depend on the figure alone."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    with matplotlib.rc_context({"svg.hashsalt": "minialex"}):
        figure.savefig(buffer, format=kind, dpi=120, metadata=metadata, transparent=kind == "svg")
    return buffer.getvalue()


def _is_validated(run: RunCurves) -> bool:
    return any(epoch["validation_loss"] is not None for epoch in run.history)


def _lines_of_runs(runs: Sequence[RunCurves], metric: str) -> list[_Line]:
    lines = []
    for run, colour, marker in zip(runs, COLOURS, _MARKERS, strict=False):
        if not run.history:
            continue
        validated = _is_validated(run)
        label = "" if validated else f"{run.name} (training)"
        lines.append(_line(run, f"train_{metric}", metric, colour, marker, True, label))
        if validated:
            lines.append(_line(run, f"validation_{metric}", metric, colour, marker, False, run.name))
    return lines


def _line(run: RunCurves, key: str, metric: str, colour: str, marker: str, dashed: bool, label: str) -> _Line:
    _, factor, number = _METRICS[metric]
    known = [epoch for epoch in run.history if epoch[key] is not None]
    values = [factor * epoch[key] for epoch in known]
    if label:
        label = f"{number.format(values[-1])}  {shortened(drawable(label), _LABEL_LENGTH)}"
    return _Line([epoch["epoch"] for epoch in known], values, colour, marker, dashed, label)


def _style(theme: Theme) -> dict:
    return {
        "font.family": fonts(),
        "font.size": _FONT_POINTS,
        # Users name their runs: a $ in a name begins no formula.
        "text.parse_math": False,
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.ink,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": theme.grid,
        "grid.alpha": 0.5,
    }


def _figure(lines: dict[str, list[_Line]], theme: Theme, panel: tuple[float, float], top: float) -> Figure:
    """Panels side by side; every measure is in inches, so that labels have the room they need."""
    left, bottom = 0.75, 0.55
    # At least that of a single run's, so that its two figures are alike.
    longest = max(len("0.0000  validation"), *(len(line.label) for each in lines.values() for line in each))
    labels = 0.3 + longest * _CHARACTER_WIDTH * _LABEL_POINTS / 72
    step = left + panel[0] + labels
    width, height = len(lines) * step, bottom + panel[1] + top
    with matplotlib.rc_context(_style(theme)):
        # Figures are made without pyplot, so that no window system is touched and nothing is kept.
        figure = Figure(figsize=(width, height))
        for i, metric in enumerate(lines):
            rectangle = ((i * step + left) / width, bottom / height, panel[0] / width, panel[1] / height)
            _draw(figure.add_axes(rectangle), lines[metric], panel[1])
            figure.axes[-1].set(xlabel="epoch", ylabel=_METRICS[metric][0])
    return figure


def _draw(axes: Axes, lines: list[_Line], height: float) -> None:
    for line in lines:
        axes.plot(
            line.epochs,
            line.values,
            color=line.colour,
            linestyle=(0, (3, 2)) if line.dashed else "-",
            linewidth=1.1 if line.dashed else 1.8,
            marker=line.marker if len(line.epochs) <= _MOST_MARKED_EPOCHS else None,
            markersize=3 if line.dashed else 4.5,
            markerfacecolor="none" if line.dashed else line.colour,
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.margins(x=0.03)
    low, high = axes.get_ylim()
    labelled = [line for line in lines if line.label]
    heights = [(line.values[-1] - low) / (high - low) for line in labelled]
    gap = _LINE_HEIGHT * _LABEL_POINTS / 72 / height
    for line, at in zip(labelled, spread(heights, gap, 0.0, 1.0), strict=True):
        end = (line.epochs[-1], line.values[-1])
        # From the line's end to the mark beside its label; an annotation without text is just that. It is
        # dotted: the line of a run that stopped early does not go on.
        axes.annotate(
            "", end, (_MARK_AT, at), textcoords="axes fraction", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": line.colour, "linewidth": 0.8, "linestyle": ":"},
        )  # fmt: skip
        axes.plot(
            [_MARK_AT], [at], transform=axes.transAxes, clip_on=False, color=line.colour, marker=line.marker,
            markersize=4.5, markerfacecolor="none" if line.dashed else line.colour,
        )  # fmt: skip
        axes.text(
            _MARK_AT + 0.025, at, line.label, transform=axes.transAxes, va="center", fontsize=_LABEL_POINTS
        )
