"""The table of docs/afternoon.md: its stops, and how many lines their files have.

python tests/docs/afternoon.py      # write the counts anew
"""

import re
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "docs" / "afternoon.md"
MOST_LINES = 3000

_ROW = re.compile(
    r"^\| (?P<number>\d+) \| (?P<files>.*?) \| (?P<lines>[\d,]+) \| (?P<question>.*?) \|$", re.M
)
_LINK = re.compile(r"\]\(([^)]+)\)")
_TOTAL = re.compile(r"(?<=<!-- total -->)[\d,]+(?=<!-- -->)")


class Stop(NamedTuple):
    """One row of the table."""

    number: int
    files: list[Path]
    stated: int
    question: str

    @property
    def lines(self) -> int:
        """The lines that its files have."""
        return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in self.files)


def stops(text: str) -> list[Stop]:
    """The stops that the page names."""
    return [_stop(row) for row in _ROW.finditer(text)]


def stated_total(text: str) -> int:
    """The sum that the page states."""
    return _number(_TOTAL.search(text).group())


def counted(text: str) -> str:
    """The page with the counts as they are."""
    text = _ROW.sub(
        lambda row: row.group().replace(f" | {row['lines']} | ", f" | {_stop(row).lines} | "), text
    )
    return _TOTAL.sub(f"{sum(stop.lines for stop in stops(text)):,}", text)


def _stop(row: re.Match) -> Stop:
    files = [(PAGE.parent / link).resolve() for link in _LINK.findall(row["files"])]
    return Stop(int(row["number"]), files, _number(row["lines"]), row["question"])


def _number(text: str) -> int:
    return int(text.replace(",", ""))


if __name__ == "__main__":
    PAGE.write_text(counted(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
