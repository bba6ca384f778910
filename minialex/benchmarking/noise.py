"""Whether the machine was quiet enough for a conclusion.

Three signs: a fixed computation whose time varies; time that the hypervisor gave to another guest (steal);
and processors busy with other processes.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

# Above these a difference of a few percent between two contestants means nothing.
MAX_SPREAD, MAX_STEAL, MAX_OTHERS = 0.03, 0.01, 0.05

# The counters advance by hundredths of a second: shares of less than this many seconds are guesses.
_SHORTEST = 1.0


@dataclass(frozen=True)
class ProcessorTimes:
    """Seconds since the start: of all processors, busy, stolen, and spent by this process."""

    total: float
    busy: float
    steal: float
    own: float


def processor_times() -> ProcessorTimes | None:
    """Read the counters of Linux; None on other systems."""
    try:
        line = Path("/proc/stat").read_text().splitlines()[0]
    except OSError:
        return None
    per_second = os.sysconf("SC_CLK_TCK")
    user, nice, system, idle, iowait, irq, softirq, steal = (
        int(field) / per_second for field in line.split()[1:9]
    )
    busy = user + nice + system + irq + softirq
    # Of child processes only those that have ended are counted.
    return ProcessorTimes(busy + idle + iowait + steal, busy, steal, sum(os.times()[:4]))


@dataclass(frozen=True)
class Noise:
    """What was seen of other load while the figures were taken."""

    # The median absolute deviation of a fixed computation's time, relative to its median.
    spread: float
    # Its slowest run over its fastest, less 1.
    slowest: float
    # The shares of all processors' time that other guests and other processes took; None where the system
    # does not tell, or the run was too short.
    steal: float | None
    others: float | None
    # The seconds that the fixed computation took.
    probes: tuple[float, ...]

    @property
    def reasons(self) -> list[str]:
        """Why no conclusion should be drawn; empty on a quiet machine."""
        found = []
        if self.spread > MAX_SPREAD:
            found.append(f"a fixed computation's time varies by {self.spread:.1%} (quiet: {MAX_SPREAD:.0%})")
        if self.steal is not None and self.steal > MAX_STEAL:
            found.append(f"{self.steal:.1%} of the time was stolen by other guests (quiet: {MAX_STEAL:.0%})")
        if self.others is not None and self.others > MAX_OTHERS:
            found.append(
                f"other processes took {self.others:.1%} of the processors' time (quiet: {MAX_OTHERS:.0%})"
            )
        return found

    def to_dict(self) -> dict:
        """Everything, in types that JSON has."""
        judged = {"noisy": bool(self.reasons), "reasons": self.reasons}
        return {**judged, **asdict(self), "probes": list(self.probes)}


class NoiseMeter:
    """Watches the machine from its creation to `finish`; call `sample` now and then.

    `compute` is the fixed computation: about a millisecond, on one thread.
    """

    def __init__(
        self,
        compute: Callable[[], object],
        times: Callable[[], ProcessorTimes | None] = processor_times,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self.compute, self.times, self.clock = compute, times, clock
        self.probes: list[float] = []
        self.before = times()
        self.compute()
        for _ in range(4):
            self.sample()

    def sample(self) -> None:
        """Time the fixed computation five times."""
        for _ in range(5):
            start = self.clock()
            self.compute()
            self.probes.append(self.clock() - start)

    def finish(self) -> Noise:
        """Say what was seen."""
        self.sample()
        median = statistics.median(self.probes)
        spread = statistics.median(abs(probe - median) for probe in self.probes) / median
        return Noise(spread, max(self.probes) / min(self.probes) - 1, *self._shares(), tuple(self.probes))

    def _shares(self) -> tuple[float | None, float | None]:
        after = self.times()
        if self.before is None or after is None or after.total - self.before.total < _SHORTEST:
            return None, None
        total, busy, steal, own = (
            getattr(after, name) - getattr(self.before, name) for name in ("total", "busy", "steal", "own")
        )
        return max(0.0, steal / total), max(0.0, (busy - own) / total)
