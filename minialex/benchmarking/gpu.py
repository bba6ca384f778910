"""What a benchmark asks of a GPU, through CuPy: the time, its limits, and its name.

**This file has never run on a GPU.** It is kept small for that reason, and its calls are tested against a
stand-in for the few functions of CuPy that it uses.

A call on a GPU returns before its work is done. So time is taken by CUDA events, which the GPU itself stamps
when it gets to them. CuPy and PyTorch both put their work into the legacy default stream unless told
otherwise, and the events here go there too: they time either.
"""

from __future__ import annotations

from collections.abc import Callable

from minialex.benchmarking.limits import Limits
from minialex.benchmarking.timing import Measure

# Lanes of a multiprocessor for multiply-adds, in float32 and float64: "Throughput of Native Arithmetic
# Instructions" in the CUDA C++ Programming Guide, by compute capability.
_LANES = {"75": (64, 2), "80": (64, 32), "90": (128, 64), "100": (128, 64)}
_OF_OTHERS = (128, 2)

_COPIED_BYTES = 2**28
_RUNS = 7


def by_events() -> Measure:
    """How `timing.interleave` measures calls on the current GPU."""
    import cupy

    def measure(run: Callable[[], object], calls: int) -> float:
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record(cupy.cuda.Stream.null)
        for _ in range(calls):
            run()
        end.record(cupy.cuda.Stream.null)
        end.synchronize()
        milliseconds = cupy.cuda.get_elapsed_time(start, end)
        return milliseconds / 1e3 / calls

    return measure


def gpu_name() -> str:
    """The name of the current GPU, such as ``"NVIDIA H100 80GB HBM3"``."""
    import cupy

    return cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()


def measure_limits() -> Limits:
    """The limits of the current GPU: the peak by its lanes and its clock, the bandwidth measured."""
    import cupy

    device = cupy.cuda.Device()
    # The clock is in kHz.
    cycles = device.attributes["MultiProcessorCount"] * device.attributes["ClockRate"] * 1e3
    single, double = _LANES.get(device.compute_capability, _OF_OTHERS)
    peak = {"float32": 2 * single * cycles / 1e9, "float64": 2 * double * cycles / 1e9}
    bandwidth = _bandwidth()
    return Limits(1, peak, peak, bandwidth, bandwidth, gpu_name())


def fixed_computation() -> Callable[[], None]:
    """A copy that is waited for: what `noise.NoiseMeter` times."""
    import cupy

    copy = _copy()

    def compute() -> None:
        copy()
        cupy.cuda.Stream.null.synchronize()

    return compute


def _bandwidth() -> float:
    """GB/s of a copy, the bytes read and the bytes written."""
    copy, measure = _copy(), by_events()
    copy()
    return 2 * _COPIED_BYTES / min(measure(copy, 1) for _ in range(_RUNS)) / 1e9


def _copy() -> Callable[[], None]:
    import cupy

    source, target = (cupy.zeros(_COPIED_BYTES // 4, cupy.float32) for _ in range(2))
    return lambda: cupy.copyto(target, source)
