"""Time several contestants in turns, so that whatever disturbs the machine disturbs all of them.

In every round each contestant has one turn, and every round starts with another contestant: none has
always the same one before it, whose data is in the cache and whose threads may not sleep yet.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

# What the threads of other libraries may need to go to sleep after a call, in seconds: OpenBLAS's and
# OpenMP's wait for the next one in a loop, and would take a processor from whoever comes then.
_PAUSE = 0.25
# A contestant that is faster than this many seconds has a call that is not counted before each sample: its
# own threads have slept, and its data has left the cache.
_SHORT = 1.0


@dataclass(frozen=True)
class Timing:
    """The seconds that one call took, in each round.

    Attributes
    ----------
    samples : tuple of float
        One a round, in their order.
    calls : int
        The calls of which each sample is the mean.
    """

    samples: tuple[float, ...]
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


def rotated(names: list[str], turn: int) -> list[str]:
    """The same names in the same cyclic order, starting `turn` places later."""
    turn %= max(1, len(names))
    return names[turn:] + names[:turn]


Measure = Callable[[Callable[[], object], int], float]
"""Calls a function so many times; the seconds that one call took, on average."""


def by_clock(clock: Callable[[], float] = time.perf_counter) -> Measure:
    """Measure with a clock: right where a call is over when it returns."""

    def measure(run: Callable[[], object], calls: int) -> float:
        start = clock()
        for _ in range(calls):
            run()
        return (clock() - start) / calls

    return measure


def interleave(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    warmup: int = 2,
    shortest: float = 0.05,
    between: Callable[[], object] = lambda: None,
    measure: Measure | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> dict[str, Timing]:
    """Warm each contestant up, then time all of them in turns.

    Parameters
    ----------
    contestants : mapping from name to function
    rounds : int
        How many samples each gets.
    warmup : int
        Calls of each, at least 1, that are not counted.
    shortest : float
        Seconds. A faster contestant is called several times for a sample, which is then their mean.
    between : callable
        Called before each round, outside the time that is taken.
    measure : callable, optional
        How calls are timed; None for `by_clock`. On a GPU, where a call returns before it is over:
        `gpu.by_events`.
    sleep : callable
        What waits.

    Returns
    -------
    dict from name to Timing
        In the order of `contestants`.
    """
    measure = measure or by_clock()
    calls, short = {}, {}
    for name, run in contestants.items():
        fastest = min((measure(run, 1) for _ in range(warmup)), default=math.inf)
        calls[name] = max(1, math.ceil(shortest / max(fastest, 1e-9)))
        short[name] = fastest < _SHORT
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds):
        between()
        for name in rotated(list(contestants), turn):
            run = contestants[name]
            sleep(_PAUSE)
            if short[name]:
                run()
            samples[name].append(measure(run, calls[name]))
    return {name: Timing(tuple(samples[name]), calls[name]) for name in contestants}
