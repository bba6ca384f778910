"""Softmax and log_softmax on a GPU: the launches of softmax.cu."""

import math

from minialex.kernels.contract.shapes import output_shape, require_same_shape
from minialex.kernels.cuda import Source, cuda_kernel
from minialex.kernels.cuda.lines import line_block
from minialex.kernels.softmax import BACKWARD, FORWARD, LOG_BACKWARD, LOG_FORWARD

SOURCE = Source(__file__, "softmax.cu")


def _run(device, name, axis, **arrays):
    """Launch a kernel along an axis of arrays of one shape; return its result, of the same shape."""
    shape = require_same_shape(name, **{each: array.shape for each, array in arrays.items()})
    first, *_ = arrays.values()
    y = device.empty(output_shape("softmax", shape, axis=axis), first.dtype)
    length, inner = shape[axis], math.prod(shape[axis + 1 :])
    lines = y.size // length
    block = line_block(length, inner)
    kernel, grid = SOURCE[f"{name}_{block.kind}"], block.grid(lines)
    arrays = map(device.contiguous, arrays.values())
    device.launch(kernel, grid, block.shape, *arrays, y, lines, length, inner)
    return y


@cuda_kernel(FORWARD, algo="block-reduction", rank=10)
def softmax_forward(device, x, *, axis):
    return _run(device, "softmax_forward", axis, x=x)


@cuda_kernel(BACKWARD, algo="block-reduction", rank=10)
def softmax_backward(device, g, y, *, axis):
    return _run(device, "softmax_backward", axis, g=g, y=y)


@cuda_kernel(LOG_FORWARD, algo="block-reduction", rank=10)
def log_softmax_forward(device, x, *, axis):
    return _run(device, "log_softmax_forward", axis, x=x)


@cuda_kernel(LOG_BACKWARD, algo="block-reduction", rank=10)
def log_softmax_backward(device, g, y, *, axis):
    return _run(device, "log_softmax_backward", axis, g=g, y=y)
