"""The gradient of indexing by NumPy's own functions."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.indexing import INDEX_ADD
from minialex.kernels.runtime import memory


def _is_basic(index):
    """Whether the index consists only of ints, slices, None and ..., and so names no element twice."""
    items = index if isinstance(index, tuple) else (index,)
    return all(item is None or item is ... or isinstance(item, int | slice) for item in items)


@kernel(INDEX_ADD, algo="plain", rank=10)
def index_add_forward(g, *, index, shape):
    gx = memory.zeros(shape, g.dtype)
    if _is_basic(index):
        gx[index] = g
    else:
        np.add.at(gx, index, g)
    return gx
