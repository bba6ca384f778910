"""Sums and maxima on a GPU: the launches of reduction.cu, one or two for each group of adjacent axes."""

import itertools
import math

from minialex.integers import ceil_div
from minialex.kernels.contract.shapes import output_shape
from minialex.kernels.cuda import Source, cuda_kernel
from minialex.kernels.cuda.lines import WARP, line_block
from minialex.kernels.reduction import AMAX, SUM

SOURCE = Source(__file__, "reduction.cu")

# A GPU runs about a thousand blocks at a time; a piece should be worth starting a thread and its exchanges.
_BLOCKS = 1024
_ELEMENTS_OF_A_THREAD = 32


def _passes(shape, axis):
    """Yield what each launch reduces, (outer, length, inner), and the length of its pieces."""
    axes = [i for i, n in enumerate(shape) if n != 1]
    groups = [
        (reduced, math.prod(shape[i] for i in group))
        for reduced, group in itertools.groupby(axes, key=lambda i: i in axis)
    ]
    if not any(reduced for reduced, _ in groups):
        yield math.prod(shape), 1, 1, 1  # lines of one element: a copy
        return
    outer, inner = math.prod(shape), 1
    for reduced, length in reversed(groups):
        outer //= length
        if not reduced:
            inner *= length
            continue
        piece = _piece(outer * inner, length, inner)
        if piece < length:
            yield outer, length, inner, piece
            length = ceil_div(length, piece)
        yield outer, length, inner, length


def _piece(lines, length, inner):
    """How many elements of a line its threads take at a time."""
    block = line_block(length, inner)
    pieces = min(_BLOCKS // block.grid(lines), length // (_ELEMENTS_OF_A_THREAD * block.threads))
    if pieces < 2:
        return length
    return ceil_div(length, pieces * WARP) * WARP  # each begins where a warp reads whole sectors


def _partial_bytes(x, *, axis, keepdims):
    """The results of all passes but the last."""
    if not x.size:
        return 0
    *first_passes, _ = _passes(x.shape, axis)
    elements = sum(outer * ceil_div(length, piece) * inner for outer, length, inner, piece in first_passes)
    return elements * x.dtype.itemsize


def _reduce(device, operation, x, axis, keepdims):
    y = device.empty(output_shape(operation, x.shape, axis=axis, keepdims=keepdims), x.dtype)
    x = device.contiguous(x)
    *first_passes, last_pass = _passes(x.shape, axis)
    for outer, length, inner, piece in first_passes:
        partial = device.empty((outer, ceil_div(length, piece), inner), x.dtype)
        _launch(device, operation, x, partial, length, inner, piece)
        x = partial
    _launch(device, operation, x, y, *last_pass[1:])
    return y


def _launch(device, operation, x, y, length, inner, piece):
    block = line_block(piece, inner)
    kernel, grid = SOURCE[f"{operation}_{block.kind}"], block.grid(y.size)
    device.launch(kernel, grid, block.shape, x, y, y.size, length, inner, piece)


@cuda_kernel(SUM, algo="block-reduction", rank=10, workspace=_partial_bytes)
def sum_forward(device, x, *, axis, keepdims):
    if not x.size:
        return device.zeros(output_shape("sum", x.shape, axis=axis, keepdims=keepdims), x.dtype)
    return _reduce(device, "sum", x, axis, keepdims)


@cuda_kernel(AMAX, algo="block-reduction", rank=10, workspace=_partial_bytes)
def amax_forward(device, x, *, axis, keepdims):
    if not x.size:
        return device.empty(output_shape("amax", x.shape, axis=axis, keepdims=keepdims), x.dtype)
    return _reduce(device, "amax", x, axis, keepdims)
