"""What the machine can do at best: the roofs that a kernel's speed is measured against.

The multiply-add peak is that of a loop that touches only registers, in the fastest of three vector
lengths (128, 256 and 512 bits; a length that the processor lacks is slow, and loses). The bandwidth is
that of copying an array much larger than the caches; it counts the bytes read and the bytes written.
Both are the best of several runs: a limit is what the machine can reach. What it reaches while others
use it too is measured by a `Roof`, which takes its turn among the contestants of a benchmark.

A kernel that does F operations and must move B bytes takes at least max(F / peak, B / bandwidth)
seconds: the roofline model of Williams, Waterman and Patterson, "Roofline: an insightful visual
performance model for multicore architectures", CACM 2009. Arrays that stay in the cache may beat the
second term, and an algorithm with fewer operations than the definition (Winograd's) the first.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from minialex.benchmarking.machine import largest_cache
from minialex.config import using
from minialex.integers import ceil_div
from minialex.kernels.runtime import threads
from minialex.kernels.runtime.compiled import Intrinsic, compiled

_LOOPS = "minialex.benchmarking._loops"
_ACCUMULATORS = 12
_RUNS = 7

multiply_add_4, multiply_add_8, multiply_add_16 = (
    Intrinsic(f"multiply_add_{lanes}", _LOOPS) for lanes in (4, 8, 16)
)


@dataclass(frozen=True)
class Limits:
    """GFLOP/s and GB/s, on one thread and on all those of the run."""

    threads: int
    # GFLOP/s of multiply-adds, each of which counts as two operations, by the name of the dtype.
    peak_one: dict[str, float]
    peak: dict[str, float]
    # GB/s of a copy.
    bandwidth_one: float
    bandwidth: float
    # The name of the GPU whose limits they are; empty for the processor.
    gpu: str = ""

    def seconds(self, operations: float, moved: float, dtype: str = "float32") -> float:
        """The least time for these operations and bytes moved."""
        return max(operations / (self.peak[dtype] * 1e9), moved / (self.bandwidth * 1e9))

    def roof(self, operations: float, moved: float, dtype: str = "float32") -> Roof:
        """The limit that binds such a kernel, to be timed beside it on the processor."""
        if operations / (self.peak[dtype] * 1e9) < moved / (self.bandwidth * 1e9):
            copy, copied = _copy()
            return Roof(copy, moved / copied)
        multiply_add, done = _multiply_add(_fastest_lanes())
        return Roof(multiply_add, operations / done * self.peak["float32"] / self.peak[dtype])

    def to_dict(self) -> dict:
        """Everything, in types that JSON has."""
        return asdict(self)


@dataclass(frozen=True)
class Roof:
    """A loop of only what limits a kernel: multiply-adds in registers, or copying."""

    # Some milliseconds of it, on the threads that are set.
    run: Callable[[], object]
    # How many such calls are as much work as the kernel does.
    calls: float


def measure_limits(number_of_threads: int) -> Limits:
    """Measure the machine's limits; about three seconds, half of it compiling."""
    peaks, bandwidths = [], []
    for count in (1, number_of_threads):
        with using(threads=count):
            peak = max(map(_peak, _LOOP_OF_LANES))
            # A vector holds half as many float64.
            peaks.append({"float32": peak, "float64": peak / 2})
            bandwidths.append(_bandwidth())
    # All threads can do what one did, if the others wait; on a noisy machine that may have been more.
    peaks[1] = {dtype: max(peaks[0][dtype], peak) for dtype, peak in peaks[1].items()}
    return Limits(number_of_threads, *peaks, bandwidths[0], max(bandwidths))


def fixed_computation() -> None:
    """About a millisecond of multiply-adds on the calling thread: what `noise.NoiseMeter` times."""
    _loop_4(0, 0, 500_000, *_OPERANDS, np.zeros(1, np.float32))


@compiled.parallel
def _loop_4(item, worker, steps, a, b, sink):
    sink[item] = multiply_add_4(steps, a, b)


@compiled.parallel
def _loop_8(item, worker, steps, a, b, sink):
    sink[item] = multiply_add_8(steps, a, b)


@compiled.parallel
def _loop_16(item, worker, steps, a, b, sink):
    sink[item] = multiply_add_16(steps, a, b)


_LOOP_OF_LANES = {4: _loop_4, 8: _loop_8, 16: _loop_16}
_OPERANDS = (np.float32(0.5), np.float32(1.0))


def _multiply_add(lanes: int) -> tuple[Callable[[], object], int]:
    """The loop with vectors of `lanes` numbers, on the threads that are set, and a call's operations."""
    # Many more items than threads: one that is interrupted takes fewer.
    items, steps = 16 * threads.num_threads(), 20_000
    sink = np.zeros(items, np.float32)
    loop = _LOOP_OF_LANES[lanes]
    loop.run(items, 10, *_OPERANDS, sink)
    return lambda: loop.run(items, steps, *_OPERANDS, sink), 2 * _ACCUMULATORS * lanes * steps * items


def _peak(lanes: int) -> float:
    """GFLOP/s of the loop with vectors of `lanes` numbers, on the threads that are set."""
    run, operations = _multiply_add(lanes)
    return operations / _fastest(run) / 1e9


@functools.cache
def _fastest_lanes() -> int:
    """The lanes of the fastest loop."""
    return max(_LOOP_OF_LANES, key=_peak)


@compiled.parallel
def _copy_block(item, worker, source, target):
    first = item * 65536
    for i in range(first, min(first + 65536, len(source))):
        target[i] = source[i]


def _copy() -> tuple[Callable[[], object], int]:
    """The copy of a large array on the threads that are set, and the bytes that a call moves."""
    # Four times the cache, but no more than a machine with little memory bears.
    length = min(max(4 * largest_cache(), 2**26), 2**28) // 4
    source, target = np.ones(length, np.float32), np.zeros(length, np.float32)
    blocks = ceil_div(length, 65536)
    _copy_block.run(blocks, source, target)
    return lambda: _copy_block.run(blocks, source, target), 2 * source.nbytes


def _bandwidth() -> float:
    """GB/s of a copy on the threads that are set."""
    run, moved = _copy()
    return moved / _fastest(run) / 1e9


def _fastest(run: Callable[[], object]) -> float:
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
