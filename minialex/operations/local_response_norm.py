"""Local response normalisation across channels, y = x * (k + alpha * S(x * x)) ** -beta."""

from __future__ import annotations

from minialex.autograd import Operation
from minialex.checks import require_choice, require_number
from minialex.errors import ShapeError
from minialex.kernels import output_shape
from minialex.kernels.local_response_norm import BACKWARD, FORWARD, WINDOW_SUM, ResponseNormCall
from minialex.operations.inputs import require_floats
from minialex.tensor import Tensor


class LocalResponseNorm(Operation):
    saved_inputs = (0,)

    def __init__(self, call: ResponseNormCall):
        self.call = call

    def forward(self, x):
        return self.kernel(FORWARD, x, call=self.call)

    def backward(self, g):
        (x,) = self.saved
        return (LocalResponseNormBackward(self.call)(g, x),)


class LocalResponseNormBackward(Operation):
    """z = g p - 2 a b x S(g x q), where d = k + a S(x x), p = d**-b and q = d**-(b+1).

    Its gradients for an upstream u follow from dp/dd = -b q, dq/dd = -(b+1) d**-(b+2) and from S
    being symmetric, sum(u S(v)) = sum(S(u) v).
    """

    saved_inputs = (0, 1)

    def __init__(self, call: ResponseNormCall):
        self.call = call

    def forward(self, g, x):
        return self.kernel(BACKWARD, g, x, call=self.call)

    def backward(self, u):
        g, x = self.saved
        a, b, k = self.call.alpha, self.call.beta, self.call.k

        def s(v):
            return channel_window_sum(v, self.call.size)

        d = k + a * s(x * x)
        q = d ** (-b - 1)
        sux = s(u * x)
        gg = u * d**-b - 2 * a * b * x * q * sux
        first = x * s(u * g * q) + u * s(g * x * q) + g * q * sux
        second = x * s(g * x * d ** (-b - 2) * sux)
        gx = 4 * a * a * b * (b + 1) * second - 2 * a * b * first
        return gg, gx


class ChannelWindowSum(Operation):
    """S, which is symmetric and so its own gradient."""

    def __init__(self, size: int):
        self.size = size

    def forward(self, x):
        return self.kernel(WINDOW_SUM, x, size=self.size)

    def backward(self, g):
        return (ChannelWindowSum(self.size)(g),)


def channel_window_sum(x: Tensor, size: int) -> Tensor:
    """The sum over the channels c - size//2 .. c + size//2 that exist; x (N, C, H, W), size odd."""
    require_floats("channel_window_sum", x)
    output_shape("channel_window_sum", x.shape, size=size)
    return ChannelWindowSum(size)(x)


def local_response_norm(
    x: Tensor,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 2.0,
    alpha_mode: str = "sum",
) -> Tensor:
    """Divide each cell by a power of the squares in its neighbouring channels.

    Krizhevsky et al. 2012, section 3.3; the defaults are the paper's. The formula is in
    `minialex.kernels.local_response_norm`.

    Parameters
    ----------
    x : Tensor (N, C, H, W)
    size : int
        How many channels a window spans: odd, and may exceed their number.
    alpha, beta, k : float
    alpha_mode : "sum" or "mean"
        ``"sum"`` multiplies the sum of squares by alpha (the paper, TensorFlow); ``"mean"``
        divides alpha by `size` first (Caffe, PyTorch, ONNX).

    Returns
    -------
    Tensor (N, C, H, W)
    """
    require_floats("local_response_norm", x)
    output_shape("local_response_norm", x.shape, size=size)
    require_choice("local_response_norm: alpha_mode", alpha_mode, ("sum", "mean"), error=ShapeError)
    for name, value in (("alpha", alpha), ("beta", beta), ("k", k)):
        require_number(f"local_response_norm: {name}", value, 0, error=ShapeError)
    alpha = alpha if alpha_mode == "sum" else alpha / size
    return LocalResponseNorm(ResponseNormCall.of(size=size, alpha=alpha, beta=beta, k=k))(x)
