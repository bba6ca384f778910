"""`minialex gradcheck`: check the gradients of kernels and models, or of somebody's own file."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from minialex.cli.options import MODEL, as_json
from minialex.cli.output import print_json, print_line, print_text

_PATH = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False)
_EXISTING = click.Path(path_type=Path, exists=True, dir_okay=False)
_SEED, _COUNT = click.IntRange(0, 2**32 - 1), click.IntRange(min=1)
_PICTURE = Path("gradcheck.png")
_COLUMNS = "{:24} {:26} {:>5} {:>6} {:>9} {:>9} {:>9} {:>9} {:>6} {:>7}  {}"


@click.command("gradcheck", short_help="Check the gradients of kernels and models, or of your own file.")
@click.argument("targets", nargs=-1, metavar="[FILE.py[::NAME]]...")
@click.option("--op", "operation", show_default="all", help="One operation, such as conv2d.")
@click.option("--kernel", "algorithm", show_default="all", help="One algorithm, such as im2col.")
@click.option("--device", show_default="all", help="One device, such as cpu.")
@click.option("--model", show_default="all", help=f"{MODEL} No kernels are checked then.")
@click.option("--plugin", type=_EXISTING, help="A Python file that registers more kernels.")
@click.option("--seed", type=_SEED, default=0, show_default=True, help="Of values and upstream gradients.")
@click.option("--quick", is_flag=True, help="Random directions only, and no models: a weaker check.")
@click.option(
    "--jobs",
    type=_COUNT,
    show_default="one a processor",
    help="In how many processes, if there is much to check.",
)
@click.option(
    "--explain", metavar="OP", help="Show one check of an operation in full, and draw its Jacobian."
)
@click.option(
    "--out", type=_PATH, default=_PICTURE, show_default=True, help="Where --explain puts its picture."
)
@click.option("--junit", type=_FILE, metavar="FILE.xml", help="Write the results in JUnit's form, too.")
@click.option(
    "--html",
    type=_FILE,
    metavar="FILE.html",
    help="Write the results as a page, too, which needs no other file.",
)
@as_json
def command(
    targets: tuple[str, ...],
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
    junit: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Check every kernel of every operation, and the models, against numerical derivatives: first and
    second order. Exit code 1 if anything is wrong, or could not be checked. Deep models, which take
    minutes, are checked where --model names them.

    Kernels, and functions composed of several, are checked derivative by derivative; models, with thin
    layers and small images, along random directions in each of their parameters.

    With FILE.py, your own gradients are checked instead: by its functions check_..., or what is named.
    NAME returns the report of a check (ma.check_vjp, ma.gradcheck, ...), or is a function or module that
    has NAME_inputs beside it, and NAME_vjp if it takes NumPy arrays.
    """
    from minialex.kernels import load_plugin

    chosen = {"--op": operation, "--kernel": algorithm, "--device": device, "--model": model}
    _refuse_together(targets, chosen | {"--explain": explain}, as_json)
    if explain is not None and (junit or html):
        raise click.UsageError(
            "--explain shows one check and writes no results; leave out --junit and --html"
        )
    for path in (junit, html):
        if path is not None and not path.absolute().parent.is_dir():
            raise click.BadParameter(f"the folder of {str(path)!r} does not exist")
    if plugin is not None:
        load_plugin(plugin)
    if explain is not None:
        _explain(explain, seed, out)
        return
    start, started = time.perf_counter(), datetime.now().astimezone()
    if targets:
        results, answers = _check_files(targets, seed, quick, as_json)
    else:
        tasks = _tasks(operation, algorithm, device, model, seed, quick)
        results, answers = _check_rows(tasks, jobs, plugin, as_json)
    seconds = time.perf_counter() - start
    if junit is not None:
        from minialex.checking.results import write_junit

        write_junit(junit, results, started, seconds)
    if html is not None:
        from minialex.training.report.gradcheck_page import write_gradcheck_page

        settings = {"seed": seed, "quick": "yes" if quick else "no"}
        write_gradcheck_page(html, results, settings, started, seconds)
    passed = bool(results) and all(each.passed for each in results)
    if as_json:
        print_json({"passed": passed, "seed": seed, "quick": quick, "rows": answers})
    else:
        _print_summary(results, seconds)
    if not passed:
        raise click.exceptions.Exit(1)


