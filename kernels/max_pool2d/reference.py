"""Max-pooling by definition."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.max_pool2d import EVALUATE, FORWARD, GATHER, SCATTER


@kernel(FORWARD, algo="reference")
def max_pool2d_forward(x, *, call):
    rows, columns = call.window
    y = np.zeros(call.y_shape, x.dtype)
    index = np.zeros(call.y_shape, np.int32)
    for n, c, p, q in np.ndindex(*call.y_shape):
        best = None
        for i, j in np.ndindex(*call.window.kernel_size):
            h = p * rows.stride - rows.before + i * rows.dilation
            w = q * columns.stride - columns.before + j * columns.dilation
            if 0 <= h < rows.size and 0 <= w < columns.size:
                value = x[n, c, h, w]
                if best is None or value > best or (np.isnan(value) and not np.isnan(best)):
                    best = value
                    y[n, c, p, q] = value
                    index[n, c, p, q] = h * columns.size + w
    return y, index


@kernel(EVALUATE, algo="reference")
def max_pool2d_evaluate(x, *, call):
    y, _ = max_pool2d_forward(x, call=call)
    return y


@kernel(SCATTER, algo="reference")
def max_pool2d_scatter(g, index, *, input_size):
    gx = np.zeros((*g.shape[:2], *input_size), g.dtype)
    for n, c, p, q in np.ndindex(*g.shape):
        row, column = divmod(int(index[n, c, p, q]), input_size[1])
        gx[n, c, row, column] += g[n, c, p, q]
    return gx


@kernel(GATHER, algo="reference")
def max_pool2d_gather(x, index):
    y = np.zeros(index.shape, x.dtype)
    for n, c, p, q in np.ndindex(*index.shape):
        row, column = divmod(int(index[n, c, p, q]), x.shape[3])
        y[n, c, p, q] = x[n, c, row, column]
    return y
