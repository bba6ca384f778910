"""One average pooling, and the divisor of each of its windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minialex.kernels.contract.call import calls_of
from minialex.kernels.contract.shapes import Shape, require_rank, shape_rule
from minialex.kernels.contract.windows import Axis
from minialex.kernels.max_pool2d.call import PoolCall


@calls_of("avg_pool2d")
@dataclass(frozen=True)
class AvgPoolCall(PoolCall):
    """A pooling, and whether the padding counts towards the divisor."""

    count_include_pad: bool = True

    DIRECTIONS = ("forward", "input_grad")

    @classmethod
    def of(
        cls,
        x: Shape,
        *,
        kernel_size,
        stride=None,
        padding=0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> AvgPoolCall:
        """Check and resolve the parameters; see `PoolCall.of`."""
        pool = PoolCall.of(x, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode)
        return cls(pool.x_shape, pool.y_shape, pool.window, bool(count_include_pad))

    def divisors(self) -> np.ndarray:
        """The number of cells that each window counts: int64 (P, Q)."""
        return np.outer(*(_counts(axis, self.count_include_pad) for axis in self.window))


def _counts(axis: Axis, include_pad: bool) -> np.ndarray:
    before, after = (axis.before, axis.after) if include_pad else (0, 0)
    start = np.arange(axis.positions) * axis.stride - axis.before
    return np.minimum(start + axis.kernel, axis.size + after) - np.maximum(start, -before)


@shape_rule("avg_pool2d")
def avg_pool2d_shape(x: Shape, **parameters) -> Shape:
    """(N, C, H, W) gives (N, C, P, Q), by the same rule as max-pooling."""
    require_rank(x, 4, "pooling input", "(N, C, H, W)")
    return AvgPoolCall.of(x, **parameters).y_shape
