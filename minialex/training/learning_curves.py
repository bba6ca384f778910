"""Learning curves of one run or of several, as Matplotlib figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from minialex.errors import RunError
from minialex.plots import (
    COLOURS,
    LABEL_POINTS,
    LIGHT,
    MARKERS,
    Theme,
    drawable,
    spread,
    style,
    without_middle,
)

MAX_RUNS = len(COLOURS)

_LABEL_LENGTH = 30
# Of an average character, and of a line, in units of the font size.
_CHARACTER_WIDTH, _LINE_HEIGHT = 0.62, 1.35
_MOST_MARKED_EPOCHS = 40
# Where the marks beside the labels are, in widths of a panel.
_MARK_AT = 1.05
_DASHES = (0, (3, 2))


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

    @property
    def is_validated(self) -> bool:
        return any(epoch["validation_loss"] is not None for epoch in self.history)


@dataclass(frozen=True)
class _Metric:
    """How the panel of a metric is written."""

    title: str
    factor: int
    number: str


_METRICS = {"accuracy": _Metric("accuracy (%)", 100, "{:.2f}"), "loss": _Metric("loss", 1, "{:.4f}")}


@dataclass(frozen=True)
class _Look:
    """How a line is drawn; in training it is thin, dashed and has hollow marks."""

    colour: str
    marker: str
    training: bool = False

    @property
    def line(self) -> dict:
        return {"linestyle": _DASHES if self.training else "-", "linewidth": 1.1 if self.training else 1.8}

    @property
    def face(self) -> str:
        return "none" if self.training else self.colour


@dataclass(frozen=True)
class _Line:
    epochs: list[int]
    values: list[float]
    look: _Look
    label: str  # nothing: the line has none


@dataclass(frozen=True)
class _Panel:
    """The measures of a panel, in inches, so that labels have the room they need."""

    width: float
    height: float
    top: float
    left: float = 0.75
    bottom: float = 0.55


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
    lines = {metric: _lines_of_runs(runs, metric) for metric in _METRICS}
    parts = sorted({run.part for run in runs})
    with style(theme):
        figure = _draw_panels(lines, _Panel(width=4.0, height=3.2, top=0.45))
        styles = [
            Line2D([], [], color=theme.ink, label=f"after the epoch, on the {' or '.join(parts)} images"),
            Line2D([], [], color=theme.ink, ls=_DASHES, lw=1.1, label="during the epoch, in training"),
        ]
        figure.legend(handles=styles, loc="upper left", ncols=2, frameon=False, fontsize=LABEL_POINTS)
    return figure


def figure_of_run(run: RunCurves, *metrics: str, theme: Theme = LIGHT) -> Figure:
    """Metrics of a run by epoch, ``"accuracy"`` or ``"loss"``: on validation images and in training."""
    measured, training = _Look(theme.line, "o"), _Look(theme.line, "s", training=True)
    lines = {}
    for metric in metrics:
        lines[metric] = [_line(run, metric, training, "training")]
        if run.is_validated:
            lines[metric].insert(0, _line(run, metric, measured, run.part))
    with style(theme):
        return _draw_panels(lines, _Panel(width=3.0, height=2.0, top=0.15))


def _lines_of_runs(runs: Sequence[RunCurves], metric: str) -> list[_Line]:
    lines = []
    for run, colour, marker in zip(runs, COLOURS, MARKERS, strict=False):
        if not run.history:
            continue
        label = "" if run.is_validated else f"{run.name} (training)"
        lines.append(_line(run, metric, _Look(colour, marker, training=True), label))
        if run.is_validated:
            lines.append(_line(run, metric, _Look(colour, marker), run.name))
    return lines


def _line(run: RunCurves, metric: str, look: _Look, label: str) -> _Line:
    key, written = f"{'train' if look.training else 'validation'}_{metric}", _METRICS[metric]
    known = [epoch for epoch in run.history if epoch[key] is not None]
    values = [written.factor * epoch[key] for epoch in known]
    if label:
        label = f"{written.number.format(values[-1])}  {without_middle(drawable(label), _LABEL_LENGTH)}"
    return _Line([epoch["epoch"] for epoch in known], values, look, label)


def _draw_panels(lines: Mapping[str, Sequence[_Line]], panel: _Panel) -> Figure:
    """The lines of each metric in a panel of its own, side by side."""
    # At least that of a single run's, so that its two figures are alike.
    longest = max(len("0.0000  validation"), *(len(line.label) for each in lines.values() for line in each))
    labels = 0.3 + longest * _CHARACTER_WIDTH * LABEL_POINTS / 72
    step = panel.left + panel.width + labels
    width, height = len(lines) * step, panel.bottom + panel.height + panel.top
    figure = Figure(figsize=(width, height))
    for i, (metric, each) in enumerate(lines.items()):
        left, bottom = (i * step + panel.left) / width, panel.bottom / height
        axes = figure.add_axes((left, bottom, panel.width / width, panel.height / height))
        _draw_lines(axes, each)
        _label_ends(axes, [line for line in each if line.label], panel.height)
        axes.set(xlabel="epoch", ylabel=_METRICS[metric].title)
    return figure


def _draw_lines(axes: Axes, lines: Sequence[_Line]) -> None:
    for line in lines:
        axes.plot(
            line.epochs,
            line.values,
            color=line.look.colour,
            **line.look.line,
            marker=line.look.marker if len(line.epochs) <= _MOST_MARKED_EPOCHS else None,
            markersize=3 if line.look.training else 4.5,
            markerfacecolor=line.look.face,
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.margins(x=0.03)


def _label_ends(axes: Axes, lines: Sequence[_Line], height: float) -> None:
    """Write labels beside the ends of lines, one above the other where these are close together."""
    low, high = axes.get_ylim()
    ends = [(line.values[-1] - low) / (high - low) for line in lines]
    gap = _LINE_HEIGHT * LABEL_POINTS / 72 / height
    for line, at in zip(lines, spread(ends, gap, 0.0, 1.0), strict=True):
        look = line.look
        # From the line's end to the mark beside its label; an annotation without text is just that. It is
        # dotted: the line of a run that stopped early does not go on.
        axes.annotate(
            "",
            (line.epochs[-1], line.values[-1]),
            (_MARK_AT, at),
            textcoords="axes fraction",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": look.colour, "linewidth": 0.8, "linestyle": ":"},
        )
        mark = {"color": look.colour, "marker": look.marker, "markersize": 4.5, "markerfacecolor": look.face}
        axes.plot([_MARK_AT], [at], transform=axes.transAxes, clip_on=False, **mark)
        beside = _MARK_AT + 0.025
        axes.text(beside, at, line.label, transform=axes.transAxes, va="center", fontsize=LABEL_POINTS)
