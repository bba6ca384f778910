"""What became of each check, and the file of results that continuous integration reads.

The elements of that file are those of Jenkins' schema (junit-10.xsd of its xUnit plug-in), which pytest
writes, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from minialex.files import write_atomically
from minialex.text import escaped

# XML has no character for these, not even an escaped one.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

PASSED, WRONG, UNCHECKED, ERROR = "passed", "wrong", "unchecked", "error"


@dataclass(frozen=True)
class Result:
    """The outcome of one check.

    Attributes
    ----------
    group, name : str
        What was checked: an operation and one of its kernels, or a file and a name in it. The pair is unique.
    verdict : str
        ``"passed"``; ``"wrong"``: a check failed; ``"unchecked"``: nothing was compared; ``"error"``: what
        checks could not be run.
    message, text : str
        Why it failed, in one line and in full.
    seconds : float
    figures : dict
        What was compared, by name: ``compared``, ``zeros``, ``skipped``, ``worst error``, ``tolerance``, ...
    """

    group: str
    name: str
    verdict: str = PASSED
    message: str = ""
    text: str = ""
    seconds: float = 0.0
    figures: dict[str, str | int | float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return self.verdict == PASSED


def write_junit(path: Path, results: Sequence[Result], started: datetime, seconds: float) -> None:
    """Write results as one test suite, atomically.

    Parameters
    ----------
    path : Path
    results : sequence of Result
        Each is a test case: wrong and unchecked ones are failures, and what could not be run is an error.
    started : datetime
        With its time zone.
    seconds : float
        How long all of them took.
    """
    tree = ET.ElementTree(junit_element(results, started, seconds))
    ET.indent(tree)
    write_atomically(path, lambda temporary: tree.write(temporary, "utf-8", xml_declaration=True))


def junit_element(results: Sequence[Result], started: datetime, seconds: float) -> ET.Element:
    """The element ``testsuites`` of `write_junit`."""
    errors = sum(each.verdict == ERROR for each in results)
    root = ET.Element("testsuites")
    suite = ET.SubElement(
        root,
        "testsuite",
        name="minialex gradcheck",
        tests=str(len(results)),
        failures=str(sum(not each.passed for each in results) - errors),
        errors=str(errors),
        skipped="0",
        time=f"{seconds:.3f}",
        timestamp=started.isoformat(timespec="seconds"),
    )
    for each in results:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=_showable(each.group),
            name=_showable(each.name),
            time=f"{each.seconds:.3f}",
        )
        properties = ET.SubElement(case, "properties")
        for name, value in each.figures.items():
            ET.SubElement(properties, "property", name=_showable(name), value=_showable(str(value)))
        if not each.passed:
            tag = "error" if each.verdict == ERROR else "failure"
            failure = ET.SubElement(case, tag, type=each.verdict, message=_showable(each.message))
            failure.text = _showable(each.text)
    return root


def _showable(text: str) -> str:
    return _NO_XML.sub(lambda found: escaped(found[0]), text)
