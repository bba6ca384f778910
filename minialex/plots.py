"""The one style of plots: colours, fonts, where labels go, and how a figure becomes a file.

Figures are made with `matplotlib.figure.Figure` inside ``with style():``, without pyplot: that touches no
window system and keeps no global state.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font, get_font_names

from minialex.files import write_atomically
from minialex.text import escaped, printable

# Okabe and Ito 2008, distinguishable with any kind of colour vision, with violet in place of its
# yellow, which is hardly visible on white. Each has a marker of its own as well.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7a10d8")
MARKERS = "osD^vP*X"
# For context beside the subject of a figure.
GREY = "#b8b8b8"
# Text sizes, in points.
TEXT_POINTS, LABEL_POINTS = 10, 9

_DPI = 120
# Matplotlib's own font lacks Chinese, Japanese and Korean; these are the fonts that systems have for them.
_FURTHER_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
    "Malgun Gothic",
    "Arial Unicode MS",
)


@dataclass(frozen=True)
class Theme:
    """The colours of text and axes, of the grid, and of the line in a figure with only one."""

    ink: str
    grid: str
    line: str


LIGHT = Theme(ink="#1d2329", grid="#b6bdc5", line="#0060a8")
DARK = Theme(ink="#e3e7eb", grid="#59626c", line="#6db6f2")


def style(theme: Theme = LIGHT, grid: bool = True) -> AbstractContextManager:
    """Matplotlib's settings for the figures made in a ``with`` block."""
    settings: dict[Any, Any] = {
        "font.family": fonts(),
        "font.size": TEXT_POINTS,
        # Users name their classes and runs: a $ in a name does not start a formula.
        "text.parse_math": False,
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.ink,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": grid,
        "axes.axisbelow": True,
        "grid.color": theme.grid,
        "grid.alpha": 0.5,
    }
    return matplotlib.rc_context(settings)


def save(figure: Figure, path: Path) -> None:
    """Write a figure to a PNG file, atomically."""
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=_DPI))


def svg(figure: Figure) -> bytes:
    """A figure as the bytes of a transparent SVG file, which depend only on the figure."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "minialex"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    return buffer.getvalue()


# Text


@cache
def fonts() -> list[str]:
    """Matplotlib's font, and those of the others that are installed."""
    return ["DejaVu Sans", *sorted(set(_FURTHER_FONTS) & set(get_font_names()))]


def drawable(text: str) -> str:
    """Escape what is not printable, or would be drawn as an empty box, with a warning."""
    return "".join(each if ord(each) in _characters() else escaped(each) for each in printable(text))


@cache
def _characters() -> frozenset[int]:
    """What the fonts can draw."""
    return frozenset().union(
        *(get_font(findfont(FontProperties(family=name))).get_charmap() for name in fonts())
    )


def shortened(text: str, length: int) -> str:
    """The text on one line, as the fonts can draw it, cut to `length` characters."""
    text = drawable(" ".join(text.split()))
    return text if len(text) <= length else f"{text[: length - 1]}…"


def without_middle(text: str, length: int) -> str:
    """At most `length` characters of a text, with the middle left out if it is longer."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


# Labels


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move positions until neighbours are at least `gap` apart and all between `low` and `high`.

    Of all ways to do so without changing their order, this one has the smallest sum of squared moves:
    with the k-th smallest position lowered by k * gap, "at least `gap` apart" becomes "non-decreasing", and
    the nearest non-decreasing sequence is found by pooling adjacent violators (Ayer et al. 1955), then
    clipped to the bounds.

    Parameters
    ----------
    positions : sequence of float
        In any order; equal ones keep their order.
    gap : float
        At least 0.
    low, high : float
        If there is too little room between them, the positions start at `low` and go beyond `high`.

    Returns
    -------
    list of float
        In the order of `positions`.
    """
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    pools: list[tuple[float, int]] = []  # mean, members
    for rank, i in enumerate(order):
        mean, members = positions[i] - rank * gap, 1
        while pools and pools[-1][0] >= mean:
            before, others = pools.pop()
            mean = (before * others + mean * members) / (others + members)
            members += others
        pools.append((mean, members))
    levels = [mean for mean, members in pools for _ in range(members)]
    highest = high - (len(positions) - 1) * gap
    moved = [0.0] * len(positions)
    for rank, (i, level) in enumerate(zip(order, levels, strict=True)):
        moved[i] = max(low, min(level, highest)) + rank * gap
    return moved
