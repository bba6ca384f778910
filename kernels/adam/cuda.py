"""Adam and AdamW on a GPU: the launch of adam.cu."""

from minialex.kernels.adam.update import supports
from minialex.kernels.contract.shapes import require_same_shape
from minialex.kernels.cuda import Source, blocks_for, cuda_kernel

SOURCE = Source(__file__, "adam.cu")
_THREADS = 256


@cuda_kernel("adam.update", algo="one-pass", rank=10, supports=supports)
def adam_update(device, parameter, gradient, m, v, *, call):
    require_same_shape(
        "adam.update", parameter=parameter.shape, gradient=gradient.shape, m=m.shape, v=v.shape
    )
    arrays, size = (parameter, device.contiguous(gradient), m, v), parameter.size
    device.launch(
        SOURCE["adam_update"], blocks_for(size, _THREADS), _THREADS, *arrays, size, *call.constants()
    )
