"""`minialex models`: the models there are."""

from __future__ import annotations

import click

from minialex.cli.options import as_json
from minialex.cli.output import print_json, print_line


@click.command("models", short_help="List the models.")
@as_json
def command(as_json: bool) -> None:
    """List the models, with their input, parameters and how each differs from the paper."""
    from minialex.models import get_architecture, list_models

    entries = [get_architecture(name) for name in list_models()]
    if as_json:
        print_json(
            [
                {
                    "model": entry.name,
                    "source": entry.source,
                    "input_shape": list(entry.input_shape),
                    "num_classes": entry.num_classes,
                    "trainable_parameters": entry.trainable_parameters,
                    "macs": entry.macs,
                    "year": entry.year,
                    "paper": entry.paper,
                    "differs": entry.differs,
                }
                for entry in entries
            ]
        )
        return
    for entry in entries:
        size = " x ".join(str(n) for n in entry.input_shape)
        print_line(
            f"{entry.name}: {size}, {entry.num_classes} classes, {entry.trainable_parameters:,} parameters "
            f"({entry.source})"
        )
        print_line(f"    {entry.differs}")
