"""The pictures of a benchmark, drawn from the contents of its result.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatter

from minialex.benchmarking.baselines import OURS
from minialex.benchmarking.report import where
from minialex.plots import COLOURS, GREY, LABEL_POINTS, MARKERS, save, shortened, style

_TITLE_POINTS = 11
_NAMES = {
    "minialex": "MiniAlex",
    "torch": "PyTorch eager",
    "torch_channels_last": "PyTorch channels_last",
    "torch_compile": "PyTorch compiled",
    "torch_compile_channels_last": "PyTorch compiled,\nchannels_last",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
}
_WORK = {"train": "training steps", "infer": "inference", "convnet": "forward and backward"}


def draw(folder: Path, result: dict) -> list[Path]:
    """Draw what a result holds; return the files."""
    drawn = []
    with style():
        for name, picture in _PICTURES.get(result["kind"], _PICTURES_OF_STEPS).items():
            figure = picture(result)
            if figure is not None:
                save(figure, folder / name)
                drawn.append(folder / name)
    return drawn


def contestants(result: dict) -> Figure:
    """Bars of images per second, the medians, with lines from the slowest to the fastest round."""
    rows = [row for row in result["results"] if row["status"] == "timed"]
    title = f"{result['settings']['title']}: {_WORK[result['kind']]}, {where(result)}"
    figure, axes = _figure(8, 1.3 + 0.42 * len(rows), title)
    batch, highest = result["settings"]["batch"], 0.0
    for y, row in enumerate(rows):
        rate = row["images_per_second"]
        axes.barh(y, rate, height=0.65, color=COLOURS[0] if row["contestant"] == OURS else GREY)
        low, high = (batch / row["timing"][name] for name in ("slowest", "fastest"))
        axes.plot([low, high], [y, y], color="black", linewidth=1.2, marker="|", markersize=7)
        _write_beside(axes, f"{rate:.1f}", (max(rate, high), y))
        highest = max(highest, high)
    _name_rows(axes, range(len(rows)), [_name(row["contestant"]) for row in rows])
    axes.set_xlim(0, 1.15 * highest)
    axes.set(xlabel="images per second (median; lines: slowest to fastest round)")
    return figure


def layers(result: dict) -> Figure | None:
    """Bars of the time of each layer, forward and backward; None without a profile."""
    profile = result.get("profile")
    if not profile:
        return None
    names = list(dict.fromkeys(row["layer"] for row in profile["layers"]))
    times = {direction: np.zeros(len(names)) for direction in ("forward", "backward")}
    for row in profile["layers"]:
        times[row["direction"]][names.index(row["layer"])] = 1e3 * row["seconds"]
    ends = sum(times.values())
    total = ends.sum()
    title = f"{result['settings']['title']}: time by layer, {total:.0f} ms in all"
    figure, axes = _figure(8, 1.3 + 0.25 * len(names), title)
    _stack(axes, times, COLOURS, height=0.7)
    for y, end in enumerate(ends):
        if end / total >= 0.005:
            _write_beside(axes, f"{end / total:.0%}", (end, y), fontsize=8)
    _name_rows(axes, range(len(names)), names)
    axes.margins(x=0.1)
    axes.set(xlabel="milliseconds a step")
    axes.legend(frameon=False, loc="lower right")
    return figure


def roofline(result: dict) -> Figure | None:
    """GFLOP/s by operations per byte, under the roofs; None if no operation has products."""
    rows = [row for row in result["results"] if row["status"] == "timed" and row["operations"]]
    if not rows:
        return None
    peak, copied = result["limits"]["peak"][result["settings"]["dtype"]], result["limits"]["bandwidth"]
    figure, axes = _figure(9, 5.6, f"{result['settings']['title']}, {where(result)}")
    intensity = [row["operations"] / row["moved_bytes"] for row in rows]
    low, high = min(*intensity, peak / copied) / 2, max(*intensity, peak / copied) * 2
    xs = np.geomspace(low, high, 200)
    axes.plot(xs, np.minimum(peak, xs * copied), color="black", linewidth=1.5)
    text = f"multiply-add peak {peak:.0f} GFLOP/s"
    _write_beside(axes, text, (high, peak), (0, 4), ha="right", va="bottom", fontsize=LABEL_POINTS)
    text = f"copy {copied:.1f} GB/s"
    _write_beside(axes, text, (low, low * copied), (16, -4), va="top", fontsize=LABEL_POINTS)
    colours, markers = _one_each(rows, "algorithm", COLOURS), _one_each(rows, "operation", MARKERS)
    for row, x in zip(rows, intensity, strict=True):
        look = {"color": colours[row["algorithm"]], "marker": markers[row["operation"]]}
        axes.plot(x, row["gflops"], **look, markersize=7, alpha=0.85, linestyle="none")
    for name, colour in colours.items():
        axes.plot([], [], "s", color=colour, label=name)
    for name, marker in markers.items():
        axes.plot([], [], marker, color="grey", label=name)
    axes.set(xscale="log", yscale="log", xlabel="operations per byte that must be moved", ylabel="GFLOP/s")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(LogFormatter())
    figure.legend(frameon=False, loc="outside right upper", fontsize=LABEL_POINTS)
    return figure


def gflops(result: dict) -> Figure | None:
    """Bars of the GFLOP/s of operations with products; None if there are none."""
    return _bars(result, products=True)


def bandwidth(result: dict) -> Figure | None:
    """Bars of the GB/s of operations without products; None if there are none."""
    return _bars(result, products=False)


def _bars(result: dict, products: bool) -> Figure | None:
    """Bars of kernels, grouped by their calls, and the machine's limit as a line."""
    timed = [row for row in result["results"] if row["status"] == "timed"]
    rows = [row for row in timed if bool(row["operations"]) == products]
    if not rows:
        return None
    limits = result["limits"]
    if products:
        roof, rate, unit = limits["peak"][result["settings"]["dtype"]], "gflops", "GFLOP/s"
    else:
        roof, rate, unit = limits["bandwidth"], "gb_per_s", "GB/s"
    colours = _one_each(rows, "algorithm", COLOURS)
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in sorted(rows, key=lambda row: row["operation"]):
        groups.setdefault((row["operation"], row["workload"]), []).append(row)
    title = f"{result['settings']['title']}, {where(result)}"
    figure, axes = _figure(9, 1.4 + 0.2 * len(rows) + 0.12 * len(groups), title)
    y, places = 0.0, []
    for group in groups.values():
        places.append(y + (len(group) - 1) / 2)
        for row in group:
            axes.barh(y, row[rate], height=0.85, color=colours[row["algorithm"]])
            y += 1
        y += 0.6
    for name, colour in colours.items():
        axes.barh([y], [0], color=colour, label=name)
    label = f"{'multiply-add peak' if products else 'copy'}, {roof:.1f}"
    axes.axvline(roof, color="black", linewidth=1.2, label=label)
    names = [f"{operation}  {shortened(workload, 44)}" for operation, workload in groups]
    _name_rows(axes, places, names, fontsize=8)
    axes.set_ylim(y, -0.8)
    axes.set(xlabel=unit)
    columns = min(5, len(colours) + 1)
    figure.legend(frameon=False, loc="outside lower center", ncols=columns, fontsize=LABEL_POINTS)
    return figure


