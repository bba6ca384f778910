"""Time several contestants in turns, so that whatever disturbs the machine disturbs all of them.

In every round each contestant has one turn, and every round starts with another contestant: none always
follows the same one, whose data is in the cache and whose threads may not be asleep yet.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

# What the threads of other libraries may need to go to sleep after a call, in seconds: OpenBLAS's and
# OpenMP's wait for the next one in a loop, and would take a processor from whoever comes then.
_PAUSE = 0.25
# A contestant that is faster than this many seconds has a call that is not counted before each sample: its
# own threads have gone to sleep, and its data has left the cache.
_SHORT = 1.0

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Timing:
    """The seconds that one call took: a sample for each round, in order."""

    samples: tuple[float, ...]
    # The calls of which each sample is the mean.
    calls: int = 1

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def deviation(self) -> float:
        """The median absolute deviation from the median."""
        return statistics.median(abs(sample - self.median) for sample in self.samples)

    @property
    def fastest(self) -> float:
        return min(self.samples)

    @property
    def slowest(self) -> float:
        return max(self.samples)

    def to_dict(self) -> dict:
        """Everything, in types that JSON has."""
        return {
            "median": self.median,
            "deviation": self.deviation,
            "fastest": self.fastest,
            "slowest": self.slowest,
            "calls": self.calls,
            "samples": list(self.samples),
        }


def rotated(names: list[Name], turn: int) -> list[Name]:
    """The same names in the same cyclic order, starting `turn` places later."""
    turn %= max(1, len(names))
    return names[turn:] + names[:turn]


Measure = Callable[[Callable[[], object], int], float]
"""Calls a function n times; the mean seconds of a call."""


def by_clock(clock: Callable[[], float] = time.perf_counter) -> Measure:
    """Measure with a clock: right where a call is over when it returns."""

    def measure(run: Callable[[], object], calls: int) -> float:
        start = clock()
        for _ in range(calls):
            run()
        return (clock() - start) / calls

    return measure


_BY_CLOCK = by_clock()


@dataclass(frozen=True)
class Turns:
    """How contestants are timed."""

    # The samples of each.
    rounds: int
    # Calls of each, at least 1, that are not counted.
    warmup: int = 2
    # Seconds. A faster contestant is called several times for a sample, which is then their mean.
    shortest: float = 0.05
    # Called before each round, outside the time that is taken.
    between: Callable[[], object] = lambda: None
    # On a GPU, where a call returns before it is over: `gpu.by_events`.
    measure: Measure = _BY_CLOCK
    sleep: Callable[[float], object] = time.sleep


def interleave(contestants: Mapping[Name, Callable[[], object]], turns: Turns) -> dict[Name, Timing]:
    """Warm each contestant up, then time all of them in turns; the timings in the order of `contestants`."""
    calls, short = {}, {}
    for name, run in contestants.items():
        fastest = min((turns.measure(run, 1) for _ in range(turns.warmup)), default=math.inf)
        calls[name] = max(1, math.ceil(turns.shortest / max(fastest, 1e-9)))
        short[name] = fastest < _SHORT
    samples: dict[Name, list[float]] = {name: [] for name in contestants}
    for turn in range(turns.rounds):
        turns.between()
        for name in rotated(list(contestants), turn):
            run = contestants[name]
            turns.sleep(_PAUSE)
            if short[name]:
                run()
            samples[name].append(turns.measure(run, calls[name]))
    return {name: Timing(tuple(samples[name]), calls[name]) for name in contestants}
