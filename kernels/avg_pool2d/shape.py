"""The output shape of average pooling, and how many cells each window counts."""

import numpy as np

from minialex.kernels.contract.shapes import Shape, output_shape, shape_rule
from minialex.kernels.contract.windows import Padding, Pair


@shape_rule("avg_pool2d")
def avg_pool2d_shape(
    x: Shape, *, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True
) -> Shape:
    """(N, C, H, W) gives (N, C, P, Q), by the rule of max-pooling."""
    return output_shape(
        "max_pool2d", x, kernel_size=kernel_size, stride=stride, padding=padding,
        ceil_mode=ceil_mode,
    )  # fmt: skip


def window_counts(
    size: Pair, positions: Pair, kernel: Pair, stride: Pair, padding: Padding, include_pad: bool
) -> np.ndarray:
    """The divisor of each window: int64 (P, Q)."""
    rows, columns = (
        _axis_counts(*axis, include_pad)
        for axis in zip(size, positions, kernel, stride, padding, strict=True)
    )
    return np.outer(rows, columns)


def _axis_counts(
    size: int, positions: int, kernel: int, stride: int, padding: Pair, include_pad: bool
) -> np.ndarray:
    before, after = padding if include_pad else (0, 0)
    start = np.arange(positions) * stride - padding[0]
    return np.minimum(start + kernel, size + after) - np.maximum(start, -before)
