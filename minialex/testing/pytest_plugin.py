"""A pytest plugin: the fixture `gradcheck`, the marker of the same name, and one line of summary.

    def test_my_layer(gradcheck):
        gradcheck(my_layer, [x, weight])                       # a function of tensors
        gradcheck.second(my_layer, [x, weight])                # its second derivatives
        gradcheck.vjp(forward, vjp, [array])                   # anyone's code on plain arrays

    @pytest.mark.gradcheck(dtype="float32", max_skipped=0.5)   # on a test, a class or a module
    def test_another(gradcheck): ...

An option comes from the first that names it: the call, ``--gradcheck-seed``, the nearest marker, a
marker further out. A test that uses none of this runs as if the plugin were not there, and nothing is
imported or printed for it; ``-p no:minialex`` turns the plugin off.
"""

from __future__ import annotations

import argparse

# pytest imports this module whenever it starts: what computes is imported by the first check.
import pytest

_OPTIONS = ("seed", "dtype", "mode", "directions", "method", "step", "max_skipped")
_MARKER = (
    f"gradcheck({', '.join(f'{name}=...' for name in _OPTIONS)}): options of the checks that a test makes "
    "with the fixture gradcheck, where it does not give them itself"
)


class Gradcheck:
    """What the fixture `gradcheck` is: the checks of MiniAlex, with the options of the running test.

    Each method takes the arguments of the function it is named after, gives its report, and raises its
    `minialex.GradcheckError`.
    """

    def __init__(self, state: _State):
        self._state = state

    def __call__(self, fn, inputs, **options):
        """`minialex.gradcheck`: the gradient of a function of tensors."""
        __tracebackhide__ = True
        from minialex.checking import gradcheck

        return self._run(gradcheck, fn, inputs, **options)

    def second(self, fn, inputs, **options):
        """`minialex.gradgradcheck`: the second derivatives of a function of tensors."""
        __tracebackhide__ = True
        from minialex.checking import gradgradcheck

        return self._run(gradgradcheck, fn, inputs, **options)

    def vjp(self, forward, vjp, inputs, **options):
        """`minialex.check_vjp`: a function of plain arrays, and its vector-Jacobian product."""
        __tracebackhide__ = True
        from minialex.checking import check_vjp

        return self._run(check_vjp, forward, vjp, inputs, **options)

    def _run(self, check, *arguments, **options):
        __tracebackhide__ = True
        from minialex.checking import GradcheckError

        state = self._state
        try:
            report = check(*arguments, **state.options() | options)
        except GradcheckError as error:
            state.add(failed=1)
            if state.config.getoption("fulltrace"):
                raise
            # The message says what is wrong with the function. How the checker found it does not matter.
            raise error.with_traceback(None) from None
        state.add(
            compared=report.compared,
            skipped=report.skipped,
            worst=report.worst_error,
            quick=int(report.mode != "jacobian"),
            weak=int(report.weak),
        )
        return report


class _State:
    """The running test, and what it has checked since its last report."""

    def __init__(self, config: pytest.Config):
        self.config = config
        self.item: pytest.Item | None = None
        self.counts: dict[str, float] = {}

    def options(self) -> dict:
        options = {} if self.item is None else _marked(self.item)
        seed = self.config.getoption("gradcheck_seed")
        return options if seed is None else options | {"seed": seed}

    def add(self, **counts: float) -> None:
        _add(self.counts, {"checks": 1, **counts})


_state = pytest.StashKey[_State]()


def _add(total: dict[str, float], counts: dict[str, float]) -> None:
    for name, count in counts.items():
        before = total.get(name, 0)
        total[name] = max(before, count) if name == "worst" else before + count


def _marked(item: pytest.Item) -> dict:
    """The options of a test's markers, the nearest last."""
    options: dict = {}
    for marker in reversed(list(item.iter_markers("gradcheck"))):
        unknown = [name for name in marker.kwargs if name not in _OPTIONS]
        if marker.args or unknown:
            given = ", ".join([repr(each) for each in marker.args] + unknown)
            raise pytest.UsageError(
                f"{item.nodeid}: the marker gradcheck has no option {given}; it takes, by name: "
                f"{', '.join(_OPTIONS)}"
            )
        options |= marker.kwargs
    return options


# One object for all tests: Hypothesis refuses fixtures that are made anew for each test function.
@pytest.fixture(scope="session")
def gradcheck(pytestconfig: pytest.Config) -> Gradcheck:
    """Check gradients: gradcheck(fn, inputs), gradcheck.second(fn, inputs), gradcheck.vjp(f, vjp, inputs)."""
    return Gradcheck(pytestconfig.stash[_state])


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} should be an int, 0 or more")
    return int(text)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("gradcheck", "gradient checks").addoption(
        "--gradcheck-seed",
        type=_seed,
        metavar="N",
        help="the seed of all checks made with the fixture gradcheck, but for those that pass their own",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)
    config.stash[_state] = _State(config)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a misspelt option before anything runs. A marker on a test without the fixture is not ours."""
    for item in items:
        if "gradcheck" in getattr(item, "fixturenames", ()):
            _marked(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item):
    state = item.config.stash[_state]
    state.item = item
    try:
        return (yield)
    finally:
        state.item = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    # Reports are what pytest-xdist sends from its workers to the process that prints the summary.
    report = yield
    state = item.config.stash[_state]
    if state.counts:
        report.gradcheck, state.counts = state.counts, {}
    return report


def pytest_terminal_summary(terminalreporter) -> None:
    total: dict[str, float] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            _add(total, getattr(report, "gradcheck", {}))
    if not total:
        return
    parts = [
        f"{total['checks']:,} check{'s' * (total['checks'] != 1)}",
        f"{total.get('compared', 0):,} derivatives compared",
        f"{total.get('skipped', 0):,} skipped at kinks",
        f"worst error {total.get('worst', 0.0):.1e}",
    ]
    for name, text in (
        ("failed", "failed"),
        ("quick", "along random directions only"),
        ("weak", "in float32 (weak)"),
    ):
        if total.get(name):
            parts.append(f"{total[name]:,} {text}")
    terminalreporter.write_line(f"gradcheck: {', '.join(parts)}")
