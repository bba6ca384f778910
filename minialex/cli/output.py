"""What the commands print: the only place that writes to standard output and standard error.

Names of files, classes and runs come from users and from files. They may hold line ends, escape sequences
that a terminal obeys, or characters that its encoding lacks. All of these are escaped as Python writes
them in a string, so that a line stays a line, and printing it never fails.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TextIO

from minialex.text import printable


def print_line(text: str = "", err: bool = False) -> None:
    """Print one line, whatever is in the text; `err` to standard error."""
    stream = sys.stderr if err else sys.stdout
    _write(stream, _printable(text, stream))


def print_text(text: str, err: bool = False) -> None:
    """Print a text of several lines, whose line ends are meant: nothing in it may be a name."""
    stream = sys.stderr if err else sys.stdout
    _write(stream, "\n".join(_printable(line, stream, keep="\t") for line in text.split("\n")))


def print_json(value) -> None:
    """Print a value as one line of JSON, in ASCII."""
    _write(sys.stdout, json.dumps(value, allow_nan=False))


def print_table(
    left: Sequence[str],
    right: Sequence[str],
    rows: Sequence[Sequence[str]],
    totals: Sequence[str] | None = None,
    line: bool = False,
) -> None:
    """Print a table whose first columns are aligned to the left and whose others to the right.

    It is as wide as it needs to be: its columns are read by programs too, and must not be cut on a narrow
    screen. `totals` stand apart at the end; `line` is drawn under the titles.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD if line else None, pad_edge=False, header_style="bold")
    for title in left:
        table.add_column(title, no_wrap=True)
    for title in right:
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        # As a Text, a cell is not markup.
        table.add_row(*(Text(_printable(cell, sys.stdout)) for cell in row))
    if totals is not None:
        table.add_section()
        table.add_row(*(Text(_printable(cell, sys.stdout)) for cell in totals))
    console = Console(highlight=False, width=_WIDEST)
    console.width = max(80, console.measure(table).maximum)
    console.print(table)


_WIDEST = 10_000


def make_streams_safe() -> None:
    """Let standard output and error escape what they cannot encode, whoever writes to them."""
    for stream in (sys.stdout, sys.stderr):
        # Whoever calls the program from Python may have put something else in their place.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _printable(text: str, stream: TextIO | None, keep: str = "") -> str:
    return printable(text, getattr(stream, "encoding", None) or "utf-8", keep)


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:
        # A program without a console, such as pythonw.
        return
    stream.write(f"{text}\n")
    stream.flush()
