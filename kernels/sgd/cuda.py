"""Stochastic gradient descent on a GPU: the launches of sgd.cu."""

from minialex.kernels.contract.shapes import require_same_shape
from minialex.kernels.cuda import Source, cuda_kernel
from minialex.kernels.sgd import UPDATE
from minialex.kernels.sgd.update import supports

SOURCE = Source(__file__, "sgd.cu")


@cuda_kernel(UPDATE, algo="one-pass", rank=10, supports=supports)
def sgd_update(device, parameter, gradient, velocity, *, call):
    arrays = {"parameter": parameter, "gradient": gradient, "velocity": velocity}
    require_same_shape(UPDATE, **{name: a.shape for name, a in arrays.items() if a is not None})
    n, gradient = parameter.size, device.contiguous(gradient)
    if velocity is None:
        device.launch_over(SOURCE["sgd_update"], n, parameter, gradient, n, call.lr, call.weight_decay)
    else:
        constants = (call.lr, call.momentum, call.weight_decay, int(call.nesterov))
        kernel = SOURCE["sgd_momentum_update"]
        device.launch_over(kernel, n, parameter, gradient, velocity, n, *constants)
