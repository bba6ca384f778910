"""The matrix product as a blocked gemm: see `minialex.kernels.gemm.blocked`. float32 only."""

from __future__ import annotations

import numpy as np

from minialex.kernels.contract.registry import Sizes, kernel
from minialex.kernels.gemm.blocked import multiply
from minialex.kernels.gemm.processor import processor
from minialex.kernels.gemm.tile import not_empty
from minialex.kernels.matmul import FORWARD
from minialex.kernels.runtime.memory import empty


def _domain():
    grain = processor().lanes
    return {"rows": Sizes(1, grain=processor().rows), "inner": Sizes(1), "columns": Sizes(1, grain=grain)}


@kernel(FORWARD, algo="blocked", rank=20, supports=not_empty, dtypes=("float32",), domain=_domain)
def matmul_forward(a, b):
    y = empty((len(a), b.shape[1]), np.float32)
    multiply(np.ascontiguousarray(a), np.ascontiguousarray(b), y)
    return y
