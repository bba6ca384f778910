"""What was skipped and why, as a table at the end; with `--full` an unforeseen reason is a failure."""

import re
from collections import Counter

import pytest

# Reasons for which a test may be skipped where everything that pip can install is installed: patterns, each
# with what would run the test.
FORESEEN = {
    "no NVIDIA driver|finds no GPU": "an NVIDIA GPU",
    "there is a GPU": "a machine without one",
    "no browser": "Chromium",
    r"could not import 'jax(\.numpy)?'": "JAX",
    "CUDA toolkit|nvcc": "NVIDIA's CUDA toolkit",
    "MNIST files are not": "the MNIST files",
    r"g\+\+ has no|no g\+\+": "GCC with its sanitizers",
    "only root can": "root",
    "the program `script`": "util-linux",
    "x86 only|this processor has no": "another processor",
    "system has no|no fork|reads /proc|limits the address space|an ELF|POSIX|Windows": "another system",
}


def foreseen(reason: str) -> str | None:
    """What would run a test that was skipped for this reason; None where nobody foresaw it."""
    return next((cure for pattern, cure in FORESEEN.items() if re.search(pattern, reason)), None)


def reasons(reports) -> Counter:
    """How often each reason was given."""
    given = Counter()
    for report in reports:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        given[reason.removeprefix("Skipped: ")] += 1
    return given


def pytest_terminal_summary(terminalreporter, config):
    given = reasons(terminalreporter.stats.get("skipped", ()))
    if not given:
        return
    terminalreporter.section("skipped")
    for reason, count in given.most_common():
        cure = foreseen(reason)
        note = f"needs {cure}" if cure else "NOT FORESEEN in tests/skips.py" if config.option.full else ""
        terminalreporter.line(f"{count:5d}  {reason}" + (f"  [{note}]" if note else ""))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not session.config.option.full or hasattr(session.config, "workerinput"):
        return
    if not all(map(foreseen, reasons(reporter.stats.get("skipped", ())))):
        session.exitstatus = max(session.exitstatus, pytest.ExitCode.TESTS_FAILED)
