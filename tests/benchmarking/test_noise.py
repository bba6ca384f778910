"""When a machine counts as noisy."""

import os
from pathlib import Path

import pytest

from minialex.benchmarking.noise import Noise, NoiseMeter, ProcessorTimes, processor_times


def meter(seconds, before=None, after=None):
    """What a meter finds whose computation takes these seconds in turn, between two readings."""
    clock = [0.0]
    durations = iter(seconds)
    readings = iter((before, after))

    def compute():
        clock[0] += next(durations, 1.0)

    made = NoiseMeter(compute, times=lambda: next(readings), clock=lambda: clock[0])
    return made.finish()


def test_a_steady_machine_is_quiet():
    noise = meter([1.0] * 100, ProcessorTimes(0, 0, 0, 0), ProcessorTimes(100, 50, 0.5, 48))
    assert noise.reasons == []
    assert noise.spread == noise.slowest == 0
    assert noise.steal == 0.005
    assert noise.others == 0.02
    assert len(noise.probes) == 25
    assert noise.to_dict()["noisy"] is False


def test_a_computation_that_takes_now_longer_now_shorter():
    # The first call is not counted: 25 probes follow, with a median of 1.0 and deviations of 0 and 0.1.
    noise = meter([7.0] + [1.0, 1.1, 0.9] * 8 + [1.0])
    assert noise.spread == pytest.approx(0.1)
    assert noise.slowest == pytest.approx(1.1 / 0.9 - 1)
    assert len(noise.reasons) == 1
    assert "10.0%" in noise.reasons[0]
    assert noise.steal is None


@pytest.mark.parametrize(
    ("after", "word"),
    [(ProcessorTimes(100, 50, 3, 50), "stolen"), (ProcessorTimes(100, 50, 0, 40), "other processes")],
)
def test_stolen_time_and_other_processes(after, word):
    noise = meter([1.0] * 100, ProcessorTimes(0, 0, 0, 0), after)
    assert len(noise.reasons) == 1
    assert word in noise.reasons[0]
    assert noise.to_dict()["noisy"] is True


def test_shares_of_a_moment_are_not_trusted():
    noise = meter([1.0] * 100, ProcessorTimes(0, 0, 0, 0), ProcessorTimes(0.5, 0.5, 0.5, 0))
    assert (noise.steal, noise.others) == (None, None)


def test_nan_never_happens():
    assert Noise(0.0, 0.0, None, None, (1.0,)).to_dict()["noisy"] is False


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the system has no /proc/stat")
def test_counters_advance_with_work():
    before = processor_times()
    while sum(os.times()[:4]) < before.own + 0.2:
        sum(range(10_000))
    after = processor_times()
    assert after.own - before.own >= 0.15
    # Hundredths of a second, counted at different moments.
    assert after.busy - before.busy >= after.own - before.own - 0.1
    # Less than one hundredth: differences of large floats are not exact.
    assert after.total - before.total >= after.busy - before.busy - 0.001
