"""`minialex gradcheck`: check the gradients of kernels and models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from minialex.cli.options import as_json
from minialex.cli.output import print_json, print_line, print_text

_COLUMNS = "{:24} {:26} {:>5} {:>6} {:>9} {:>9} {:>9} {:>6} {:>7}  {}"


@click.command("gradcheck", short_help="Check the gradients of kernels and models.")
@click.option("--op", "operation", show_default="all", help="One operation, such as conv2d.")
@click.option("--kernel", "algorithm", show_default="all", help="One algorithm, such as im2col.")
@click.option("--device", show_default="all", help="One device, such as cpu.")
@click.option("--model", show_default="all", help="One of `minialex models`, and no kernels.")
@click.option("--plugin", type=click.Path(path_type=Path), help="A Python file that registers more kernels.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of values and upstream gradients.")
@click.option("--quick", is_flag=True, help="Random directions only, and no models: a weaker check.")
@click.option(
    "--explain", metavar="OP", help="Show one check of an operation in full, and draw its Jacobian."
)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("gradcheck.png"), show_default=True,
    help="Where --explain puts its picture.",
)  # fmt: skip
@as_json
def command(
    operation: str | None,
    algorithm: str | None,
    device: str | None,
    model: str | None,
    plugin: Path | None,
    seed: int,
    quick: bool,
    explain: str | None,
    out: Path,
    as_json: bool,
) -> None:
    """Check every kernel of every operation, and every model, against numerical derivatives: first and
    second order, in float64. Exit code 1 if anything is wrong.

    Kernels are checked derivative by derivative; models, with thin layers and small images, along
    random directions in each of their parameters.
    """
    from minialex.errors import MiniAlexError
    from minialex.kernels import load_plugin

    if not 0 <= seed < 2**32:
        raise MiniAlexError(f"seed={seed} should be an int, 0 to {2**32 - 1}")
    if plugin is not None:
        load_plugin(plugin)
    if explain is not None:
        _explain(explain, seed, out)
        return
    rows = []
    if not as_json:
        print_line(
            _COLUMNS.format(
                "operation", "kernel", "order", "cases", "elements", "worst", "allowed", "kinks", "time", ""
            )
        )
    for row in _rows(operation, algorithm, device, model, seed, quick):
        rows.append(row)
        if not as_json:
            _print_row(row)
    if not rows:
        raise MiniAlexError(
            f"no kernel fits --op {operation} --kernel {algorithm} --device {device}; see `minialex kernels`"
        )
    failed = [row for row in rows if row.error is not None]
    seconds = sum(row.seconds for row in rows)
    if as_json:
        print_json(
            {"passed": not failed, "seed": seed, "quick": quick, "rows": [row.to_dict() for row in rows]}
        )
    else:
        for row in failed:
            print_text(f"\n{row.error}")
        elements, skipped = (sum(getattr(row, name) for row in rows) for name in ("elements", "skipped"))
        print_text(f"\n{elements:,} derivatives compared, {skipped:,} at kinks skipped, {seconds:.0f} s")
        print_line(f"{len(rows) - len(failed)} passed, {len(failed)} failed")
    if failed:
        raise click.exceptions.Exit(1)


def _rows(operation, algorithm, device, model, seed, quick) -> Iterator:
    from minialex.checking.suite import check_kernels, check_model
    from minialex.models import list_models

    if model is None:
        yield from check_kernels(operation, algorithm, device, seed=seed, quick=quick)
    # Asking for particular kernels asks for no models.
    every = (operation, algorithm, device) == (None, None, None) and not quick
    for name in [model] if model is not None else list_models() if every else []:
        yield from check_model(name, seed=seed)


def _print_row(row) -> None:
    refused = f" ({row.refused} cases not supported)" if row.refused else ""
    verdict = "ok" if row.error is None else f"WRONG: {row.error.summary}"
    if row.error is None and row.mode == "directions":
        verdict = "ok along random directions"
    print_line(
        _COLUMNS.format(
            row.operation, row.kernel, row.order, row.cases, f"{row.elements:,}", f"{row.worst_error:.1e}",
            f"{row.tolerance:.1e}", row.skipped, f"{row.seconds:.1f} s", verdict + refused,
        )
    )  # fmt: skip


def _explain(operation: str, seed: int, out: Path) -> None:
    from minialex.checking.explain import draw_explanation, explain

    explanation = explain(operation, seed=seed)
    print_text(str(explanation))
    draw_explanation(out, explanation)
    print_line(f"the Jacobian is drawn in {out}")
