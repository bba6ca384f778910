"""Adam and AdamW on a GPU: the launch of adam.cu."""

import math

from minialex.kernels.cuda import Source, blocks_for, cuda_kernel
from minialex.kernels.shapes import require_same_shape

SOURCE = Source(__file__, "adam.cu")
_THREADS = 256


def _supports(parameter, gradient, m, v, **_):
    for name, array in (("parameter", parameter), ("m", m), ("v", v)):
        if not array.flags.c_contiguous:
            return f"{name} is not C-contiguous"
    return True


@cuda_kernel("adam.update", algo="cuda", rank=10, supports=_supports)
def adam_update(device, parameter, gradient, m, v, *, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    require_same_shape(
        "adam.update", parameter=parameter.shape, gradient=gradient.shape, m=m.shape, v=v.shape
    )
    constants = (
        lr / (1 - beta1**step),
        beta1,
        1 - beta1,
        beta2,
        1 - beta2,
        1 / math.sqrt(1 - beta2**step),
        eps,
        0 if decoupled else weight_decay,
        1 - lr * weight_decay if decoupled else 1,
    )
    device.launch(
        SOURCE["adam_update"], blocks_for(parameter.size, _THREADS), _THREADS,
        parameter, device.contiguous(gradient), m, v, parameter.size, *constants,
    )  # fmt: skip
