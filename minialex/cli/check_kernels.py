"""`minialex kernels check`: the CUDA kernels under the checker, or under the sanitizers of g++."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import click

from minialex.cli.options import as_json
from minialex.cli.output import print_json, print_line, print_text

_LINE_KEYS = ("file", "line", "space", "operation")
_FIGURES = ("instructions", "sectors", "ideal_sectors", "bank_conflicts")
_COLUMNS = "{:46} {:>8} {:>8} {:>10} {:>14} {:>7}"


@click.command("check", short_help="Look for races and other faults in the CUDA kernels.")
@click.argument("name", required=False)
@click.option("--all", "every", is_flag=True, help="Every kernel of device cuda-host.")
@click.option("--algo", "algorithm", show_default="all", help="One algorithm, such as naive.")
@click.option(
    "--dtype",
    type=click.Choice(("float32", "float64")),
    default="float32",
    show_default=True,
    help="What `real` of the sources stands for.",
)
@click.option("--plugin", type=click.Path(path_type=Path), help="A Python file that registers more kernels.")
@click.option("--lines", is_flag=True, help="Show what each source line moves.")
@click.option(
    "--sanitize",
    type=click.Choice(("address", "undefined")),
    help="Use a sanitizer of g++ instead of the checker.",
)
@as_json
@click.pass_context
def check(
    context: click.Context,
    name: str | None,
    every: bool,
    algorithm: str | None,
    dtype: str,
    plugin: Path | None,
    lines: bool,
    sanitize: str | None,
    as_json: bool,
) -> None:
    """Run CUDA kernels on the processor, at awkward sizes, under the checker.

    NAME is an operation, such as conv2d, or one of its directions, such as conv2d.forward. The checker finds
    data races, barriers that not all threads reach, reads of what nothing wrote, accesses out of bounds or
    misaligned, writes to const arguments and wrong warp masks; exit code 1 if there is any.

    At those sizes, it also counts the 32-byte sectors of global memory that are needed as a share of those
    that are moved (coalescing), and the bank conflicts in shared memory.
    """
    from minialex.availability import require_device
    from minialex.checking.kernels.races import kernels_to_check
    from minialex.errors import KernelError
    from minialex.kernels import load_plugin
    from minialex.kernels.contract.claims import renamed

    if (name is None) == (not every):
        raise KernelError(
            "name an operation, such as conv2d, or give --all; see minialex kernels check --help"
        )
    require_device("cuda-host")
    if plugin is not None:
        load_plugin(plugin)
    kernels = kernels_to_check(name)
    if algorithm is not None:
        known = sorted({each.algorithm for each in kernels})
        kernels = [each for each in kernels if each.algorithm == algorithm]
        if not kernels:
            raise KernelError(
                f"no kernel of {name or 'any operation'} on cuda-host has the algorithm {algorithm!r}; "
                f"{renamed(algorithm, known)}there are: {', '.join(known)}"
            )
    if sanitize is None:
        faulty = _check(kernels, dtype, lines, as_json)
    else:
        faulty = _sanitize(kernels, sanitize, dtype, as_json)
    if faulty:
        context.exit(1)


def _check(kernels: list, dtype: str, lines: bool, as_json: bool) -> bool:
    from minialex.checking.kernels.races import check_kernel

    start, results = time.perf_counter(), []
    if not as_json:
        print_line(_COLUMNS.format("kernel", "launches", "findings", "coalescing", "bank conflicts", "time"))
    for kernel in kernels:
        begun = time.perf_counter()
        result = check_kernel(kernel, dtype)
        results.append(result)
        if as_json:
            continue
        share, seconds = f"{result.coalescing:.0%}", f"{time.perf_counter() - begun:.1f} s"
        counts = result.launches, len(result.findings)
        print_line(_COLUMNS.format(result.kernel, *counts, share, result.bank_conflicts, seconds))
        for call, finding in result.findings:
            print_text(f"    {finding}\n        in {call}")
        if lines:
            _print_lines(result)
    found = sum(len(result.findings) for result in results)
    if as_json:
        print_json([_as_json(result) for result in results])
    else:
        print_line(
            f"{len(results)} kernels, {sum(result.launches for result in results)} launches, {found or 'no'} "
            f"finding{'' if found == 1 else 's'} in {time.perf_counter() - start:.0f} s"
        )
    return found > 0


def _added(result) -> dict[tuple, list[int]]:
    """What each line moves, in all launches: `_FIGURES` by `_LINE_KEYS`."""
    lines: dict[tuple, list[int]] = {}
    for _, access in result.accesses:
        key = tuple(getattr(access, name) for name in _LINE_KEYS)
        figures = [getattr(access, name) for name in _FIGURES]
        lines[key] = [a + b for a, b in zip(lines.get(key, (0,) * 4), figures, strict=True)]
    return dict(sorted(lines.items()))


def _print_lines(result) -> None:
    for (file, line, space, operation), (count, sectors, ideal, conflicts) in _added(result).items():
        figures = (
            f"{ideal / sectors:>4.0%} of {sectors} sectors" if sectors else f"{conflicts} bank conflicts"
        )
        print_line(
            f"    {Path(file).name}:{line:<5} {space:6} {operation:6} {count:8} warp instructions, {figures}"
        )


def _as_json(result) -> dict:
    return {
        "kernel": result.kernel,
        "launches": result.launches,
        "findings": [{"call": call, **asdict(finding)} for call, finding in result.findings],
        "sectors": result.sectors,
        "ideal_sectors": result.ideal_sectors,
        "bank_conflicts": result.bank_conflicts,
        "lines": [
            dict(zip((*_LINE_KEYS, *_FIGURES), (*line, *figures), strict=True))
            for line, figures in _added(result).items()
        ],
    }


def _sanitize(kernels: list, sanitizer: str, dtype: str, as_json: bool) -> bool:
    from minialex.checking.kernels.sanitizers import sanitizer_report

    reports = {}
    for kernel in kernels:
        report = sanitizer_report(sanitizer, kernel, dtype)
        reports[kernel.name] = report
        if not as_json:
            print_line(f"{kernel.name:46} {'nothing found' if report is None else 'FAULT'}")
            if report is not None:
                print_text(report)
    if as_json:
        print_json([{"kernel": name, "report": report} for name, report in reports.items()])
    return any(report is not None for report in reports.values())
