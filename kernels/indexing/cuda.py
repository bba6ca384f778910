"""The gradient of indexing on a GPU: the launch of indexing.cu, and the sorting before it."""

import math

import numpy as np

from minialex.kernels.contract.shapes import require_same_shape
from minialex.kernels.cuda import Source, cuda_kernel
from minialex.kernels.cuda.device import to_numpy
from minialex.kernels.cuda.lines import line_block
from minialex.kernels.indexing import INDEX_ADD

SOURCE = Source(__file__, "indexing.cu")


def _on_host(index):
    """The index, with its device arrays as NumPy arrays."""
    if isinstance(index, tuple):
        return tuple(map(_on_host, index))
    return to_numpy(index) if hasattr(index, "__cuda_array_interface__") else index


@cuda_kernel(INDEX_ADD, algo="thread-per-cell", rank=10)
def index_add_forward(device, g, *, index, shape):
    gx = device.zeros(shape, g.dtype)
    # Number the elements and index the numbers: for each position of g, the element it belongs to.
    targets = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)[_on_host(index)]
    require_same_shape(INDEX_ADD, g=g.shape, indexed=np.shape(targets))
    targets = np.ravel(targets)
    order = np.argsort(targets, kind="stable")
    places, starts = np.unique(targets[order], return_index=True)
    if not len(places):
        return gx
    starts = np.append(starts, len(order))
    block = line_block(int(np.diff(starts).max()))
    tables = (device.array(table, np.int32) for table in (places, starts, order))
    kernel, grid = SOURCE["index_add_forward"], block.grid(len(places))
    device.launch(kernel, grid, block.shape, device.contiguous(g), *tables, gx, len(places))
    return gx
