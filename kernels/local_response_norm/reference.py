"""Local response normalisation by definition."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.local_response_norm import BACKWARD, FORWARD, WINDOW_SUM


def _window(channel: int, channels: int, size: int) -> range:
    return range(max(0, channel - size // 2), min(channels, channel + size // 2 + 1))


@kernel(FORWARD, algo="reference")
def local_response_norm_forward(x, *, call):
    y = np.zeros_like(x)
    for n, c, h, w in np.ndindex(*x.shape):
        squares = sum(x[n, other, h, w] ** 2 for other in _window(c, x.shape[1], call.size))
        y[n, c, h, w] = x[n, c, h, w] / (call.k + call.alpha * squares) ** call.beta
    return y


@kernel(BACKWARD, algo="reference")
def local_response_norm_backward(g, x, *, call):
    # The derivative of each output y[c] with respect to each input x[other] in its window.
    gx = np.zeros_like(x)
    for n, c, h, w in np.ndindex(*x.shape):
        window = _window(c, x.shape[1], call.size)
        d = call.k + call.alpha * sum(x[n, other, h, w] ** 2 for other in window)
        gx[n, c, h, w] += g[n, c, h, w] * d**-call.beta
        for other in window:
            slope = -2 * call.alpha * call.beta * x[n, c, h, w] * x[n, other, h, w] * d ** (-call.beta - 1)
            gx[n, other, h, w] += g[n, c, h, w] * slope
    return gx


@kernel(WINDOW_SUM, algo="reference")
def channel_window_sum_forward(x, *, size):
    y = np.zeros_like(x)
    for n, c, h, w in np.ndindex(*x.shape):
        for other in _window(c, x.shape[1], size):
            y[n, c, h, w] += x[n, other, h, w]
    return y
