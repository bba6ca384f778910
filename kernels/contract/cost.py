"""The predicted cost of a kernel call.

A kernel states how many floating-point operations it does and how many bytes it moves between the caches
and memory. The predicted time is the sum of both at nominal rates: operations overlap with memory traffic
only within a pass, and the passes of fast kernels are bound by one or the other.

The rates are those of a server of about 2020, of which two cores are used. Being nominal, they make the
choice among kernels the same on machines of one kind, from run to run, and for any number of threads, and
with it the last bits of results; only their ratio matters. `minialex bench` measures the rates of the machine
at hand, and `minialex.kernels.contract.tuning` the kernels themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

CORES = 2
# Of one core: what tiles of AVX2's fused multiply-adds reach.
OPERATIONS_PER_SECOND = 90e9
# All cores together. Intermediate results are mostly in the L2 and L3 caches.
BYTES_PER_SECOND = 25e9


@dataclass(frozen=True)
class Cost:
    """What one call does.

    Attributes
    ----------
    operations : float
        Floating-point additions and multiplications.
    bytes : float
        Read and written: inputs, results and intermediate arrays.
    """

    operations: float
    bytes: float

    def seconds(self) -> float:
        """The predicted time on `CORES` cores."""
        return self.operations / (OPERATIONS_PER_SECOND * CORES) + self.bytes / BYTES_PER_SECOND
