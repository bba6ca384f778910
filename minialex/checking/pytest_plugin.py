"""A pytest plugin: the fixture `gradcheck`, the marker of the same name, and one line of summary.

    def test_my_layer(gradcheck):
        gradcheck(my_layer, [x, weight])                       # a function of tensors
        gradcheck.second(my_layer, [x, weight])                # its second derivatives
        gradcheck.vjp(forward, vjp, [array])                   # anyone's code on plain arrays
        gradcheck.torch(module, [tensor])                      # PyTorch's functions and modules
        gradcheck.jax(function, [array])                       # JAX's

    @pytest.mark.gradcheck(dtype="float32", max_skipped=0.5)   # on a test, a class or a module
    def test_another(gradcheck): ...

An option comes from the first that names it: the call, ``--gradcheck-seed``, the nearest marker, a
marker further out. A test that uses none of this runs as if the plugin were not there, and nothing is
imported or printed for it; ``-p no:minialex`` turns the plugin off.
"""

from __future__ import annotations

import argparse
import sys
import weakref

# pytest imports this module whenever it starts: what computes is imported by the first check.
import pytest

_OPTIONS = (
    *("seed", "dtype", "mode", "directions", "method", "step"),
    *("max_skipped", "min_compared", "max_tolerance", "nondeterminism"),
)
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
        return self._run("gradcheck", (fn, inputs), options)

    def second(self, fn, inputs, **options):
        """`minialex.gradgradcheck`: the second derivatives of a function of tensors."""
        __tracebackhide__ = True
        return self._run("gradgradcheck", (fn, inputs), options)

    def vjp(self, forward, vjp, inputs, **options):
        """`minialex.check_vjp`: a function of plain arrays, and its vector-Jacobian product."""
        __tracebackhide__ = True
        return self._run("check_vjp", (forward, vjp, inputs), options)

    def jvp(self, forward, jvp, inputs, **options):
        """`minialex.check_jvp`: a function of plain arrays, and its Jacobian-vector product."""
        __tracebackhide__ = True
        return self._run("check_jvp", (forward, jvp, inputs), options)

    def second_vjp(self, forward, vjp, second, inputs, **options):
        """`minialex.check_second_vjp`: a function of plain arrays, its vjp, and the vjp of that."""
        __tracebackhide__ = True
        return self._run("check_second_vjp", (forward, vjp, second, inputs), options)

    def cuda(self, source, forward, backward, inputs, outputs, **options):
        """`minialex.check_cuda`: a pair of CUDA kernels."""
        __tracebackhide__ = True
        return self._run("check_cuda", (source, forward, backward, inputs, outputs), options, objects=False)

    def torch(self, function, inputs, **options):
        """`minialex.check_torch`: a PyTorch function, `torch.autograd.Function` or module."""
        __tracebackhide__ = True
        return self._run("check_torch", (function, inputs), options, objects=False)

    def jax(self, function, inputs, **options):
        """`minialex.check_jax`: a JAX function, `custom_vjp` or other."""
        __tracebackhide__ = True
        return self._run("check_jax", (function, inputs), options, objects=False)

    def __repr__(self) -> str:
        return "gradcheck"  # as a failing example names its arguments

    def _run(self, check: str, arguments: tuple, options: dict, *, objects: bool = True):
        __tracebackhide__ = True
        from minialex import checking
        from minialex.checking.testing.tracing import Pause

        state = self._state
        options = state.options() | options
        with Pause() as pause:
            try:
                report = getattr(checking, check)(
                    *(pause.lifted(each, objects=objects) for each in arguments),
                    **{name: pause.lifted(each, objects=objects) for name, each in options.items()},
                )
            except checking.GradcheckError as error:
                state.failed(error)
                if state.config.getoption("fulltrace"):
                    raise
                # The message says what is wrong with the function. How the checker found it does not matter.
                raise error.with_traceback(None) from _of_the_function(error.__cause__)
            state.passed(report)
        return report


def _of_the_function(error: BaseException | None) -> BaseException | None:
    """What the function under check raised, traced from the function on."""
    trace = None if error is None else error.__traceback__
    while trace is not None and _is_of_the_checker(trace.tb_frame.f_globals.get("__name__", "")):
        trace = trace.tb_next
    return error if trace is None else error.with_traceback(trace)


def _is_of_the_checker(module: str) -> bool:
    return module.startswith("minialex.checking")


