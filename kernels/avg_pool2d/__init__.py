"""Average pooling.

    y[n, c, p, q] = (sum of the window's cells inside the image) / divisor[p, q]

The divisor is the number of the window's cells that lie inside the image or, if
count_include_pad is true, in its padding (PyTorch's default; TensorFlow counts the image only).
Cells that ceil mode adds beyond the padding are never counted.

    avg_pool2d.forward     x (N, C, H, W) -> y (N, C, P, Q)
    avg_pool2d.input_grad  g (N, C, P, Q) -> gx (N, C, H, W)

Both take an `AvgPoolCall`. Pooling is linear, and each of the two is the other's gradient.
"""

from minialex.kernels.avg_pool2d.call import AvgPoolCall

FORWARD = "avg_pool2d.forward"
INPUT_GRAD = "avg_pool2d.input_grad"

__all__ = ["FORWARD", "INPUT_GRAD", "AvgPoolCall"]
