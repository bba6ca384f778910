"""The gradient of indexing: number the elements, index the numbers, add to each in turn."""

import math

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.indexing import INDEX_ADD


@kernel(INDEX_ADD, algo="reference")
def index_add_forward(g, *, index, shape):
    gx = np.zeros(math.prod(shape), g.dtype)
    sources = np.arange(gx.size).reshape(shape)[index]
    for source, value in zip(np.ravel(sources), np.ravel(g), strict=True):
        gx[source] += value
    return gx.reshape(shape)
