"""The page of `minialex gradcheck --html`."""

import re
from datetime import UTC, datetime

import pytest

from minialex.checking.results import Result
from minialex.training.report.gradcheck_page import write_gradcheck_page

html5lib = pytest.importorskip("html5lib")

AWKWARD = "<script>alert(1)</script> & \"c\" 'd' \x00\x1b[31m \ud800 </pre>"
PASSED = Result(
    "conv2d",
    "cpu, im2col, order 1",
    seconds=1.25,
    figures={"mode": "jacobian", "compared": 1234, "zeros": 0, "worst error": 1.5e-11, "tolerance": 2.0e-10},
)
WRONG = Result(AWKWARD, AWKWARD, "wrong", AWKWARD, AWKWARD + "\n  in full", figures={"mode": AWKWARD})


@pytest.fixture
def page(tmp_path):
    def write(*results):
        path = tmp_path / "a.html"
        write_gradcheck_page(
            path, results, {"seed": 3, "quick": False}, datetime(2026, 11, 29, 1, 2, tzinfo=UTC), 75.0
        )
        return path.read_text(encoding="utf-8")

    return write


def tree(text):
    # Strict: whatever is no valid HTML raises.
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)


def test_what_it_says(page):
    text = page(PASSED)
    root = tree(text)
    row = ["".join(cell.itertext()).strip() for cell in root.find(".//tbody/tr")]
    assert row == [
        "conv2d",
        "cpu, im2col, order 1",
        "passed",
        "–",
        "jacobian",
        "–",
        "–",
        "1,234",
        "0",
        "–",
        "1.5e-11",
        "2.0e-10",
        "1.2 s",
    ]
    assert root.find(".//title").text == "Gradients: 1 of 1 checks passed"
    assert "seed 3, quick False" in text
    assert "What did not pass" not in text


def test_failures_stand_first_and_in_full(page):
    root = tree(page(PASSED, WRONG))
    titles = [each.text for each in root.iter("h2")]
    assert titles == ["What did not pass", "All checks"]
    assert "in full" in root.find(".//pre").text
    assert root.find(".//title").text == "Gradients: 1 of 2 checks passed"


def test_it_needs_nothing_but_itself_and_escapes_everything(page):
    text = page(WRONG)
    root = tree(text)
    assert root.find(".//script") is None
    assert "<script" not in text
    assert root.find(".//pre").text.startswith(
        "<script>alert(1)</script> & \"c\" 'd' \\x00\\x1b[31m \\ud800 </pre>"
    )
    assert not re.search(r"(src|href)=\"(?!#)", text)
    assert "default-src 'none'" in text
