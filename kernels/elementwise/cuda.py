"""Element-wise arithmetic on a GPU: the launches of elementwise.cu."""

import math

from minialex.kernels.contract.shapes import output_shape
from minialex.kernels.cuda import Source, cuda_kernel
from minialex.kernels.elementwise.shape import BINARY, UNARY, WITH_PARAMETERS

SOURCE = Source(__file__, "elementwise.cu")


def _count_and_inner(operand, shape):
    """An operand's `count` and `inner` for elementwise.cu; None if it is broadcast between other axes."""
    lengths = (1,) * (len(shape) - len(operand)) + operand
    kept = [i for i, n in enumerate(lengths) if n > 1]
    if not kept:
        return 1, 1
    first, end = kept[0], kept[-1] + 1
    if lengths[first:end] != shape[first:end]:
        return None
    return math.prod(shape[first:end]), math.prod(shape[end:])


def _operand(device, array, shape):
    """The array and its description; an array without one is first broadcast to the result's shape."""
    described = _count_and_inner(array.shape, shape)
    if described is None:
        array = device.xp.broadcast_to(array, shape)
        described = array.size, 1
    return device.contiguous(array), described


def _binary(operation):
    def forward(device, a, b):
        y = device.empty(output_shape(operation, a.shape, b.shape), a.dtype)
        if y.size:
            a, of_a = _operand(device, a, y.shape)
            b, of_b = _operand(device, b, y.shape)
            kernel = SOURCE[f"{operation}_forward"]
            device.launch_over(kernel, y.size, a, b, y, y.size, *of_a, *of_b)
        return y

    return forward


def _unary(operation):
    def forward(device, x):
        x = device.contiguous(x)
        y = device.empty(x.shape, x.dtype)
        device.launch_over(SOURCE[f"{operation}_forward"], x.size, x, y, x.size)
        return y

    return forward


for _operation in BINARY:
    cuda_kernel(f"{_operation}.forward", algo="one-pass", rank=10)(_binary(_operation))
for _operation in UNARY:
    if _operation not in WITH_PARAMETERS:
        cuda_kernel(f"{_operation}.forward", algo="one-pass", rank=10)(_unary(_operation))


@cuda_kernel("power.forward", algo="one-pass", rank=10)
def power_forward(device, x, *, exponent):
    x = device.contiguous(x)
    y = device.empty(x.shape, x.dtype)
    device.launch_over(SOURCE["power_forward"], x.size, x, y, x.size, float(exponent))
    return y


@cuda_kernel("clamp.forward", algo="one-pass", rank=10)
def clamp_forward(device, x, *, low, high):
    x = device.contiguous(x)
    y = device.empty(x.shape, x.dtype)
    device.launch_over(SOURCE["clamp_forward"], x.size, x, y, x.size, float(low), float(high))
    return y
