"""`minialex train`: train a model and leave a run folder."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from minialex.cli.options import as_json, device_option, print_json
from minialex.training.settings import Settings
from minialex.training.sources import SOURCES

_DEFAULTS = Settings()


@click.command("train", short_help="Train a model and leave a run folder.")
@click.option("--model", default=_DEFAULTS.model, show_default=True, help="One of `minialex models`.")
@click.option(
    "--data",
    default=_DEFAULTS.data,
    show_default=True,
    help="; ".join(f"{name}: {source.description}" for name, source in SOURCES.items()) + ".",
)
@click.option("--data-dir", show_default="none", help="The folder of a data set that reads one.")
@click.option("--epochs", type=int, default=_DEFAULTS.epochs, show_default=True, help="Passes over the data.")
@click.option(
    "--batch-size", type=int, default=_DEFAULTS.batch_size, show_default=True, help="Images a step."
)
@click.option(
    "--lr", type=float, default=_DEFAULTS.lr, show_default=True,
    help="The highest learning rate of Adam; it rises over a tenth of the steps, then falls to 0.",
)  # fmt: skip
@click.option(
    "--seed", type=int, default=_DEFAULTS.seed, show_default=True,
    help="What initial weights, the order of the images and dropout follow from.",
)  # fmt: skip
@device_option(_DEFAULTS.device)
@click.option(
    "--out", type=click.Path(path_type=Path), show_default="a new one in runs/",
    help="The run folder to make.",
)  # fmt: skip
@as_json
def command(out: Path | None, as_json: bool, **options) -> None:
    """Train a model, test it after every epoch, and leave a run folder with settings, metrics,
    checkpoints and pictures. The last line holds the test accuracy after the last epoch.
    """
    from minialex.cli.progress import TrainingProgress
    from minialex.devices import choose_device
    from minialex.errors import TrainingError
    from minialex.models import get_architecture, summarise
    from minialex.training.memory_budget import gigabytes, require_memory
    from minialex.training.run import load_parts, train

    settings = Settings(**options)
    device, device_note = choose_device(settings.device)
    parts = load_parts(settings)
    network = get_architecture(settings.model).build(len(parts[0].classes))
    summary = summarise(network)
    # An epoch of fewer images than a batch is one batch of them.
    needed = require_memory(network, min(settings.batch_size, len(parts[0])), device)

    def say(line: str) -> None:
        click.echo(line, err=as_json)

    say(
        f"{settings.model}: {summary.trainable_parameters:,} parameters, "
        f"{summary.macs / 1e6:,.0f} million products an image; {device_note}"
    )
    say(
        f"{settings.data}: {len(parts[0]):,} training and {len(parts[1]):,} test images; "
        + settings.preprocessing().describe(parts[0].images.shape[1:])
    )
    say(f"a step takes about {gigabytes(needed)} of memory")
    with TrainingProgress(settings.epochs, say) as progress:
        result = train(settings, parts, out, (progress,))
    if result.guessing and not result.failed:
        click.echo(f"minialex: warning: {result.guessing}", err=True)
    if as_json:
        print_json(result.figures)
    else:
        accuracy = f"test accuracy {result.figures['test_accuracy'] * 100:.2f} %"
        click.echo(f"{accuracy}; everything is in {result.run.path}")
    if result.failed:
        sys.stdout.flush()
        raise TrainingError(result.guessing)
