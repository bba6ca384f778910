"""The two tiers of the tests.

`pytest`         every kernel, gradient, command and contract, on small draws and thin networks: minutes.
`pytest --full`  the tests marked `full` as well, and more examples of everything that is drawn.

A test that is named on the command line (``pytest path::test_name``) runs in either.
"""

import os

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


def pytest_addoption(parser):
    parser.addoption(
        "--full", action="store_true", help="run the tests marked `full`, too, and draw more examples"
    )


def pytest_configure(config):
    tier = "full" if config.getoption("--full") else "quick"
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", tier))


def pytest_collection_modifyitems(config, items):
    if config.getoption("--full") or any("::" in argument for argument in config.args):
        return
    full = [item for item in items if item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=full)
    items[:] = [item for item in items if not item.get_closest_marker("full")]
