"""What became of one check, in the words that files of results have: JUnit's XML, a page."""

from __future__ import annotations

from dataclasses import dataclass, field

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
        Why it did not pass, in one line and in full.
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
