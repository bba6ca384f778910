"""Turns, rotation and statistics, with a clock that the contestants move."""

import pytest

from minialex.benchmarking.timing import Timing, Turns, by_clock, interleave, rotated


class Clock:
    """A clock that stands still until someone works."""

    def __init__(self):
        self.now = 0.0
        self.log = []

    def __call__(self):
        return self.now

    def work(self, name, seconds):
        """A contestant that takes these seconds, one after another, the last again and again."""
        remaining = list(seconds)

        def run():
            self.log.append(name)
            self.now += remaining.pop(0) if len(remaining) > 1 else remaining[0]

        return run

    def time(self, contestants, rounds, **options):
        options = {"warmup": 1, "shortest": 0.0, "sleep": lambda _: None} | options
        return interleave(contestants, Turns(rounds, measure=by_clock(self), **options))


def test_every_round_has_each_once_and_starts_with_another():
    clock = Clock()
    clock.time({name: clock.work(name, [1.0]) for name in "abc"}, 4)
    assert "".join(clock.log) == "abc" + "abc" + "bca" + "cab" + "abc"


def test_rotated():
    assert [rotated(list("abc"), turn) for turn in range(4)] == [
        list(s) for s in ("abc", "bca", "cab", "abc")
    ]


def test_nobody():
    assert Clock().time({}, 3) == {}


def test_statistics():
    clock = Clock()
    times = clock.time(
        {"a": clock.work("a", [99.0, 3.0, 1.0, 2.0, 10.0, 4.0]), "b": clock.work("b", [0.5])}, 5
    )
    a = times["a"]
    assert a.samples == (3.0, 1.0, 2.0, 10.0, 4.0)  # the warm-up of 99 is not among them
    assert (a.median, a.fastest, a.slowest) == (3.0, 1.0, 10.0)
    assert a.deviation == 1.0  # of 0, 2, 1, 7, 1
    assert times["b"].samples == (0.5,) * 5
    assert list(times) == ["a", "b"]


def test_fast_contestants_are_called_several_times_for_a_sample():
    clock = Clock()
    contestants = {"fast": clock.work("fast", [0.25]), "slow": clock.work("slow", [8.0])}
    times = clock.time(contestants, 2, warmup=2, shortest=1.0)
    assert (times["fast"].calls, times["slow"].calls) == (4, 1)
    assert times["fast"].samples == (0.25, 0.25)
    # Before each sample the fast one, which is faster than a second, has a call that is not counted.
    assert clock.log.count("fast") == 2 + 2 * (1 + 4)
    assert clock.log.count("slow") == 2 + 2
    assert clock.log.count("slow") == 2 + 2


def test_what_happens_between_rounds_is_not_counted():
    clock = Clock()
    calls = []

    def between():
        calls.append(len(clock.log))
        clock.now += 100

    times = clock.time({"a": clock.work("a", [1.0]), "b": clock.work("b", [2.0])}, 3, between=between)
    assert times["a"].samples == (1.0,) * 3
    assert calls == [2, 4, 6]


def test_waits_before_each_turn_outside_of_the_time():
    clock = Clock()
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        clock.now += 50

    times = clock.time({"a": clock.work("a", [1.0])}, 3, sleep=sleep)
    assert len(waits) == 3
    assert times["a"].samples == (1.0,) * 3


def test_a_failure_is_not_hidden():
    def fails():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Clock().time({"a": fails}, 3)


def test_to_dict():
    statistics = {"median": 2.0, "deviation": 1.0, "fastest": 1.0, "slowest": 3.0}
    expected = {**statistics, "calls": 5, "samples": [1.0, 3.0, 2.0]}
    assert Timing((1.0, 3.0, 2.0), 5).to_dict() == expected
