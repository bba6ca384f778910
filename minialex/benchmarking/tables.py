"""The tables of a benchmark, from the contents of its result.json."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from minialex.benchmarking.report import where

# As wide as the widest table: columns must not be cut on a narrow screen, programs read them too.
_WIDTH = 150


def print_tables(result: dict) -> None:
    """Print what a result holds."""
    printers = {"kernels": _kernels, "memory": _memory, "scaling": _scaling, "convnet": _convnet}
    printers.get(result["kind"], _steps)(result)
    if "profile" in result:
        _profile(result["profile"])


def limits_line(limits: dict) -> str:
    """The machine's limits in a sentence."""
    one, peak = limits["peak_one"]["float32"], limits["peak"]["float32"]
    if limits.get("gpu"):
        return (
            f"limits of {limits['gpu']}: multiply-add peak {peak:.0f} GFLOP/s by its lanes and its clock; "
            f"copy {limits['bandwidth']:.0f} GB/s, measured"
        )
    return (
        f"limits: multiply-add peak {one:.0f} GFLOP/s on one thread, {peak:.0f} on {limits['threads']}; "
        f"copy {limits['bandwidth_one']:.1f} GB/s on one, {limits['bandwidth']:.1f} on {limits['threads']}"
    )


def _print(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: int = 1,
    notes: Sequence[str] = (),
) -> None:
    """Print a table, its first `left` columns left-aligned, and what is to be said of those not in it."""
    table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, no_wrap=True, justify="left" if i < left else "right")
    for row in rows:
        table.add_row(*row)
    console = Console(width=_WIDTH, highlight=False, soft_wrap=True)
    if rows:
        console.print(table)
    for note in notes:
        console.print(f"  {note}", markup=False)


def _is_measured(row: dict) -> bool:
    return row["status"] in ("timed", "measured")


def _notes(rows: Sequence[dict], *names: str) -> list[str]:
    """A line for each row that was not measured: what, and why not."""
    return [
        f"{', '.join(str(row[name]) for name in names)}: {row['status']}, {row['reason']}"
        for row in rows
        if not _is_measured(row)
    ]


def _kernels(result: dict) -> None:
    if result["settings"].get("device", "cpu") != "cpu":
        Console(width=_WIDTH, highlight=False, soft_wrap=True).print(f"\non {where(result)}", markup=False)
    by_operation: dict[str, list[dict]] = {}
    for row in result["results"]:
        by_operation.setdefault(row["operation"], []).append(row)
    for operation, rows in by_operation.items():
        _print(
            f"\n{operation}",
            ("shape", "kernel", "ms", "+-", "GFLOP/s", "GB/s", "of limit", "error", "worst", "workspace"),
            [_kernel_row(row) for row in rows if _is_measured(row)],
            left=2,
            notes=_notes(rows, "workload", "algorithm"),
        )


def _kernel_row(row: dict) -> list[str]:
    timing, workspace = row["timing"], row["workspace_bytes"]
    return [
        row["workload"],
        row["algorithm"],
        f"{1e3 * timing['median']:.3f}",
        f"{1e3 * timing['deviation']:.3f}",
        f"{row['gflops']:.1f}" if row["operations"] else "",
        f"{row['gb_per_s']:.1f}",
        f"{row['share_of_limit']:.0%}",
        f"{row['error']['norm']:.0e}",
        f"{row['error']['worst']:.0e}",
        "" if workspace is None else f"{workspace / 2**20:.1f} MiB",
    ]


def _steps(result: dict) -> None:
    rows = [
        [
            row["contestant"],
            f"{1e3 * row['timing']['median']:.1f}",
            f"{1e3 * row['timing']['deviation']:.1f}",
            f"{1e3 * row['timing']['fastest']:.1f} to {1e3 * row['timing']['slowest']:.1f}",
            f"{row['images_per_second']:.1f}",
            f"{row['gflops']:.0f}",
            f"{row['times_ours']:.2f} x",
            f"{row['error']['norm']:.0e}",
        ]
        for row in result["results"]
        if _is_measured(row)
    ]
    _print(
        f"\n{result['settings']['title']}, {result['settings']['steps']} rounds, {where(result)}",
        ("contestant", "ms", "+-", "range", "images/s", "GFLOP/s", "of our time", "error"),
        rows,
        notes=_notes(result["results"], "contestant"),
    )


def _convnet(result: dict) -> None:
    rows = [
        [
            row["contestant"],
            f"{1e3 * row['forward']['median']:.1f}",
            f"{1e3 * row['forward']['deviation']:.1f}",
            f"{1e3 * row['backward_seconds']:.1f}",
            f"{1e3 * row['timing']['median']:.1f}",
            f"{1e3 * row['timing']['deviation']:.1f}",
            f"{row['images_per_second']:.1f}",
            f"{row['times_ours']:.2f} x",
            f"{row['error']['norm']:.0e}",
        ]
        for row in result["results"]
        if _is_measured(row)
    ]
    _print(
        f"\n{result['settings']['title']}, {result['settings']['steps']} rounds, {where(result)}",
        ("contestant", "forward ms", "+-", "backward ms", "both ms", "+-", "images/s", "of ours", "error"),
        rows,
        notes=_notes(result["results"], "contestant"),
    )


def _memory(result: dict) -> None:
    parts = ("imported", "prepared", "first", "peak", "step")
    _print(
        f"\n{result['settings']['title']}: resident MiB",
        ("contestant", "libraries", "+ network", "first step", "peak", "peak less libraries"),
        [
            [row["contestant"], *(f"{row[part] / 2**20:,.0f}" for part in parts)]
            for row in result["results"]
            if _is_measured(row)
        ],
        notes=_notes(result["results"], "contestant"),
    )


def _scaling(result: dict) -> None:
    rows = [
        [
            row["contestant"],
            str(row["batch"]),
            str(row["size"]),
            str(row["threads"]),
            f"{1e3 * row['timing']['median']:.1f}",
            f"{1e3 * row['timing']['deviation']:.1f}",
            f"{row['images_per_second']:.1f}",
            f"{row['gflops']:.0f}",
            "" if row["speedup"] is None else f"{row['speedup']:.2f} x",
        ]
        for row in result["results"]
        if _is_measured(row)
    ]
    _print(
        f"\n{result['settings']['title']}",
        ("contestant", "batch", "size", "threads", "ms", "+-", "images/s", "GFLOP/s", "speed-up"),
        rows,
        notes=_notes(result["results"], "contestant", "batch", "size", "threads"),
    )


def _profile(profile: dict) -> None:
    total = sum(row["seconds"] for row in profile["layers"])
    seconds: dict[str, dict[str, float]] = {}
    for row in profile["layers"]:
        seconds.setdefault(row["layer"], {})[row["direction"]] = row["seconds"]
    _print(
        f"\nTime by layer, {1e3 * total:.1f} ms a step",
        ("layer", "forward ms", "backward ms", "share"),
        [
            [layer, *(f"{1e3 * each.get(way, 0.0):.2f}" for way in ("forward", "backward")),
             f"{sum(each.values()) / total:.1%}"]
            for layer, each in seconds.items()
        ],
    )  # fmt: skip
    slowest = sorted(profile["kernels"], key=lambda row: -row["seconds"])[:20]
    _print(
        "\nThe kernels that take most",
        ("layer", "operation", "shapes", "calls", "ms", "share"),
        [
            [row["layer"], row["operation"], row["shapes"], f"{row['calls']:g}",
             f"{1e3 * row['seconds']:.2f}", f"{row['seconds'] / total:.1%}"]
            for row in slowest
        ],
        left=3,
    )  # fmt: skip
