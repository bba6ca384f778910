"""The tables of a benchmark, from the contents of its result.json."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from minialex.benchmarking.report import where

# As wide as the widest table: columns must not be cut on a narrow screen, programs read them too.
_WIDTH = 150

Columns = Sequence[tuple[str, str]]
"""The columns of a table: each its title, and how it is formatted from a row as `_shown` gives it."""

_TIME = (("ms", "{ms[median]:.1f}"), ("+-", "{ms[deviation]:.1f}"))
_STEPS = (
    ("contestant", "{contestant}"),
    *_TIME,
    ("range", "{ms[fastest]:.1f} to {ms[slowest]:.1f}"),
    ("images/s", "{images_per_second:.1f}"),
    ("GFLOP/s", "{gflops:.0f}"),
    ("of our time", "{times_ours:.2f} x"),
    ("error", "{error[norm]:.0e}"),
)
_CONVNET = (
    ("contestant", "{contestant}"),
    ("forward ms", "{forward_ms[median]:.1f}"),
    ("+-", "{forward_ms[deviation]:.1f}"),
    ("backward ms", "{backward_ms:.1f}"),
    ("both ms", "{ms[median]:.1f}"),
    ("+-", "{ms[deviation]:.1f}"),
    ("images/s", "{images_per_second:.1f}"),
    ("of ours", "{times_ours:.2f} x"),
    ("error", "{error[norm]:.0e}"),
)
_KERNELS = (
    ("shape", "{workload}"),
    ("kernel", "{algorithm}"),
    ("ms", "{ms[median]:.3f}"),
    ("+-", "{ms[deviation]:.3f}"),
    ("GFLOP/s", "{rate}"),
    ("GB/s", "{gb_per_s:.1f}"),
    ("of limit", "{share_of_limit:.0%}"),
    ("error", "{error[norm]:.0e}"),
    ("worst", "{error[worst]:.0e}"),
    ("workspace", "{workspace}"),
)
_MEMORY = (
    ("contestant", "{contestant}"),
    ("libraries", "{mib[imported]:,.0f}"),
    ("+ network", "{mib[prepared]:,.0f}"),
    ("first step", "{mib[first]:,.0f}"),
    ("peak", "{mib[peak]:,.0f}"),
    ("peak less libraries", "{mib[step]:,.0f}"),
)
_SCALING = (
    ("contestant", "{contestant}"),
    ("batch", "{batch}"),
    ("size", "{size}"),
    ("threads", "{threads}"),
    *_TIME,
    ("images/s", "{images_per_second:.1f}"),
    ("GFLOP/s", "{gflops:.0f}"),
    ("speed-up", "{gain}"),
)
_LAYERS = (
    ("layer", "{layer}"),
    ("forward ms", "{forward:.2f}"),
    ("backward ms", "{backward:.2f}"),
    ("share", "{share:.1%}"),
)
_SLOWEST = (
    ("layer", "{layer}"),
    ("operation", "{operation}"),
    ("shapes", "{shapes}"),
    ("calls", "{calls:g}"),
    ("ms", "{ms:.2f}"),
    ("share", "{share:.1%}"),
)


def print_tables(result: dict) -> None:
    """Print what a result holds."""
    kind, settings, rows = result["kind"], result["settings"], result["results"]
    title = f"\n{settings['title']}"
    if kind == "kernels":
        if settings.get("device", "cpu") != "cpu":
            _console().print(f"\non {where(result)}", markup=False)
        for operation in dict.fromkeys(row["operation"] for row in rows):
            same = [row for row in rows if row["operation"] == operation]
            _print_results(f"\n{operation}", _KERNELS, same, ("workload", "algorithm"))
    elif kind == "memory":
        _print_results(f"{title}: resident MiB", _MEMORY, rows, ("contestant",))
    elif kind == "scaling":
        _print_results(title, _SCALING, rows, ("contestant", "batch", "size", "threads"))
    else:
        title += f", {settings['steps']} rounds, {where(result)}"
        _print_results(title, _CONVNET if kind == "convnet" else _STEPS, rows, ("contestant",))
    if "profile" in result:
        _print_profile(result["profile"])


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


def _print_results(title: str, columns: Columns, rows: Sequence[dict], names: Sequence[str]) -> None:
    """Print the rows that were measured, then a line for each other one, by its `names`: why it was not."""
    measured = [row for row in rows if row["status"] in ("timed", "measured")]
    _print(title, columns, [_shown(row) for row in measured], left=2 if columns is _KERNELS else 1)
    for row in rows:
        if row not in measured:
            name = ", ".join(str(row[part]) for part in names)
            _console().print(f"  {name}: {row['status']}, {row['reason']}", markup=False)


def _shown(row: dict) -> dict:
    """A row, with its figures in the units of the tables."""
    shown = dict(row)
    for part, name in (("timing", "ms"), ("forward", "forward_ms")):
        if part in row:
            seconds = {key: row[part][key] for key in ("median", "deviation", "fastest", "slowest")}
            shown[name] = {key: 1e3 * value for key, value in seconds.items()}
    if "backward_seconds" in row:
        shown["backward_ms"] = 1e3 * row["backward_seconds"]
    if "peak" in row:
        parts = ("imported", "prepared", "first", "peak", "step")
        shown["mib"] = {part: row[part] / 2**20 for part in parts}
    if "operations" in row:
        workspace = row["workspace_bytes"]
        shown["rate"] = f"{row['gflops']:.1f}" if row["operations"] else ""
        shown["workspace"] = "" if workspace is None else f"{workspace / 2**20:.1f} MiB"
    if "speedup" in row:
        shown["gain"] = "" if row["speedup"] is None else f"{row['speedup']:.2f} x"
    return shown


def _print_profile(profile: dict) -> None:
    total = sum(row["seconds"] for row in profile["layers"])
    layers: dict[str, dict] = {}
    for row in profile["layers"]:
        layer = layers.setdefault(row["layer"], {"layer": row["layer"], "forward": 0.0, "backward": 0.0})
        layer[row["direction"]] += 1e3 * row["seconds"]
    for layer in layers.values():
        layer["share"] = (layer["forward"] + layer["backward"]) / 1e3 / total
    _print(f"\nTime by layer, {1e3 * total:.1f} ms a step", _LAYERS, list(layers.values()))
    slowest = sorted(profile["kernels"], key=lambda row: -row["seconds"])[:20]
    rows = [row | {"ms": 1e3 * row["seconds"], "share": row["seconds"] / total} for row in slowest]
    _print("\nThe kernels that take most", _SLOWEST, rows, left=3)


def _print(title: str, columns: Columns, rows: Sequence[dict], left: int = 1) -> None:
    """Print a table, its first `left` columns left-aligned."""
    table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    for i, (name, _) in enumerate(columns):
        table.add_column(name, no_wrap=True, justify="left" if i < left else "right")
    for row in rows:
        table.add_row(*(form.format_map(row) for _, form in columns))
    if rows:
        _console().print(table)


def _console() -> Console:
    return Console(width=_WIDTH, highlight=False, soft_wrap=True)