def memory(result: dict) -> Figure:
    """Bars of the resident memory: libraries, network and optimiser, and what the step adds."""
    rows = [row for row in result["results"] if row["status"] == "measured"]
    title = f"{result['settings']['title']}, {where(result)}"
    figure, axes = _figure(8, 1.5 + 0.42 * len(rows), title)
    parts = {"libraries": "imported", "network, images": "prepared", "step": "peak"}
    ends = np.maximum.accumulate([[row[part] / 2**20 for row in rows] for part in parts.values()])
    stacked = dict(zip(parts, np.diff(ends, axis=0, prepend=0.0), strict=True))
    _stack(axes, stacked, ("#d9d9d9", GREY, COLOURS[0]), height=0.65)
    for y, row in enumerate(rows):
        _write_beside(axes, f"{row['peak'] / 2**20:,.0f}", (ends[-1][y], y))
    _name_rows(axes, range(len(rows)), [_name(row["contestant"]) for row in rows])
    axes.margins(x=0.12)
    axes.set(xlabel="resident memory at the peak of a step, MiB")
    figure.legend(frameon=False, loc="outside lower center", ncols=3)
    return figure


def scaling(result: dict) -> Figure:
    """Images per second by batch and by image size, a line for each contestant and number of threads."""
    rows = [row for row in result["results"] if row["status"] == "timed"]
    series = [key for key in ("batch", "size") if any(row["series"] == key for row in rows)]
    work = "inference" if result["settings"]["infer"] else "training steps"
    title = f"{result['settings']['title']}: {work} (median; band: all rounds)"
    figure = Figure(figsize=(5.6 * len(series) + 1.2, 4.2), layout="constrained")
    figure.suptitle(title, fontsize=_TITLE_POINTS)
    lines = list(dict.fromkeys((row["contestant"], row["threads"]) for row in rows))
    for axes, key in zip(figure.subplots(1, len(series), squeeze=False)[0], series, strict=True):
        part = sorted((row for row in rows if row["series"] == key), key=lambda row: row[key])
        for i, line in enumerate(lines):
            points = [row for row in part if (row["contestant"], row["threads"]) == line]
            if points:
                _draw_line(axes, key, points, COLOURS[i % len(COLOURS)])
        ticks = sorted({row[key] for row in part})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        name = "images in the batch" if key == "batch" else f"side of the image (batch {part[0]['batch']})"
        axes.set(xlabel=name, ylabel="images per second")
        axes.legend(frameon=False, fontsize=LABEL_POINTS)
    return figure