class _State:
    """The running test, and what it has checked since its last report.

    Hypothesis runs a failing test hundreds of times, to shrink the example and to explain it. What is checked
    on drawn examples is kept apart until it is known how the test ends.
    """

    def __init__(self, config: pytest.Config):
        self.config = config
        self.item: pytest.Item | None = None
        self.whole_item: dict[str, float] = {}
        self._start()

    def _start(self) -> None:
        self._counts: dict[str, float] = {}
        self._drawn: dict[str, float] = {}
        self._errors: weakref.WeakKeyDictionary[Exception, bool] = weakref.WeakKeyDictionary()

    def options(self) -> dict:
        options = {} if self.item is None else _marked(self.item)
        seed = self.config.getoption("gradcheck_seed")
        return options if seed is None else options | {"seed": seed}

    def passed(self, report) -> None:
        _add(
            self._drawn if _on_drawn_example() else self._counts,
            {
                "checks": 1,
                "compared": report.compared,
                "skipped": report.skipped,
                "uncertain": report.uncertain,
                "worst": float(report.worst_error),  # JSON and execnet take no NumPy numbers
                "quick": int(report.mode != "jacobian"),
                "weak": int(report.weak),
            },
        )

    def failed(self, error: Exception) -> None:
        drawn = self._errors[error] = _on_drawn_example()
        _add(self._drawn if drawn else self._counts, {"checks": 1, "caught": 1})

    def take(self, ending: BaseException | None) -> dict[str, float]:
        """What counts of a part of a test, setup, call or teardown, that ended with this exception."""
        counts, drawn, errors = self._counts, self._drawn, self._errors
        self._start()
        failed = [errors[each] for each in _causes(ending) if each in errors]
        if ending is None:
            _add(counts, drawn)
        elif any(failed):
            # Of a test that fails, only the examples that Hypothesis shows in the end.
            _add(counts, {"checks": sum(failed), "caught": sum(failed)})
        if failed:
            _add(counts, {"failed": len(failed), "caught": -len(failed)})
        return counts


def _on_drawn_example() -> bool:
    hypothesis = sys.modules.get("hypothesis")
    return hypothesis is not None and hypothesis.currently_in_test_context()


def _causes(error: BaseException | None) -> list[BaseException]:
    """An exception, those of its group, and those it was raised from or for: each once."""
    found: dict[int, BaseException] = {}
    left = [error]
    while left:
        each = left.pop()
        if each is not None and id(each) not in found:
            found[id(each)] = each
            left += [each.__cause__, each.__context__, *getattr(each, "exceptions", ())]
    return list(found.values())


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
        raise argparse.ArgumentTypeError(f"it must be an integer 0 or more, not {text!r}")
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
    config.pluginmanager.register(_Summary(), "minialex-summary")


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
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    state = item.config.stash[_state]
    if call.when == "setup":
        state.whole_item = {}
    counts = state.take(None if call.excinfo is None else call.excinfo.value)
    _add(state.whole_item, counts)
    # pytest writes them to the file of --junitxml. A test that is run again has those of its last run.
    others = [each for each in item.user_properties if not each[0].startswith(_PROPERTY)]
    item.user_properties[:] = others + _properties(state.whole_item)
    report = yield
    if counts:
        # Reports are what pytest-xdist sends from its workers to the process that prints the summary.
        report.gradcheck = counts
    return report


_PROPERTY = "gradcheck_"


def _properties(counts: dict[str, float]) -> list[tuple[str, float]]:
    if not counts:
        return []
    names = {"checks": "checks", "compared": "compared", "skipped": "skipped", "uncertain": "uncertain"}
    names |= {"worst": "worst_relative_error", "failed": "failed"}
    return [(_PROPERTY + text, counts.get(name, 0)) for name, text in names.items()]


class _Summary:
    """The last line: what counts of each test, added up."""

    def __init__(self):
        self._tests: dict[tuple, dict[str, float]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # pytest-xdist can run a test in several processes, each of which is a node.
        test = getattr(report, "node", None), report.nodeid
        if report.outcome == "rerun":  # of a test that fails and is run again, the last run counts
            self._tests.pop(test, None)
            return
        counts = dict(getattr(report, "gradcheck", {}))
        if hasattr(report, "wasxfail"):
            _add(counts, {"caught": counts.pop("failed", 0)})
        _add(self._tests.setdefault(test, {}), counts)

    def pytest_terminal_summary(self, terminalreporter) -> None:
        total: dict[str, float] = {}
        for counts in self._tests.values():
            _add(total, counts)
        if not total.get("checks"):
            return
        parts = [
            f"{total['checks']:,} check{'s' * (total['checks'] != 1)}",
            f"{total.get('compared', 0):,} derivatives compared",
            f"{total.get('skipped', 0):,} skipped at kinks",
            f"worst relative error {total.get('worst', 0.0):.1e}",
        ]
        for name, text in (
            ("uncertain", "uncertain"),
            ("quick", "along random directions only"),
            ("weak", "in float32 (weak)"),
            ("failed", "failed"),
            ("caught", "failed as the tests expect"),
        ):
            if total.get(name):
                parts.append(f"{total[name]:,} {text}")
        terminalreporter.write_line(f"gradcheck: {', '.join(parts)}")
