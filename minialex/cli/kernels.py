"""`minialex kernels`: the kernels there are."""

from __future__ import annotations

from pathlib import Path

import click

from minialex.cli.options import as_json, print_json


@click.command("kernels", short_help="List the kernels.")
@click.option("--op", "operation", show_default="all", help="One operation, such as conv2d.")
@click.option("--device", show_default="all", help="One device, such as cpu.")
@click.option("--plugin", type=click.Path(path_type=Path), help="A Python file that registers more kernels.")
@as_json
def command(operation: str | None, device: str | None, plugin: Path | None, as_json: bool) -> None:
    """List the kernels by operation, device and algorithm, the engine's default choice marked with *."""
    from minialex.errors import KernelError
    from minialex.kernels import list_kernels, load_plugin, ranked

    if plugin is not None:
        load_plugin(plugin)
    entries = list_kernels(operation, device)
    if not entries:
        known = sorted({entry.operation.split(".")[0] for entry in list_kernels()})
        raise KernelError(
            f"no kernel of operation {operation!r} on device {device!r}; operations: {', '.join(known)}"
        )

    def is_default(entry) -> bool:
        return entry in ranked(entry.operation, entry.device)[:1]

    if as_json:
        print_json(
            [
                {
                    "operation": entry.operation,
                    "device": entry.device,
                    "algorithm": entry.algorithm,
                    "rank": entry.rank,
                    "default": is_default(entry),
                }
                for entry in entries
            ]
        )
        return
    for entry in entries:
        mark = "*" if is_default(entry) else " "
        click.echo(f"{mark} {entry.operation:28} {entry.device:10} {entry.algorithm}")
