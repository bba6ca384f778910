"""The two tiers of the tests.

`pytest`         every kernel, gradient, command and contract, on small draws and thin networks: minutes.
`pytest --full`  the tests marked `full` as well, and more examples of everything that is drawn.

``pytest --full --after-quick`` leaves out what would only repeat a run of the quick tier that came before it:
tests that passed there and draw nothing. CI runs both tiers, one after the other.

A test that is named on the command line (``pytest path::test_name``) runs in either.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

# No deadline: the first example of a test pays for what is imported or allocated once.
settings.register_profile(
    "quick",
    deadline=None,
    derandomize=True,
    max_examples=12,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("full", settings.get_profile("quick"), max_examples=100)
settings.register_profile("thorough", settings.get_profile("quick"), derandomize=False, max_examples=2000)


def examples(full: int) -> int:
    """How many examples a test draws in this tier that draws `full` of them with ``--full``."""
    return max(3, full * settings.default.max_examples // settings.get_profile("full").max_examples)


# Where pytest's cache keeps the names of the tests that passed in the quick tier.
_PASSED = "minialex/passed-in-quick-tier"


def pytest_addoption(parser):
    parser.addoption(
        "--full", action="store_true", help="run the tests marked `full`, too, and draw more examples"
    )
    parser.addoption(
        "--after-quick",
        action="store_true",
        help="with --full: leave out tests that passed in the quick tier just run and draw nothing",
    )


def pytest_configure(config):
    full = config.getoption("--full")
    if config.getoption("--after-quick") and not full:
        raise pytest.UsageError("--after-quick goes with --full")
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "full" if full else "quick"))


def pytest_collection_modifyitems(config, items):
    if any("::" in argument for argument in config.args):
        return
    if config.getoption("--after-quick"):
        passed = set(config.cache.get(_PASSED, ()))
        left_out = [item for item in items if item.nodeid in passed and not _draws(item)]
    elif config.getoption("--full"):
        return
    else:
        left_out = [item for item in items if item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=left_out)
    left_out = set(left_out)
    items[:] = [item for item in items if item not in left_out]


def _draws(item) -> bool:
    return getattr(getattr(item, "obj", None), "is_hypothesis_test", False)


def pytest_sessionfinish(session):
    config = session.config
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    whole = config.args_source is not pytest.Config.ArgsSource.ARGS and not config.option.keyword
    if reporter is None or not whole or config.getoption("--full") or hasattr(config, "workerinput"):
        return
    passed = {report.nodeid for report in reporter.stats.get("passed", ()) if report.when == "call"}
    config.cache.set(_PASSED, sorted(passed))
