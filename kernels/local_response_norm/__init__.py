"""Local response normalisation across channels (Krizhevsky et al. 2012, section 3.3).

    S(v)[c] = sum of v over the channels c - size//2 .. c + size//2 that exist
    d = k + alpha * S(x * x)
    y = x * d ** -beta

alpha multiplies the sum, as in the paper and in TensorFlow; Caffe, PyTorch and ONNX divide it by the
size first. S is symmetric, because a window of odd size is: c lies in the window of c' if and only if c'
lies in that of c. The gradient is

    gx = g * d ** -beta - 2 * alpha * beta * x * S(g * x * d ** (-beta - 1))

    local_response_norm.forward   x (N, C, H, W) -> y
    local_response_norm.backward  (g, x) -> gx
    channel_window_sum.forward    x -> S(x), its own gradient
"""

from minialex.kernels.local_response_norm.call import ResponseNormCall

FORWARD = "local_response_norm.forward"
BACKWARD = "local_response_norm.backward"
WINDOW_SUM = "channel_window_sum.forward"

__all__ = ["BACKWARD", "FORWARD", "WINDOW_SUM", "ResponseNormCall"]