def _refuse_together(targets: Sequence[str], options: dict[str, str | None], as_json: bool) -> None:
    given = [option for option, value in options.items() if value is not None]
    if targets and given:
        raise click.UsageError(
            f"{', '.join(given)} chooses among MiniAlex's own checks, and {targets[0]} is a file of yours; "
            "give one or the other"
        )
    others = [option for option in given if option != "--explain"] + ["--json"] * as_json
    if options["--explain"] is not None and others:
        raise click.UsageError(
            f"--explain shows one check of an operation, with the kernels in use; leave out "
            f"{', '.join(others)}"
        )
    if options["--model"] is not None and len(given) > 1:
        raise click.UsageError(
            f"--model checks a model and no kernels; leave out {', '.join(set(given) - {'--model'})}"
        )


def _tasks(operation, algorithm, device, model, seed, quick) -> list:
    from minialex.checking.kernels import compositions
    from minialex.checking.kernels.suite import kernel_tasks, model_tasks, models_by_default
    from minialex.models import list_models, load_model
    from minialex.models.own import is_own

    if model is not None:
        if is_own(model):
            model = load_model(model).name
        else:
            _require(model, list_models(), "--model", "model")
        return model_tasks(model, seed=seed)
    if operation in compositions.names():
        if algorithm or device:
            raise click.UsageError(
                f"{operation} is composed of other operations and has no kernels of its own; leave out "
                "--kernel and --device"
            )
    else:
        _require_kernel(operation, algorithm, device)
    tasks = kernel_tasks(operation, algorithm, device, seed=seed, quick=quick)
    # Asking for particular kernels asks for no models.
    if (operation, algorithm, device) == (None, None, None) and not quick:
        for name in models_by_default():
            tasks += model_tasks(name, seed=seed)
    return tasks


def _require(given: str, known: Sequence[str], option: str, what: str) -> None:
    if given not in known:
        from minialex.kernels.contract.claims import renamed

        hint = renamed(given, known) if option == "--kernel" else ""
        raise click.BadParameter(
            f"no {what} {given!r}; {hint}there are: {', '.join(known)}", param_hint=f"'{option}'"
        )


def _require_kernel(operation: str | None, algorithm: str | None, device: str | None) -> None:
    """Refuse names that no kernel with a gradient has, each by itself and then together."""
    from minialex.availability import usable_devices, why_not_usable
    from minialex.checking.kernels import compositions
    from minialex.checking.kernels.suite import WITHOUT_GRADIENT
    from minialex.kernels import devices, list_kernels

    entries = [each for each in list_kernels() if each.operation.split(".")[0] not in WITHOUT_GRADIENT]
    if operation is not None:
        names = sorted({name for each in entries for name in (each.operation.split(".")[0], each.operation)})
        if operation not in names:
            known = sorted({*(name for name in names if "." not in name), *compositions.names()})
            _require(operation, known, "--op", "operation with gradients")
        entries = [each for each in entries if operation in (each.operation, each.operation.split(".")[0])]
    if device is not None:
        _require(device, devices(), "--device", "device")
        if (reason := why_not_usable(device)) is not None:
            raise click.BadParameter(
                f"{device!r} is not available: {reason}; available: {', '.join(usable_devices())}",
                param_hint="'--device'",
            )
        entries = [each for each in entries if each.device == device]
    else:
        entries = [each for each in entries if each.device in usable_devices()]
    asked = [f"{option} {value}" for option, value in (("--op", operation), ("--device", device)) if value]
    if not entries:
        raise click.UsageError(f"no kernel fits {' '.join(asked)}; see `minialex kernels`")
    if algorithm is not None:
        known = sorted({each.algorithm for each in entries})
        _require(algorithm, known, "--kernel", f"kernel for {' '.join(asked)} named" if asked else "kernel")


