"""`minialex compare`: runs side by side."""

from __future__ import annotations

from pathlib import Path

import click

from minialex.cli.options import as_json, own_models
from minialex.cli.output import print_json, print_line, print_table


@click.command("compare", short_help="Put runs side by side: a table, and curves in one picture.")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.png",
    show_default="none",
    help="Draw the learning curves of up to eight runs in one picture.",
)
@own_models
@as_json
def command(runs: tuple[Path, ...], picture: Path | None, as_json: bool) -> None:
    """Put the run folders RUN... side by side.

    The figures are those that the runs have recorded; nothing is computed again. What keeps figures from
    being comparable is said under the table. An unfinished run is shown as far as it came.
    """
    from minialex.training.report.comparison import compare
    from minialex.training.report.recorded_run import RecordedRun

    comparison = compare([RecordedRun.open(path) for path in runs])
    if picture is not None:
        from minialex.plots import save
        from minialex.training.learning_curves import figure_of_runs

        save(figure_of_runs(comparison.curves()), picture)
    if as_json:
        print_json(
            {
                "runs": [row.to_dict() for row in comparison.rows],
                "notes": comparison.notes,
                "picture": None if picture is None else str(picture),
            }
        )
        return
    _print_runs(comparison.rows)
    for note in comparison.notes:
        print_line(note)
    if picture is not None:
        print_line(f"curves: {picture}")


def _print_runs(rows) -> None:
    from minialex.training.report.page import duration

    columns = ["parameters", "size", "epochs", "measured on", "best (epoch)", "last", "loss"]
    if any(row.test_accuracy is not None for row in rows):
        columns.append("test")
    lines = []
    for row in rows:
        best = "-" if row.best_accuracy is None else f"{_percent(row.best_accuracy)} ({row.best_epoch})"
        cells = {
            "parameters": f"{row.parameters:,}",
            "size": f"{row.weight_bytes / 1e6:,.1f} MB",
            "epochs": f"{row.epochs}" if row.state == "finished" else f"{row.epochs} of {row.planned_epochs}",
            "measured on": row.part,
            "best (epoch)": best,
            "last": _percent(row.last_accuracy),
            "loss": "-" if row.last_loss is None else f"{row.last_loss:.4f}",
            "test": _percent(row.test_accuracy),
        }
        lines.append(
            (
                row.name,
                row.recipe,
                row.model,
                *(cells[title] for title in columns),
                "-" if row.seconds is None else duration(row.seconds),
                "-" if row.images_per_second is None else f"{row.images_per_second:,.0f}",
            )
        )
    print_table(("run", "recipe", "model"), (*columns, "time", "images/s"), lines, line=True)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.2f} %"
