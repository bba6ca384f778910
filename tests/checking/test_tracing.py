"""When Hypothesis's tracer is paused for a check, and when it goes on."""

import functools

import pytest

from minialex.checking.testing import tracing
from minialex.checking.testing.tracing import Pause


@pytest.fixture
def switched(monkeypatch):
    """What was done, in order, where a tracer runs that can be stopped and started."""
    done = []
    switches = functools.partial(done.append, "stop"), functools.partial(done.append, "start")
    monkeypatch.setattr(tracing, "_switches", lambda: switches)
    return done


def test_it_is_stopped_for_the_block_and_goes_on_in_functions(switched):
    def double(x, *, by=2):
        """Twice as much."""
        switched.append("called")
        return by * x

    with Pause() as pause:
        lifted = pause.lifted(double)
        assert (lifted.__qualname__, lifted.__doc__) == (double.__qualname__, double.__doc__)
        assert lifted(3, by=5) == 15
    assert switched == ["stop", "start", "called", "stop", "start"]


def test_it_is_stopped_again_after_an_error(switched):
    def broken():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"), Pause() as pause:
        pause.lifted(broken)()
    assert switched == ["stop", "start", "stop", "start"]


class Scaled:
    def __call__(self, x):
        return 2 * x

    def method(self, x):
        return 3 * x


def test_objects_are_lifted_by_what_they_do_unless_it_matters_what_they_are(switched):
    scaled = Scaled()
    with Pause() as pause:
        lifted = pause.lifted(scaled)
        assert lifted(4) == 8
        assert lifted.__qualname__ == "Scaled"
        assert pause.lifted(scaled.method)(4) == 12
        del switched[:]
        for each in (scaled, scaled.method):  # a method is one of its object
            assert pause.lifted(each, objects=False) == each
        for each in (Scaled, None, 3, "mode"):
            assert pause.lifted(each) is each
        assert pause.lifted(lambda: 1, objects=False)() == 1
        assert switched == ["start", "stop"]


def test_nothing_changes_where_nothing_is_traced():
    """Nor in a check within a check: there the outer one has stopped the tracer."""
    scaled = Scaled()
    with Pause() as pause:
        assert pause.lifted(scaled) is scaled
        assert pause.lifted(test_nothing_changes_where_nothing_is_traced) is (
            test_nothing_changes_where_nothing_is_traced
        )
