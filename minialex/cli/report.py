"""`minialex report`: one run on a page."""

from __future__ import annotations

from pathlib import Path

import click

from minialex.cli.options import as_json, checkpoint, device_option, own_model
from minialex.cli.output import print_json, print_line


@click.command("report", short_help="Write a page about a run: curves, errors, feature maps, times.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    show_default="report.html in RUN",
    metavar="FILE.html",
    help="The page to write.",
)
@click.option(
    "--image",
    "images",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    show_default="one that is right and the worst error",
    help="Show the feature maps of this PNG or JPEG image; may be given several times.",
)
@checkpoint
@own_model
@click.option("--data-dir", show_default="as in training", help="Where the data set's files are now.")
@device_option()
@as_json
def command(
    run: Path,
    out: Path | None,
    images: tuple[Path, ...],
    checkpoint: str,
    data_dir: str | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Write one HTML file about the run folder RUN: settings, learning curves, what is taken for what,
    the worst errors, first filters, feature maps layer by layer, and the time that each layer takes.

    The network is tested and timed again for it. The file needs no network and no other file.
    """
    from minialex.training.report.recorded_run import RecordedRun
    from minialex.training.report.run_page import PageOptions, write_run_page

    recorded = RecordedRun.open(run)
    out = run / "report.html" if out is None else out
    options = PageOptions(images, checkpoint, data_dir, device)
    evaluation = write_run_page(recorded, out, options, say=lambda line: print_line(line, err=True))
    if as_json:
        print_json(
            {
                "run": str(run),
                "checkpoint": checkpoint,
                "part": recorded.tested_part,
                "report": str(out),
                "test_images": len(evaluation.labels),
                "test_loss": evaluation.loss,
                "test_accuracy": evaluation.accuracy,
            }
        )
        return
    print_line(f"{recorded.tested_part} accuracy {evaluation.accuracy * 100:.2f} %; the report is {out}")
