"""Which wrong gradients `check_vjp` catches, and which `torch.autograd.gradcheck`, both at their defaults.

Both check the same NumPy functions, in float64, on the same inputs: every right gradient of the gallery,
which must pass, and every wrong one. The table is printed, and written down.

    python benchmarks/gradcheck_gallery.py
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import click
import numpy as np
import torch
from gradient_checkers import Gradient, pytorch

from minialex.checking import GradcheckError, check_vjp
from minialex.checking.gallery import KINDS, Mistake, mistakes

_OUT = Path(__file__).parent / "results" / "gradcheck_gallery.md"


@click.command()
@click.option("--seed", type=int, default=0, show_default=True, help="Of the inputs.")
@click.option("--out", type=click.Path(path_type=Path), default=_OUT, show_default=True)
def main(seed: int, out: Path) -> None:
    """Print the table of caught and missed mistakes."""
    gallery = mistakes(seed)
    # One mistake divides 0 by 0, which is its point.
    with np.errstate(invalid="ignore"):
        text = "\n".join(report(gallery)) + "\n"
    click.echo(text, nl=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)


def report(gallery: list[Mistake]) -> list[str]:
    """The lines of the report, in Markdown."""
    right = {(m.operation, m.right_vjp.func, str(m.right_vjp.keywords)): m for m in gallery}.values()
    failed = {
        "ours": [m.name for m in right if ours(m, m.right_vjp) is not None],
        "torch": [m.name for m in right if peer(m, m.right_vjp)],
    }
    seconds = Counter()
    rows, caught = [], Counter()
    for mistake in gallery:
        start = time.perf_counter()
        error = ours(mistake, mistake.wrong_vjp)
        middle = time.perf_counter()
        seen = peer(mistake, mistake.wrong_vjp)
        seconds["ours"] += middle - start
        seconds["torch"] += time.perf_counter() - middle
        for who, did in (("all", True), ("ours", error is not None), ("torch", seen)):
            caught[who, mistake.kind] += did
            caught[who] += did
        by = "**missed**" if error is None else f"{error.check}: {error.pattern}".removesuffix(": ")
        rows.append((mistake.name, mistake.kind, by, "caught" if seen else "**missed**"))
    total = caught["all"]
    return [
        "# The gallery of wrong gradients",
        "",
        f"`python benchmarks/gradcheck_gallery.py`; NumPy {np.__version__}, PyTorch {torch.__version__}.",
        "Both check the same NumPy functions in float64 at their default settings; for PyTorch they are",
        "wrapped in an `autograd.Function` (`eps=1e-6, atol=1e-5, rtol=1e-3, nondet_tol=0`).",
        "Each mistake is one line. `make test` holds MiniAlex to all of them at the inputs of seed 0,",
        "`make test-all` at those of seed 1 as well.",
        "",
        *table(
            ("", "MiniAlex `check_vjp`", "PyTorch `gradcheck`"),
            [
                (f"wrong gradients caught, of {total}", caught["ours"], caught["torch"]),
                ("wrong gradients missed", total - caught["ours"], total - caught["torch"]),
                (f"right gradients refused, of {len(right)}", len(failed["ours"]), len(failed["torch"])),
                ("time for the wrong ones", f"{seconds['ours']:.1f} s", f"{seconds['torch']:.1f} s"),
            ],
        ),
        "",
        "PyTorch notices when its own operations change a tensor in place, but not when NumPy does. Its",
        "engine sums a gradient that has the shape of a broadcast result, and converts its dtype: there,",
        "these two do no harm but to the precision.",
        "",
        "## By kind",
        "",
        *table(
            ("kind", "what is wrong", "mistakes", "MiniAlex", "PyTorch"),
            [
                (kind, meaning, *(caught[who, kind] for who in ("all", "ours", "torch")))
                for kind, meaning in KINDS.items()
            ],
        ),
        "",
        "## One by one",
        "",
        "MiniAlex's column has the check that failed and what the wrong gradient was recognised as.",
        "",
        *table(("mistake", "kind", "MiniAlex", "PyTorch"), rows),
    ]


def table(head, rows) -> list[str]:
    """A table in Markdown."""
    return [f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *rows)]


def ours(mistake: Mistake, vjp) -> GradcheckError | None:
    """What `check_vjp` says against a gradient, if anything."""
    # The sign is constant on both sides of 0: it is right that there is nothing to compare.
    constant = mistake.operation == "sign" and vjp is mistake.right_vjp
    try:
        check_vjp(mistake.forward, vjp, mistake.inputs, min_compared=0 if constant else 1)
    except GradcheckError as error:
        return error
    return None


def peer(mistake: Mistake, vjp) -> bool:
    """Whether PyTorch's gradcheck refuses it, or its engine, which refuses some shapes."""
    return bool(pytorch(Gradient(mistake.forward, vjp, mistake.inputs)))


if __name__ == "__main__":
    main()