_PICTURES_OF_STEPS = {"images_per_second.png": contestants, "layers.png": layers}
_PICTURES = {
    "kernels": {"roofline.png": roofline, "gflops.png": gflops, "bandwidth.png": bandwidth},
    "memory": {"memory.png": memory},
    "scaling": {"scaling.png": scaling},
}


def _draw_line(axes: Axes, key: str, points: Sequence[dict], colour: str) -> None:
    xs = [row[key] for row in points]
    low, high = ([row["batch"] / row["timing"][end] for row in points] for end in ("slowest", "fastest"))
    threads = points[0]["threads"]
    label = f"{_name(points[0]['contestant'])}, {threads} thread{'' if threads == 1 else 's'}"
    rates = [row["images_per_second"] for row in points]
    axes.plot(xs, rates, color=colour, marker="o", markersize=4, label=label)
    axes.fill_between(xs, low, high, color=colour, alpha=0.15, linewidth=0)


def _figure(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=_TITLE_POINTS)
    return figure, figure.subplots()


def _stack(axes: Axes, parts: dict[str, np.ndarray], colours: Sequence[str], height: float) -> None:
    """Horizontal bars of several parts, one after another; parts that are all zero are left out."""
    start = 0.0
    for (name, values), colour in zip(parts.items(), colours, strict=False):
        if values.any():
            axes.barh(range(len(values)), values, left=start, height=height, color=colour, label=name)
        start = start + values


def _name_rows(
    axes: Axes, places: Sequence[float], names: Sequence[str], fontsize: float | None = None
) -> None:
    """Name horizontal bars, the first at the top."""
    axes.set_yticks(places, names, fontsize=fontsize)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)


def _write_beside(axes: Axes, text: str, point: tuple, offset: tuple = (5, 0), **look) -> None:
    axes.annotate(text, point, xytext=offset, textcoords="offset points", **{"va": "center"} | look)


def _one_each(rows: Sequence[dict], key: str, looks: Sequence[str]) -> dict[str, str]:
    """A colour or a marker for each of the values that rows have."""
    values = dict.fromkeys(row[key] for row in rows)
    return {value: looks[i % len(looks)] for i, value in enumerate(values)}


def _name(contestant: str) -> str:
    return _NAMES.get(contestant, contestant)
