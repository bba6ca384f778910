"""Max-pooling.

    y[n, c, p, q] = max over i, j of x[n, c, p * sh - top + i * dh, q * sw - left + j * dw]

over the cells inside the image: padded cells never win. The first maximum in row-major order wins a
tie; NaN counts as the largest number, so that it is propagated, not hidden.

    max_pool2d.forward   x (N, C, H, W) -> y (N, C, P, Q), index int32 (N, C, P, Q); takes a `PoolCall`
    max_pool2d.evaluate  x -> y alone, where no gradient will be asked for; takes a `PoolCall`; of zeros of
                         both signs it may give either
    max_pool2d.scatter   (g, index) -> gx (N, C, H, W), g added to the winners' cells; takes input_size=(H, W)
    max_pool2d.gather    (x, index) -> y, the cells that won

    index is the winner's place in its plane, row * W + column

Scatter is the gradient of pooling; scatter and gather are each other's derivative.
"""

from minialex.kernels.max_pool2d.call import PoolCall

FORWARD = "max_pool2d.forward"
EVALUATE = "max_pool2d.evaluate"
SCATTER = "max_pool2d.scatter"
GATHER = "max_pool2d.gather"

__all__ = ["EVALUATE", "FORWARD", "GATHER", "SCATTER", "PoolCall"]
