"""The results of gradient checks on one page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from minialex.checking.results import Result
from minialex.files import write_text
from minialex.training.report.page import render
from minialex.version import __version__


def write_gradcheck_page(
    path: Path, results: Sequence[Result], settings: dict[str, object], started: datetime, seconds: float
) -> None:
    """Write a page with a table of all results, those that did not pass in full before it; atomically.

    Parameters
    ----------
    path : Path
    results : sequence of Result
    settings : dict
        With which options the checks ran.
    started : datetime
    seconds : float
        How long all of them took.

    Raises
    ------
    RunError
        If the page becomes larger than 50 MiB.
    """
    page = render(
        "gradcheck.html",
        results=results,
        failed=[each for each in results if not each.passed],
        compared=sum(int(each.figures.get("compared", 0)) for each in results),
        settings=settings,
        started=started,
        seconds=seconds,
        version=__version__,
    )
    write_text(path, page)
