"""Average pooling with one NumPy addition per cell of the window, over all positions at once."""

from minialex.kernels.avg_pool2d import FORWARD, INPUT_GRAD
from minialex.kernels.contract.registry import kernel
from minialex.kernels.contract.windows import tap_slices
from minialex.kernels.runtime import memory


@kernel(FORWARD, algo="plain", rank=10)
def avg_pool2d_forward(x, *, call):
    y = memory.zeros(call.y_shape, x.dtype)  # (N, C, P, Q)
    for _, at_y, at_x in tap_slices(call.window):
        y[:, :, *at_y] += x[:, :, *at_x]
    y /= call.divisors().astype(x.dtype)
    return y


@kernel(INPUT_GRAD, algo="plain", rank=10)
def avg_pool2d_input_grad(g, *, call):
    share = g / call.divisors().astype(g.dtype)
    gx = memory.zeros(call.x_shape, g.dtype)  # (N, C, H, W)
    for _, at_y, at_x in tap_slices(call.window):
        gx[:, :, *at_x] += share[:, :, *at_y]
    return gx
