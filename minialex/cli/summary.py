"""`minialex summary`: what a model consists of."""

from __future__ import annotations

import click

from minialex.cli.options import as_json, print_json


@click.command("summary", short_help="Show a model layer by layer.")
@click.argument("model")
@click.option("--batch", type=int, default=1, show_default=True, help="Images in the batch.")
@click.option("--num-classes", type=int, show_default="the model's own", help="Outputs of the last layer.")
@click.option(
    "--size", type=int, show_default="the model's own",
    help="Height and width of the images; refused, with the sizes that fit, if the model cannot take it.",
)  # fmt: skip
@as_json
def command(model: str, batch: int, num_classes: int | None, size: int | None, as_json: bool) -> None:
    """Show each layer of MODEL with its output shape, parameters, products and memory, and the totals."""
    from minialex.models import get_architecture, summarise

    architecture = get_architecture(model)
    summary = summarise(architecture.build(num_classes), batch, None if size is None else (size, size))
    if as_json:
        print_json(summary.to_dict())
        return

    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    for title in ("layer", "kind"):
        table.add_column(title, no_wrap=True)
    for title in ("output shape", "parameters", "MACs", "memory"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_row("input", "", _shape(summary.input_shape), "", "", "")
    for layer in summary.layers:
        table.add_row(
            layer.name,
            layer.kind,
            _shape(layer.output_shape),
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.macs:,}" if layer.macs else "",
            _memory(layer.activation_bytes),
        )
    table.add_section()
    table.add_row(
        "total", "", "", f"{summary.parameters:,}", f"{summary.macs:,}", _memory(summary.activation_bytes)
    )
    # As wide as the table: its columns are read by programs too, and must not be cut on a narrow screen.
    Console(width=110, highlight=False).print(table)
    click.echo(
        f"\n{model} ({architecture.source}): {summary.trainable_parameters:,} trainable parameters, "
        f"{_memory(4 * summary.parameters)} in float32"
    )
    if summary.parameters != summary.trainable_parameters:
        rest = summary.parameters - summary.trainable_parameters
        click.echo(f"{rest:,} more are the running statistics of batch normalisation")
    click.echo(f"Differs from the paper: {architecture.differs}")


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)


def _memory(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
