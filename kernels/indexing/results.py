"""What the gradient of indexing returns."""

from minialex.kernels.contract.results import results
from minialex.kernels.indexing import INDEX_ADD


@results(INDEX_ADD)
def gradient(g, *, index, shape):
    return shape, g.dtype
