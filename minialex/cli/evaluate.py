"""`minialex evaluate`: test a run's network again."""

from __future__ import annotations

from pathlib import Path

import click

from minialex.cli.options import as_json, checkpoint, device_option, print_json


@click.command("evaluate", short_help="Test the network of a run folder.")
@click.argument("run", type=click.Path(path_type=Path))
@checkpoint
@click.option("--data-dir", show_default="as in training", help="Where the data set's files are now.")
@device_option()
@as_json
def command(run: Path, checkpoint: str, data_dir: str | None, device: str | None, as_json: bool) -> None:
    """Test the network of the run folder RUN on the test part of its data set."""
    from minialex.training.run import evaluate_run
    from minialex.training.run_folder import RunFolder

    folder = RunFolder.open(run)
    result = evaluate_run(folder, checkpoint, data_dir, device)
    confusion = result.confusion()
    totals = confusion.sum(axis=1)
    per_class = {
        name: float(confusion[i, i] / totals[i]) if totals[i] else None
        for i, name in enumerate(folder.classes)
    }
    if as_json:
        print_json(
            {
                "run": str(run),
                "checkpoint": checkpoint,
                "test_images": len(result.labels),
                "test_loss": result.loss,
                "test_accuracy": result.accuracy,
                "class_accuracy": per_class,
            }
        )
        return
    for i, (name, accuracy) in enumerate(per_class.items()):
        share = "no images" if accuracy is None else f"{accuracy * 100:6.2f} %"
        click.echo(f"class {name:>10}  {share}  of {totals[i]:,}")
    click.echo(
        f"{folder.settings.model}, {checkpoint} checkpoint, {len(result.labels):,} test images, "
        f"test loss {result.loss:.4f}"
    )
    click.echo(f"test accuracy {result.accuracy * 100:.2f} %")
