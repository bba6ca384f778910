"""A contestant sets the threads of its process for good, as each runs in one of its own."""

import pytest

from minialex import kernels


@pytest.fixture(autouse=True)
def default_threads():
    """Let the tests that follow have as many threads as they would."""
    yield
    kernels.set_num_threads(None)
