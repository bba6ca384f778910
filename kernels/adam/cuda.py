"""Adam and AdamW on a GPU: the launch of adam.cu."""

from minialex.kernels.adam import UPDATE
from minialex.kernels.adam.update import supports
from minialex.kernels.contract.shapes import require_same_shape
from minialex.kernels.cuda import Source, cuda_kernel

SOURCE = Source(__file__, "adam.cu")


@cuda_kernel(UPDATE, algo="one-pass", rank=10, supports=supports)
def adam_update(device, parameter, gradient, m, v, *, call):
    require_same_shape(UPDATE, parameter=parameter.shape, gradient=gradient.shape, m=m.shape, v=v.shape)
    n, gradient = parameter.size, device.contiguous(gradient)
    device.launch_over(SOURCE["adam_update"], n, parameter, gradient, m, v, n, *call.constants())
