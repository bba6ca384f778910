"""The time of a launch, predicted from its compiled code and a GPU's datasheet. No GPU was asked.

A launch that does F operations and whose arrays hold B bytes takes at least

    max( F / (rate * share of the multiprocessors that work),  B / bandwidth )

(Williams, Waterman, Patterson: "Roofline", CACM 2009), where the rate is the lower of two: the peak of the
datasheet, and what the schedulers can issue. A multiprocessor has four, each of which issues one instruction
a cycle, for 32 threads: so the loop's operations for each instruction, times 4 times the clock, times the
multiprocessors. The blocks are dealt out evenly, and the multiprocessor with the most of them decides.

It is a bound, not an estimate: caches miss, instructions wait for each other, clocks fall below boost,
launches take microseconds. For what the blocks read again, and the second-level cache has to hold, see
`uncached`.
"""

from __future__ import annotations

from dataclasses import dataclass

from minialex.integers import ceil_div
from minialex.kernels.cuda.inspection.gpus import Gpu
from minialex.kernels.cuda.inspection.loops import Mix

_SCHEDULERS = 4


@dataclass(frozen=True)
class Prediction:
    """The least time of a launch, in seconds.

    Attributes
    ----------
    arithmetic, memory : float
        The two terms of the formula.
    uncached : float
        The memory's time if each byte that the hottest loop asks for came from memory; at least `memory`.
    bound : str
        ``"memory"``, ``"peak"`` (of the arithmetic units), ``"issue"`` (of instructions), or ``"blocks"``: so
        few that less than half of the multiprocessors' time is used.
    """

    arithmetic: float
    memory: float
    uncached: float
    bound: str

    @property
    def seconds(self) -> float:
        return max(self.arithmetic, self.memory)


def predict(mix: Mix, operations: int, moved: int, blocks: int, gpu: Gpu) -> Prediction:
    """Predict the time of a launch.

    Parameters
    ----------
    mix : Mix
        Of its hottest loop.
    operations : int
        Its floating-point operations, a multiply-add counting as two; 0 for one whose arithmetic does not
        count.
    moved : int
        The bytes of the arrays that it reads and writes.
    blocks : int
        Of its grid, at least 1.
    gpu : Gpu
    """
    memory = moved / gpu.bandwidth
    if not operations or not mix.flop:
        return Prediction(0.0, memory, memory, "memory")
    peak = gpu.tf32 if mix.tensor else gpu.float32
    issue = gpu.multiprocessors * _SCHEDULERS * gpu.clock * mix.flop / mix.instructions
    rounds = ceil_div(blocks, gpu.multiprocessors)
    working = blocks / (rounds * gpu.multiprocessors)
    arithmetic = operations / (min(peak, issue) * working)
    if memory >= arithmetic:
        bound = "memory"
    elif working < 0.5:
        bound = "blocks"
    else:
        # Datasheets round their peaks.
        bound = "issue" if issue < 0.99 * peak else "peak"
    uncached = max(memory, operations / mix.intensity("global") / gpu.bandwidth)
    return Prediction(arithmetic, memory, uncached, bound)
