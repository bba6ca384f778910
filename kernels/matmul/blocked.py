"""The matrix product out of register tiles: see `minialex.kernels.gemm.tile`. float32 only."""

from __future__ import annotations

import numpy as np

from minialex.kernels.contract.registry import Sizes, kernel
from minialex.kernels.gemm.blocked import multiply
from minialex.kernels.gemm.tile import not_empty, processor
from minialex.kernels.runtime.memory import empty


def _domain():
    grain = processor().lanes
    return {"rows": Sizes(1, grain=processor().rows), "inner": Sizes(1), "columns": Sizes(1, grain=grain)}


@kernel("matmul.forward", algo="blocked", rank=20, supports=not_empty, dtypes=("float32",), domain=_domain)
def matmul_forward(a, b):
    (rows, depth), columns = a.shape, b.shape[1]
    y = empty((rows, columns), np.float32)
    multiply(
        np.ascontiguousarray(a).ravel(), np.arange(rows) * depth, np.arange(depth),
        np.ascontiguousarray(b), 1, np.arange(depth) * columns, y,
    )  # fmt: skip
    return y