def _check_rows(tasks: list, jobs: int | None, plugin: Path | None, as_json: bool) -> tuple[list, list]:
    from minialex.checking.kernels.suite import run_all
    from minialex.kernels.runtime import code_cache
    from minialex.kernels.runtime.threads import num_threads

    if code_cache.is_empty():
        print_line(
            f"{code_cache.root()} keeps no compiled code yet: this run compiles, and takes longer",
            err=True,
        )
    rows = []
    if not as_json:
        counted = "order", "cases", "compared", "zeros", "worst", "allowed", "kinks", "time"
        print_line(_COLUMNS.format("operation", "kernel", *counted, ""))
    for row in run_all(tasks, jobs or num_threads(), plugin):
        rows.append(row)
        if not as_json:
            _print_row(row)
    return [row.to_result() for row in rows], [row.to_dict() for row in rows]


def _print_row(row) -> None:
    notes = [f"{row.refused} cases not supported"] * bool(row.refused) + [f"{row.drawn} drawn for it"] * bool(
        row.drawn
    )
    if row.error is not None:
        verdict = f"WRONG: {row.error.summary}"
    elif row.unchecked:
        verdict = f"UNCHECKED: {row.unchecked}"
    else:
        verdict = {
            "jacobian": "ok",
            "directions": "ok along random directions",
            "reference": "ok in float32, beside the reference",
        }[row.mode]
    if notes:
        verdict += f" ({', '.join(notes)})"
    figures = row.order, row.cases, f"{row.compared:,}", f"{row.zeros:,}"
    errors = f"{row.worst_error:.1e}", f"{row.tolerance:.1e}", row.skipped, f"{row.seconds:.1f} s"
    print_line(_COLUMNS.format(row.operation, row.kernel, *figures, *errors, verdict))


def _check_files(targets: Sequence[str], seed: int, quick: bool, as_json: bool) -> tuple[list, list]:
    from minialex.checking.from_file import NoSuchCheckError, find_checks, run_check

    results, answers = [], []
    # What the files print must not get among the JSON.
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        try:
            checks = find_checks(targets, seed=seed, quick=quick)
        except NoSuchCheckError as error:
            raise click.BadParameter(str(error), param_hint="'FILE.py::NAME'") from None
        for check in checks:
            if check.ignored:
                options = " and ".join(f"--{each}" for each in check.ignored)
                print_line(
                    f"{check.file}::{check.name} has no parameter for {options}: it checks as it is written",
                    err=True,
                )
            result, reports = run_check(check)
            results.append(result)
            answers.append(
                {
                    "file": check.file,
                    "name": check.name,
                    **{name.replace(" ", "_"): value for name, value in result.figures.items()},
                    "seconds": result.seconds,
                    "passed": result.passed,
                    "unchecked": result.verdict == "unchecked",
                    "reason": result.message if result.verdict == "unchecked" else None,
                    "error": result.text if result.verdict in ("wrong", "error") else None,
                    "reports": [str(report) for report in reports],
                }
            )
            if not as_json:
                verdict = "ok" if result.passed else f"{result.verdict.upper()}: {result.message}"
                print_line(f"{check.file}::{check.name}  {verdict}")
                for report in reports:
                    print_line(f"    {report}")
    return results, answers


def _print_summary(results: Sequence, seconds: float) -> None:
    from minialex.checking.results import UNCHECKED

    for each in results:
        if each.text and each.verdict != UNCHECKED:
            print_text(f"\n{each.text}")
    compared, zeros, skipped = (
        sum(int(each.figures.get(name, 0)) for each in results) for name in ("compared", "zeros", "skipped")
    )
    print_text(
        f"\n{compared:,} derivatives compared, {zeros:,} are 0 on both sides, {skipped:,} at kinks skipped, "
        f"{seconds:.0f} s"
    )
    passed = sum(each.passed for each in results)
    unchecked = sum(each.verdict == UNCHECKED for each in results)
    print_line(
        f"{passed} passed, {len(results) - passed - unchecked} failed"
        + (f", {unchecked} unchecked" if unchecked else "")
    )


def _explain(operation: str, seed: int, out: Path) -> None:
    from minialex.checking.explain import draw_explanation, explain
    from minialex.checking.kernels.cases import operations_with_cases

    _require(operation, operations_with_cases(), "--explain", "operation with gradient checks")
    explanation = explain(operation, seed=seed)
    print_text(str(explanation))
    draw_explanation(out, explanation)
    print_line(f"the Jacobian is drawn in {out}")
