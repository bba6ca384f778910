"""`minialex gradcheck`: check the gradients of kernels and models."""

from __future__ import annotations

import time
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
    "--jobs", type=click.IntRange(min=1), show_default="one a processor",
    help="In how many processes, if there is much to check.",
)  # fmt: skip
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
    jobs: int | None,
    explain: str | None,
    out: Path,
    as_json: bool,
) -> None:
    """Check every kernel of every operation, and every model, against numerical derivatives: first and
    second order, in float64. Exit code 1 if anything is wrong.

    Kernels are checked derivative by derivative; models, with thin layers and small images, along
    random directions in each of their parameters.
    """
    from minialex.checking.suite import run_all
    from minialex.errors import MiniAlexError
    from minialex.kernels import code_cache, load_plugin
    from minialex.kernels.threads import num_threads

    if not 0 <= seed < 2**32:
        raise MiniAlexError(f"seed={seed} should be an int, 0 to {2**32 - 1}")
    if plugin is not None:
        load_plugin(plugin)
    if explain is not None:
        _explain(explain, seed, out)
        return
    start = time.perf_counter()
    tasks = _tasks(operation, algorithm, device, model, seed, quick)
    if not tasks:
        raise MiniAlexError(
            f"no kernel fits --op {operation} --kernel {algorithm} --device {device}; see `minialex kernels`"
        )
    if code_cache.is_empty():
        print_line(
            f"{code_cache.root()} keeps no compiled code yet: this run compiles, and takes longer",
            err=True,
        )
    rows = []
    if not as_json:
        print_line(
            _COLUMNS.format(
                "operation", "kernel", "order", "cases", "elements", "worst", "allowed", "kinks", "time", ""
            )
        )
    for row in run_all(tasks, jobs or num_threads(), plugin):
        rows.append(row)
        if not as_json:
            _print_row(row)
    failed = [row for row in rows if row.error is not None]
    seconds = time.perf_counter() - start
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


def _tasks(operation, algorithm, device, model, seed, quick) -> list:
    from minialex.checking.suite import kernel_tasks, model_tasks
    from minialex.models import list_models

    if model is not None:
        return model_tasks(model, seed=seed)
    tasks = kernel_tasks(operation, algorithm, device, seed=seed, quick=quick)
    # Asking for particular kernels asks for no models.
    if (operation, algorithm, device) == (None, None, None) and not quick:
        for name in list_models():
            tasks += model_tasks(name, seed=seed)
    return tasks


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
