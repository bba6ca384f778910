"""The pictures of a benchmark, drawn from the contents of its result.json."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatter

from minialex.benchmarking.report import where
from minialex.files import write_atomically

_OURS, _PEER = "#1f5fa8", "#9aa5b1"
_COLOURS = ("#1f5fa8", "#d9730d", "#3a8f4d", "#a23b72", "#6b5bb5", "#7a6a53", "#c2a000", "#2a9d9d")
_MARKERS = "osD^vP*X"
_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
}


def draw(folder: Path, result: dict) -> list[Path]:
    """Draw what a result holds; return the files."""
    drawn: list[Path] = []

    def save(name: str, figure: Figure | None) -> None:
        if figure is not None:
            path = folder / name
            write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))
            drawn.append(path)

    # Figures are made without pyplot, so that no window system is touched and nothing is kept.
    with matplotlib.rc_context(_STYLE):
        kind = result["kind"]
        if kind == "kernels":
            save("roofline.png", roofline(result))
            save("gflops.png", bars(result, products=True))
            save("bandwidth.png", bars(result, products=False))
        elif kind == "memory":
            save("memory.png", memory(result))
        elif kind == "scaling":
            save("scaling.png", scaling(result))
        else:
            save("images_per_second.png", contestants(result))
            save("layers.png", layers(result))
    return drawn


def contestants(result: dict) -> Figure:
    """Bars of images per second, the medians, with lines from the slowest to the fastest round."""
    rows = [row for row in result["results"] if row["status"] == "timed"]
    batch = result["settings"]["batch"]
    figure = Figure(figsize=(8, 1.3 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    rates = [row["images_per_second"] for row in rows]
    for y, (row, rate) in enumerate(zip(rows, rates, strict=True)):
        ours = row["contestant"] == "minialex"
        axes.barh(y, rate, height=0.65, color=_OURS if ours else _PEER)
        low, high = (batch / row["timing"][name] for name in ("slowest", "fastest"))
        axes.plot([low, high], [y, y], color="black", linewidth=1.2, marker="|", markersize=7)
        axes.annotate(
            f"{rate:.1f}", (max(rate, high), y), xytext=(6, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(rows)), [_label(row["contestant"]) for row in rows])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, 1.15 * max(batch / row["timing"]["fastest"] for row in rows))
    kinds = {"train": "training steps", "infer": "inference", "convnet": "forward and backward"}
    axes.set(xlabel="images per second (median; lines: slowest to fastest round)")
    title = f"{result['settings']['title']}: {kinds[result['kind']]}, {where(result)}"
    figure.suptitle(title, fontsize=11)
    return figure


def layers(result: dict) -> Figure | None:
    """Bars of the time of each layer, forward and backward; None without a profile."""
    profile = result.get("profile")
    if not profile:
        return None
    seconds: dict[str, dict[str, float]] = {}
    for row in profile["layers"]:
        seconds.setdefault(row["layer"], {})[row["direction"]] = row["seconds"]
    names = list(seconds)
    figure = Figure(figsize=(8, 1.3 + 0.25 * len(names)), layout="constrained")
    axes = figure.subplots()
    total = sum(sum(each.values()) for each in seconds.values())
    start = np.zeros(len(names))
    for direction, colour in (("forward", _COLOURS[0]), ("backward", _COLOURS[1])):
        values = np.array([1e3 * seconds[name].get(direction, 0.0) for name in names])
        if values.any():
            axes.barh(range(len(names)), values, left=start, height=0.7, color=colour, label=direction)
        start += values
    for y, value in enumerate(start):
        share = value / 1e3 / total
        axes.annotate(
            f"{share:.0%}" if share >= 0.005 else "", (value, y), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=8,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.1)
    axes.set(xlabel="milliseconds a step")
    axes.legend(frameon=False, loc="lower right")
    figure.suptitle(f"{result['settings']['title']}: time by layer, {1e3 * total:.0f} ms in all", fontsize=11)
    return figure


def roofline(result: dict) -> Figure | None:
    """GFLOP/s by operations per byte, under the roofs; None if no operation has products."""
    rows = [row for row in result["results"] if row["status"] == "timed" and row["operations"]]
    if not rows:
        return None
    peak = result["limits"]["peak"][result["settings"]["dtype"]]
    bandwidth = result["limits"]["bandwidth"]
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    axes = figure.subplots()
    intensity = [row["operations"] / row["moved_bytes"] for row in rows]
    low, high = min(*intensity, peak / bandwidth) / 2, max(*intensity, peak / bandwidth) * 2
    xs = np.geomspace(low, high, 200)
    axes.plot(xs, np.minimum(peak, xs * bandwidth), color="black", linewidth=1.5)
    axes.annotate(
        f"multiply-add peak {peak:.0f} GFLOP/s", (high, peak), xytext=(0, 4), textcoords="offset points",
        ha="right", fontsize=9,
    )  # fmt: skip
    axes.annotate(
        f"copy {bandwidth:.1f} GB/s", (low, low * bandwidth), xytext=(16, -4), textcoords="offset points",
        fontsize=9, va="top",
    )  # fmt: skip
    algorithms = list(dict.fromkeys(row["algorithm"] for row in rows))
    operations = list(dict.fromkeys(row["operation"] for row in rows))
    for row, x in zip(rows, intensity, strict=True):
        axes.plot(
            x, row["gflops"], marker=_MARKERS[operations.index(row["operation"]) % len(_MARKERS)],
            color=_COLOURS[algorithms.index(row["algorithm"]) % len(_COLOURS)], markersize=7, alpha=0.85,
            linestyle="none",
        )  # fmt: skip
    for i, name in enumerate(algorithms):
        axes.plot([], [], "s", color=_COLOURS[i % len(_COLOURS)], label=name)
    for i, name in enumerate(operations):
        axes.plot([], [], _MARKERS[i % len(_MARKERS)], color="grey", label=name)
    axes.set(xscale="log", yscale="log", xlabel="operations per byte that must be moved", ylabel="GFLOP/s")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(LogFormatter())
    figure.legend(frameon=False, loc="outside right upper", fontsize=9)
    figure.suptitle(f"{result['settings']['title']}, {where(result)}", fontsize=11)
    return figure


def bars(result: dict, products: bool) -> Figure | None:
    """Bars of the GFLOP/s of operations with products, or of the GB/s of those without, and the machine's
    limit as a line; None if there are no such operations.
    """
    rows = [
        row for row in result["results"] if row["status"] == "timed" and bool(row["operations"]) == products
    ]
    rate, unit, limit = (
        ("gflops", "GFLOP/s", "multiply-add peak") if products else ("gb_per_s", "GB/s", "copy")
    )
    if not rows:
        return None
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in sorted(rows, key=lambda row: row["operation"]):
        groups.setdefault((row["operation"], row["workload"]), []).append(row)
    algorithms = list(dict.fromkeys(row["algorithm"] for row in rows))
    figure = Figure(figsize=(9, 1.4 + 0.2 * len(rows) + 0.12 * len(groups)), layout="constrained")
    axes = figure.subplots()
    y, ticks = 0.0, []
    for (operation, workload), group in groups.items():
        ticks.append((y + (len(group) - 1) / 2, f"{operation}  {_short(workload)}"))
        for row in group:
            colour = _COLOURS[algorithms.index(row["algorithm"]) % len(_COLOURS)]
            axes.barh(y, row[rate], height=0.85, color=colour)
            y += 1
        y += 0.6
    for i, name in enumerate(algorithms):
        axes.barh([y], [0], color=_COLOURS[i % len(_COLOURS)], label=name)
    limits = result["limits"]
    roof = limits["peak"][result["settings"]["dtype"]] if products else limits["bandwidth"]
    axes.axvline(roof, color="black", linewidth=1.2, label=f"{limit}, {roof:.1f}")
    axes.set_yticks([at for at, _ in ticks], [text for _, text in ticks], fontsize=8)
    axes.set_ylim(y, -0.8)
    axes.grid(axis="y", visible=False)
    axes.set(xlabel=unit)
    figure.legend(frameon=False, loc="outside lower center", ncols=min(5, len(algorithms) + 1), fontsize=9)
    figure.suptitle(f"{result['settings']['title']}, {where(result)}", fontsize=11)
    return figure


def memory(result: dict) -> Figure:
    """Bars of the resident memory: libraries, network and optimiser, and what the step adds."""
    rows = [row for row in result["results"] if row["status"] == "measured"]
    figure = Figure(figsize=(8, 1.5 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    start = np.zeros(len(rows))
    for name, upto, colour in (
        ("libraries", "imported", "#cfd6dd"),
        ("network, images", "prepared", _PEER),
        ("step", "peak", _OURS),
    ):
        ends = np.array([row[upto] / 2**20 for row in rows])
        axes.barh(
            range(len(rows)), np.maximum(ends - start, 0), left=start, height=0.65, color=colour, label=name
        )
        start = np.maximum(start, ends)
    for y, (row, end) in enumerate(zip(rows, start, strict=True)):
        axes.annotate(
            f"{row['peak'] / 2**20:,.0f}", (end, y), xytext=(5, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(rows)), [_label(row["contestant"]) for row in rows])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.12)
    axes.set(xlabel="resident memory at the peak of a step, MiB")
    figure.legend(frameon=False, loc="outside lower center", ncols=3)
    figure.suptitle(f"{result['settings']['title']}, {where(result)}", fontsize=11)
    return figure


def scaling(result: dict) -> Figure:
    """Images per second by batch and by image size, a line for each contestant and number of threads."""
    rows = [row for row in result["results"] if row["status"] == "timed"]
    parts = [
        (key, [row for row in rows if row["series"] == key])
        for key in ("batch", "size")
        if any(row["series"] == key for row in rows)
    ]
    figure = Figure(figsize=(5.6 * len(parts) + 1.2, 4.2), layout="constrained")
    lines = list(dict.fromkeys((row["contestant"], row["threads"]) for row in rows))
    for axes, (key, part) in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
        for i, (contestant, threads) in enumerate(lines):
            points = sorted(
                (row[key], row["images_per_second"], row["batch"] / row["timing"]["slowest"],
                 row["batch"] / row["timing"]["fastest"])
                for row in part
                if (row["contestant"], row["threads"]) == (contestant, threads)
            )  # fmt: skip
            if points:
                xs, rates, low, high = zip(*points, strict=True)
                colour = _COLOURS[i % len(_COLOURS)]
                label = f"{_label(contestant)}, {_threads(threads)}"
                axes.plot(xs, rates, color=colour, marker="o", markersize=4, label=label)
                axes.fill_between(xs, low, high, color=colour, alpha=0.15, linewidth=0)
        ticks = sorted({row[key] for row in part})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        name = "images in the batch" if key == "batch" else f"side of the image (batch {part[0]['batch']})"
        axes.set(xlabel=name, ylabel="images per second")
        axes.legend(frameon=False, fontsize=9)
    what = "inference" if result["settings"]["infer"] else "training steps"
    figure.suptitle(f"{result['settings']['title']}: {what} (median; band: all rounds)", fontsize=11)
    return figure


def _label(contestant: str) -> str:
    return {
        "minialex": "MiniAlex",
        "torch": "PyTorch eager",
        "torch_channels_last": "PyTorch channels_last",
        "torch_compile": "PyTorch compiled",
        "torch_compile_channels_last": "PyTorch compiled,\nchannels_last",
        "onnxruntime": "ONNX Runtime",
        "openvino": "OpenVINO",
    }.get(contestant, contestant)


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"


def _short(text: str, length: int = 44) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
