"""docs/afternoon.md states how long its stops are, and they are short enough for an afternoon."""

import re
from pathlib import Path

import afternoon
import pytest

from minialex import kernels

ROOT = Path(__file__).parents[2]
TEXT = afternoon.PAGE.read_text(encoding="utf-8")
ANEW = "the files have changed; write the counts anew: python tests/docs/afternoon.py"


def test_there_are_nine_stops_each_with_a_question():
    stops = afternoon.stops(TEXT)
    assert [stop.number for stop in stops] == list(range(1, 10))
    assert all(stop.files and stop.question.endswith("?") for stop in stops)


def test_the_counts_are_right():
    stops = afternoon.stops(TEXT)
    assert {stop.number: stop.stated for stop in stops} == {stop.number: stop.lines for stop in stops}, ANEW
    assert afternoon.stated_total(TEXT) == sum(stop.lines for stop in stops), ANEW


def test_it_is_an_afternoon():
    assert sum(stop.lines for stop in afternoon.stops(TEXT)) <= afternoon.MOST_LINES


def test_each_file_is_read_once():
    files = [file for stop in afternoon.stops(TEXT) for file in stop.files]
    assert len(set(files)) == len(files)


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "docs/afternoon.md", "docs/architecture.md"]
)
def test_what_the_page_links_to_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    files = [link for link in links if link and not link.startswith("http")]
    assert files
    assert [link for link in files if not ((ROOT / page).parent / link).exists()] == []


def test_every_room_is_in_the_picture():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    picture = text[text.index("## The floors") : text.index("## The life")]
    rooms = [path.name for path in (ROOT / "minialex").iterdir() if path.suffix == ".py" or path.is_dir()]
    shared = [f"{name}/" for name in kernels._SHARED]
    missing = [name for name in (*rooms, *shared) if not name.startswith("__") and name not in picture]
    assert missing == []


@pytest.mark.parametrize("page", ["docs/afternoon.md", "docs/architecture.md"])
def test_the_names_that_the_page_explains_exist(page):
    """A function or class that a page names in backticks stands in one of the files that it links to."""
    text = (ROOT / page).read_text(encoding="utf-8")
    links = set(re.findall(r"\]\(([^)#\s]+\.py)\)", text))
    sources = "\n".join(((ROOT / page).parent / link).read_text(encoding="utf-8") for link in links)
    names = set(re.findall(r"`(_?[A-Za-z]+(?:\.?_*[a-z_0-9A-Z]+)*)`", text))
    identifiers = {name.split(".")[-1] for name in names if re.search(r"[_A-Z.]", name) and "/" not in name}
    missing = {name for name in identifiers if not re.search(rf"\b{re.escape(name)}\b", sources)}
    assert missing <= {"py", "cu", "toml", "md"}, missing
