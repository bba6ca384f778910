"""Average pooling by definition: both directions sum the same terms."""

import numpy as np

from minialex.kernels.avg_pool2d import FORWARD, INPUT_GRAD
from minialex.kernels.contract.registry import kernel


def _terms(call):
    """Yield (index into y, index into x, divisor) for every cell that a window adds."""
    rows, columns = call.window
    for n, c, p, q in np.ndindex(*call.y_shape):
        inside, divisor = [], 0
        for i, j in np.ndindex(*call.window.kernel_size):
            h, w = p * rows.stride - rows.before + i, q * columns.stride - columns.before + j
            in_image = 0 <= h < rows.size and 0 <= w < columns.size
            in_padding = h < rows.size + rows.after and w < columns.size + columns.after
            if in_image:
                inside.append((n, c, h, w))
            if in_image or (call.count_include_pad and in_padding):
                divisor += 1
        for cell in inside:
            yield (n, c, p, q), cell, divisor


@kernel(FORWARD, algo="reference")
def avg_pool2d_forward(x, *, call):
    y = np.zeros(call.y_shape, x.dtype)
    for at_y, at_x, divisor in _terms(call):
        y[at_y] += x[at_x] / divisor
    return y


@kernel(INPUT_GRAD, algo="reference")
def avg_pool2d_input_grad(g, *, call):
    gx = np.zeros(call.x_shape, g.dtype)
    for at_y, at_x, divisor in _terms(call):
        gx[at_x] += g[at_y] / divisor
    return gx
