"""Local response normalisation with NumPy, one image at a time so that its arrays stay in the cache."""

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.local_response_norm import BACKWARD, FORWARD, WINDOW_SUM
from minialex.kernels.runtime import memory


def _window_sum(v, size):
    """S(v) for one image v (C, H, W)."""
    total = v.copy()
    for distance in range(1, min(size // 2, len(v) - 1) + 1):
        total[distance:] += v[:-distance]
        total[:-distance] += v[distance:]
    return total


def _scale(x, call):
    """d = k + alpha * S(x * x) for one image."""
    d = _window_sum(x * x, call.size)
    d *= call.alpha
    d += call.k
    return d


def _inverse_power(d, beta):
    """d ** -beta. Square roots are several times faster than a general power."""
    if beta == 0.75:
        root = np.sqrt(d)
        root *= np.sqrt(root)
        return np.reciprocal(root, out=root)
    if beta == 0.5:
        return np.reciprocal(np.sqrt(d))
    return d**-beta


@kernel(FORWARD, algo="plain", rank=10)
def local_response_norm_forward(x, *, call):
    y = memory.empty(x.shape, x.dtype)  # (N, C, H, W)
    for image, result in zip(x, y, strict=True):
        np.multiply(image, _inverse_power(_scale(image, call), call.beta), out=result)
    return y


@kernel(BACKWARD, algo="plain", rank=10)
def local_response_norm_backward(g, x, *, call):
    gx = memory.empty(x.shape, x.dtype)  # (N, C, H, W)
    for upstream, image, result in zip(g, x, gx, strict=True):
        d = _scale(image, call)
        direct = _inverse_power(d, call.beta)
        direct *= upstream
        cross = direct * image
        cross /= d
        cross = _window_sum(cross, call.size)
        cross *= image
        cross *= 2 * call.alpha * call.beta
        np.subtract(direct, cross, out=result)
    return gx


@kernel(WINDOW_SUM, algo="plain", rank=10)
def channel_window_sum_forward(x, *, size):
    y = memory.empty(x.shape, x.dtype)
    for image, result in zip(x, y, strict=True):
        result[:] = _window_sum(image, size)
    return y
