"""Which gradients of foreign functions three checkers pass and refuse: ours, PyTorch's and JAX's.

Each checks the same functions of `gradients_of_others` at the same points, in float64 and at its defaults.
The table is printed, and written down. A checker that is not installed is left out.

    python benchmarks/gradcheck_of_others.py
    python benchmarks/gradcheck_of_others.py --only softmax --no-peers
"""

from __future__ import annotations

import platform
import warnings
from collections import Counter
from importlib import metadata
from pathlib import Path

import click
import numpy as np
from gradient_checkers import installed
from gradients_of_others import Case, cases

SLIGHT = "a factor of 1.001"

_OUT = Path(__file__).parent / "results" / "gradcheck_of_others.md"


@click.command()
@click.option("--only", default="", help="A part of the names of the cases to check.")
@click.option("--peers/--no-peers", default=True, show_default=True, help="Compare with PyTorch and JAX.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write the table.")
def main(only: str, peers: bool, out: Path | None) -> None:
    """Print who passes and who refuses what."""
    chosen = [case for case in cases() if only in case.name]
    checkers = dict(list(installed().items())[: None if peers else 1])
    # Steps leave the domain of many functions; that is for the checkers to deal with.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        verdicts = {who: [check(case) for case in chosen] for who, check in checkers.items()}
    text = "\n".join(report(chosen, verdicts)) + "\n"
    click.echo(text, nl=False)
    if out is None and peers and not only:
        out = _OUT
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text)


def report(chosen: list[Case], verdicts: dict[str, list[str]]) -> list[str]:
    """The lines of the report, in Markdown."""
    count = Counter()
    for who, found in verdicts.items():
        for case, verdict in zip(chosen, found, strict=True):
            count[who, case.right] += erred(case, verdict)
            count[who, SLIGHT] += erred(case, verdict) and case.gradient == SLIGHT
    functions = len({id(case.function) for case in chosen})
    right = sum(case.right for case in chosen)
    wrong = len(chosen) - right
    slight = sum(case.gradient == SLIGHT for case in chosen)
    return [
        "# Gradients of others",
        "",
        f"`python benchmarks/gradcheck_of_others.py`; Python {platform.python_version()}, {versions()}.",
        "",
        f"{functions} functions of other libraries, at several points and scales each: {right} right",
        f"gradients and {wrong} wrong ones. The checkers take them in float64, at their defaults, PyTorch's",
        "`gradcheck` as an `autograd.Function`, JAX's `check_vjp` (which `check_grads` calls) as they are.",
        "PyTorch's tolerance is 1e-5 + 1e-3 of a derivative: a factor of 1.001 is within it by design.",
        "",
        *table(
            ("", *verdicts),
            [
                (f"right gradients refused, of {right}", *(count[who, True] for who in verdicts)),
                (f"wrong gradients passed, of {wrong}", *(count[who, False] for who in verdicts)),
                (f"of these, {SLIGHT}, of {slight}", *(count[who, SLIGHT] for who in verdicts)),
            ],
        ),
        "",
        "## One by one",
        "",
        "Each row is one gradient. A checker's column names the points at which it refuses a right one or",
        "passes a wrong one; at the others its verdict is true.",
        "",
        *table(("function", "library", "gradient", "at", *verdicts), rows(chosen, verdicts)),
    ]


def rows(chosen: list[Case], verdicts: dict[str, list[str]]) -> list[tuple]:
    """A row for each gradient, over all its points."""
    points: dict[tuple, list[int]] = {}
    for i, case in enumerate(chosen):
        points.setdefault((case.function.name, case.function.library, case.gradient), []).append(i)

    def cell(found, where):
        missed = [chosen[i].where for i in where if erred(chosen[i], found[i])]
        what = "refused" if chosen[where[0]].right else "**passed**"
        return f"{what} at {', '.join(missed)}" if missed else ""

    lines = []
    for key, where in points.items():
        names = [text.replace("|", "\\|") for text in key]
        at = ", ".join(chosen[i].where for i in where)
        lines.append((*names, at, *(cell(found, where) for found in verdicts.values())))
    return lines


def erred(case: Case, verdict: str) -> bool:
    """Whether a checker refused what is right, or passed what is wrong."""
    return case.right != (verdict == "")


def versions() -> str:
    """The libraries that take part."""
    names = {"numpy": "NumPy", "torch": "PyTorch", "jax": "JAX"}
    found = []
    for package, name in names.items():
        try:
            found.append(f"{name} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def table(head, body) -> list[str]:
    """A table in Markdown."""
    return [f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *body)]


if __name__ == "__main__":
    main()
