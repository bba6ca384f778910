"""Options that several commands share."""

from __future__ import annotations

import json

import click

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")

checkpoint = click.option(
    "--checkpoint",
    type=click.Choice(("best", "last")),
    default="last",
    show_default=True,
    help="The weights after the epoch with the best test accuracy, or after the last epoch.",
)


def print_json(value) -> None:
    """Print a value as one line of JSON."""
    click.echo(json.dumps(value, allow_nan=False))
