"""Options that several commands share."""

from __future__ import annotations

import click

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")

checkpoint = click.option(
    "--checkpoint",
    type=click.Choice(("best", "last")),
    default="last",
    show_default=True,
    help="The weights after the epoch with the best test accuracy, or after the last epoch.",
)


MODEL = "One of `minialex models`, or FILE.py:NAME, a network of your own; the file is run."


def _load(_context, _parameter, targets: str | tuple[str, ...] | None) -> None:
    """Load networks of one's own, so that the models of run folders are known."""
    from minialex.models import load_model

    for target in (targets,) if isinstance(targets, str) else targets or ():
        load_model(target)


own_model = click.option(
    "--model",
    metavar="FILE.py:NAME",
    callback=_load,
    expose_value=False,
    help="The run's network, if it is one of your own; the file is run.",
)

own_models = click.option(
    "--model",
    metavar="FILE.py:NAME",
    multiple=True,
    callback=_load,
    expose_value=False,
    help="The network of one of the runs, if it is your own; may be given more than once. The file is run.",
)


def device_option(default: str | None = None):
    """``--device``; without a default it is the device of the training run."""
    return click.option(
        "--device",
        default=default,
        show_default=default or "as in training",
        help="Where to compute: cpu, cuda, cuda-host, or auto to choose the best one there is.",
    )
