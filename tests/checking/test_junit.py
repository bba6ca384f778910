"""The XML of `minialex gradcheck --junit`: well-formed and of the usual shape, whatever was checked."""

from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from minialex.checking.results import Result, write_junit

# All that XML and HTML obey, and what XML has no character for.
AWKWARD = "a <b> & \"c\" 'd' ]]> \x00\x1b[31m\x85\ud800 é \U0001f600\r\n\ttwo"
RESULTS = [
    Result("conv2d", "cpu, im2col, order 1", seconds=1.25, figures={"compared": 12, "worst error": 1.5e-11}),
    Result("mine.py", AWKWARD, "wrong", AWKWARD, AWKWARD, figures={AWKWARD: AWKWARD}),
    Result("mine.py", "check_b", "unchecked", "nothing was compared", "nothing was compared"),
    Result("mine.py", "check_c", "error", "ZeroDivisionError: division by zero", "in full"),
]
STARTED = datetime(2026, 11, 29, 1, 2, 3, tzinfo=UTC)


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "results.xml"
    path.write_text("what stood there before")
    write_junit(path, RESULTS, STARTED, 12.3456)
    assert [each.name for each in tmp_path.iterdir()] == ["results.xml"]
    return ElementTree.parse(path).getroot()


def test_the_counts_are_those_of_the_cases(root):
    (suite,) = root
    assert root.tag == "testsuites"
    assert suite.tag == "testsuite"
    assert suite.attrib == {
        "name": "minialex gradcheck",
        "tests": "4",
        "failures": "2",
        "errors": "1",
        "skipped": "0",
        "time": "12.346",
        "timestamp": "2026-11-29T01:02:03+00:00",
    }
    assert len(suite.findall("testcase")) == 4
    assert len(suite.findall("testcase/failure")) == 2
    assert len(suite.findall("testcase/error")) == 1


def test_cases(root):
    passed, wrong, unchecked, error = root[0]
    assert passed.attrib == {"classname": "conv2d", "name": "cpu, im2col, order 1", "time": "1.250"}
    properties = {each.get("name"): each.get("value") for each in passed.find("properties")}
    assert properties == {"compared": "12", "worst error": "1.5e-11"}
    assert [child.tag for child in passed] == ["properties"]
    assert wrong.find("failure").get("type") == "wrong"
    assert unchecked.find("failure").get("type") == "unchecked"
    assert unchecked.find("failure").get("message") == "nothing was compared"
    assert error.find("error").text == "in full"


def test_any_text_is_escaped(root):
    shown = root[0][1].find("failure").text
    # What XML has no character for stands there as Python writes it; line ends are normalised by its readers.
    assert shown == "a <b> & \"c\" 'd' ]]> \\x00\\x1b[31m\x85\\ud800 é \U0001f600\n\ttwo"
    assert "\\x00\\x1b[31m" in root[0][1].get("name")


# The elements of Jenkins' junit-10.xsd that are used here: their attributes and, in order, their children.
SHAPE = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, ["testsuite"]),
    "testsuite": (
        {"name", "tests"},
        {"failures", "errors", "time", "disabled", "skipped", "timestamp", "hostname", "id", "package"},
        ["properties", "testcase", "system-out", "system-err"],
    ),
    "testcase": (
        {"name"},
        {"assertions", "time", "classname", "status"},
        ["properties", "skipped", "error", "failure", "system-out", "system-err"],
    ),
    "properties": (set(), set(), ["property"]),
    "property": ({"name", "value"}, set(), []),
    "failure": (set(), {"type", "message"}, []),
    "error": (set(), {"type", "message"}, []),
}


def test_the_shape_is_that_of_the_schema(root):
    for element in root.iter():
        needed, allowed, children = SHAPE[element.tag]
        assert needed <= set(element.attrib) <= needed | allowed
        places = [children.index(child.tag) for child in element]
        assert places == sorted(places)


def test_a_file_that_cannot_be_written_leaves_what_there_was(tmp_path):
    with pytest.raises(OSError):
        write_junit(tmp_path / "no" / "results.xml", RESULTS, STARTED, 1.0)
    assert list(tmp_path.iterdir()) == []
