"""Stochastic gradient descent on a GPU: the launches of sgd.cu."""

from minialex.kernels.contract.shapes import require_same_shape
from minialex.kernels.cuda import Source, blocks_for, cuda_kernel
from minialex.kernels.sgd.update import supports

SOURCE = Source(__file__, "sgd.cu")
_THREADS = 256


@cuda_kernel("sgd.update", algo="one-pass", rank=10, supports=supports)
def sgd_update(device, parameter, gradient, velocity, *, call):
    arrays = {"parameter": parameter, "gradient": gradient, "velocity": velocity}
    require_same_shape("sgd.update", **{name: a.shape for name, a in arrays.items() if a is not None})
    gradient = device.contiguous(gradient)
    size = parameter.size
    blocks = blocks_for(size, _THREADS)
    if velocity is None:
        numbers = call.lr, call.weight_decay
        device.launch(SOURCE["sgd_update"], blocks, _THREADS, parameter, gradient, size, *numbers)
    else:
        numbers = call.lr, call.momentum, call.weight_decay, int(call.nesterov)
        arrays = parameter, gradient, velocity
        device.launch(SOURCE["sgd_momentum_update"], blocks, _THREADS, *arrays, size, *numbers)
