"""What a kernel call costs, as it is predicted before it runs.

A kernel states how many floating-point operations it does and how many bytes it moves between the caches
and memory. The time is predicted as their sum on a processor of these rates: operations overlap with
memory traffic only within a pass, and fast kernels are made of passes of one or the other kind.

The rates are nominal, those of one core of a server of about 2020, so that the choice among kernels is the
same on machines of one kind, and from run to run. Only ratios matter for it. `minialex bench` measures the
rates of the machine at hand, and `minialex.kernels.contract.tuning` the kernels themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

from minialex.kernels.runtime.threads import num_threads

# Of one core: fused multiply-adds of AVX2, as products of tiles reach them.
OPERATIONS_PER_SECOND = 90e9
# Of all cores together. Intermediate results are in the L2 and L3 caches for the most part.
BYTES_PER_SECOND = 25e9


@dataclass(frozen=True)
class Cost:
    """What one call does.

    Attributes
    ----------
    operations : float
        Floating-point additions and multiplications.
    bytes : float
        Read and written, by inputs, results and intermediate arrays.
    """

    operations: float
    bytes: float

    def seconds(self) -> float:
        """The predicted time on `num_threads` threads."""
        return self.operations / (OPERATIONS_PER_SECOND * num_threads()) + self.bytes / BYTES_PER_SECOND
