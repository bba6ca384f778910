"""Max-pooling. Its gradient scatters to the winners' cells; scatter and gather are each other's gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex.autograd import Operation, is_followed
from minialex.checks import require_flag
from minialex.devices import to_device_array, to_numpy
from minialex.errors import DataError, ShapeError
from minialex.kernels.contract.shapes import require_rank, require_shape
from minialex.kernels.contract.windows import pair
from minialex.kernels.max_pool2d import EVALUATE, FORWARD, GATHER, SCATTER, PoolCall
from minialex.operations.inputs import require_floats
from minialex.reading import require_readable
from minialex.tensor import Tensor


class MaxPool2d(Operation):
    winners: Any

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


class LargestCells(Operation):
    """Max-pooling whose winners nobody will ask for."""

    def __init__(self, call: PoolCall):
        self.call = call

    def forward(self, x):
        return self.kernel(EVALUATE, x, call=self.call)


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


def max_pool2d(
    x: Tensor,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
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
    return_indices : bool
        Whether to give the winners' places in their planes, too: row * W + column.

    Returns
    -------
    Tensor (N, C, P, Q)
        Or a pair of it and the places, an int64 tensor of this shape.

    Raises
    ------
    ShapeError
        If a window does not fit, or holds nothing but padding.
    """
    require_floats("max_pool2d", x)
    call = PoolCall.of(
        x.shape,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=require_flag("max_pool2d: ceil_mode", ceil_mode, error=ShapeError),
    )
    if not require_flag("max_pool2d: return_indices", return_indices, error=ShapeError):
        return (MaxPool2d if is_followed(x) else LargestCells)(call)(x)
    require_readable()
    pooling = MaxPool2d(call)
    y = pooling(x)
    return y, Tensor(pooling.winners.astype(np.int64), device=x.device)


def max_unpool2d(x: Tensor, indices, kernel_size, stride=None, padding=0, output_size=None) -> Tensor:
    """Images of zeros, with each cell of x at the place that `max_pool2d` found it at.

    It is the scatter that max-pooling has for a gradient.

    Parameters
    ----------
    x : Tensor (N, C, P, Q)
    indices : integers (N, C, P, Q)
        Places in a plane, as `max_pool2d` returns them: each once.
    kernel_size, stride, padding : int or (vertical, horizontal)
        Those of the pooling; the size of the images follows from them: (P - 1) stride - 2 padding + kernel.
    output_size : (H, W) or (N, C, H, W), optional
        In place of that.

    Returns
    -------
    Tensor (N, C, H, W)

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DataError
        If an index is no place of a plane, or there twice, as windows that overlap may have it: PyTorch
        leaves open which of the two stays.
    """
    require_floats("max_unpool2d", x)
    require_rank(x.shape, 4, "max_unpool2d input", "(N, C, P, Q)")
    require_readable()
    places = to_numpy(indices.data if isinstance(indices, Tensor) else indices)
    require_shape("max_unpool2d: indices", places.shape, x.shape, "of the input")
    kernel = pair(kernel_size, "max_unpool2d: kernel_size")
    strides = kernel if stride is None else pair(stride, "max_unpool2d: stride")
    paddings = pair(padding, "max_unpool2d: padding", minimum=0)
    size = tuple(
        (p - 1) * s - 2 * before + k
        for p, s, before, k in zip(x.shape[2:], strides, paddings, kernel, strict=True)
    )
    if output_size is not None:
        size = pair(tuple(output_size)[-2:], "max_unpool2d: output_size")
    cells = size[0] * size[1]
    if places.dtype.kind not in "iu":
        raise DataError(f"max_unpool2d: indices must be integers, not {places.dtype}")
    if places.size and not (places.min() >= 0 and places.max() < cells):
        wrong = places[(places < 0) | (places >= cells)][0]
        raise DataError(
            f"max_unpool2d: indices must be from 0 to {cells - 1} for images of {size}, not {wrong}"
        )
    planes = np.sort(places.reshape(-1, x.shape[2] * x.shape[3]), axis=1)
    if (planes[:, 1:] == planes[:, :-1]).any():
        raise DataError(
            "max_unpool2d: indices must be there once in a plane; pool without windows that overlap"
        )
    return Scatter(to_device_array(places.astype(np.int32), x.device), size)(x)
