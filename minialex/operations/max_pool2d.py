"""Max-pooling. Its gradient scatters to the winners' cells; scatter and gather are each other's gradient."""

from __future__ import annotations

from minialex.autograd import Operation
from minialex.checks import require_flag
from minialex.errors import ShapeError
from minialex.kernels.max_pool2d import FORWARD, GATHER, SCATTER, PoolCall
from minialex.tensor import Tensor, require_tensor


class MaxPool2d(Operation):
    def __init__(self, call: PoolCall):
        self.call = call

    def forward(self, x):
        y, self.winners = self.kernel(FORWARD, x, call=self.call)
        return y

    def branch(self, inputs, results):
        return self.winners

    def backward(self, g):
        return (Scatter(self.winners, self.shapes[0][2:])(g),)

    def release(self):
        super().release()
        self.winners = None


class Scatter(Operation):
    def __init__(self, winners, input_size):
        self.winners, self.input_size = winners, input_size

    def forward(self, g):
        return self.kernel(SCATTER, g, self.winners, input_size=self.input_size)

    def backward(self, u):
        return (Gather(self.winners)(u),)


class Gather(Operation):
    def __init__(self, winners):
        self.winners = winners

    def forward(self, x):
        return self.kernel(GATHER, x, self.winners)

    def backward(self, g):
        return (Scatter(self.winners, self.shapes[0][2:])(g),)


def max_pool2d(x: Tensor, kernel_size, stride=None, padding=0, dilation=1, ceil_mode: bool = False) -> Tensor:
    """The largest cell of each window; the first one wins a tie.

    Parameters
    ----------
    x : Tensor (N, C, H, W)
    kernel_size, stride, dilation : int or (vertical, horizontal)
        A stride of None is the kernel_size.
    padding : as in `conv2d`
        Padded cells never win.
    ceil_mode : bool
        Round the number of positions up; a window that would start in the padding is dropped.

    Returns
    -------
    Tensor (N, C, P, Q)

    Raises
    ------
    ShapeError
        If a window does not fit, or holds nothing but padding.
    """
    require_tensor("max_pool2d", x)
    call = PoolCall.of(
        x.shape,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=require_flag("max_pool2d: ceil_mode", ceil_mode, error=ShapeError),
    )
    return MaxPool2d(call)(x)
