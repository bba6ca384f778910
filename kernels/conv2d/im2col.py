"""Convolution as one large matrix product: im2col (Chellapilla, Puri and Simard 2006; Caffe).

Windows are laid out as the columns of a matrix, after which convolution is

    forward      y    (O,   P*Q*n)  =  weight (O, C*KH*KW)  @  columns (C*KH*KW, P*Q*n)
    weight_grad  gw   (O, C*KH*KW) +=  g      (O, P*Q*n)    @  columns.T
    input_grad   gcol (C*KH*KW, P*Q*n)  =  weight.T @ g,  added back onto the image (col2im)

The matrix is KH*KW times the size of the image, so it is built in chunks of n images, or of some output rows
of one image, within the budget of `minialex.kernels.contract.workspace`.

Inside a chunk the image index comes last, (C, H, W, n), the layout of cuda-convnet, the program that
trained AlexNet. At stride 1 a row of the matrix then consists of runs of Q*n adjacent numbers, and
copying runs is all that im2col does; with the images first, the runs would be Q numbers long, 13 in
most of AlexNet.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minialex.integers import ceil_div
from minialex.kernels.contract.registry import kernel
from minialex.kernels.contract.workspace import workspace_limit
from minialex.kernels.conv2d import FORWARD, INPUT_GRAD, WEIGHT_GRAD
from minialex.kernels.conv2d.call import ConvCall
from minialex.kernels.runtime import memory


def _row_bytes(call: ConvCall) -> int:
    """Bytes of the matrix for one row of output positions of one image: (taps, Q)."""
    return call.taps * call.positions[1] * call.dtype.itemsize


def workspace(*arrays, call: ConvCall) -> int:
    """The bytes of one chunk's matrix."""
    row = _row_bytes(call)
    return min(call.images * call.positions[0] * row, max(row, workspace_limit()))


def _chunks(call: ConvCall) -> Iterator[tuple[slice, _Strip]]:
    """Cut the work into images and strips of them whose matrix fits the workspace limit."""
    images, rows = call.images, call.positions[0]
    fitting_rows = max(1, workspace_limit() // max(1, _row_bytes(call)))
    if fitting_rows >= rows:
        # Equal chunks: a small remainder would run at the speed of a small matrix product.
        pieces = ceil_div(images, fitting_rows // rows)
        size = ceil_div(images, pieces) if pieces else 1
        strip = _strip(call, 0, rows)
        for start in range(0, images, size):
            yield slice(start, min(start + size, images)), strip
    else:
        for image in range(images):
            for start in range(0, rows, fitting_rows):
                yield slice(image, image + 1), _strip(call, start, min(start + fitting_rows, rows))


class _Strip:
    """The part of a padded image that some output rows read, in the layout (C/G, H, W, n)."""

    def __init__(self, call: ConvCall, rows: slice):
        self.call, self.rows = call, rows
        vertical, horizontal = call.window
        left, width, height = horizontal.before, horizontal.size, vertical.size
        first = rows.start * vertical.stride - vertical.before
        last = (rows.stop - 1) * vertical.stride - vertical.before + (vertical.kernel - 1) * vertical.dilation
        strip_width = (
            (horizontal.positions - 1) * horizontal.stride + (horizontal.kernel - 1) * horizontal.dilation + 1
        )
        self.shape = (call.group_channels, last - first + 1, strip_width)
        self.window = (*call.kernel_size, rows.stop - rows.start, horizontal.positions)
        # Where the image lies in the strip, and which of its rows and columns those are.
        self.inner_rows = slice(max(0, -first), min(height, last + 1) - first)
        self.image_rows = slice(max(0, first), min(height, last + 1))
        self.inner_columns = slice(left, min(left + width, strip_width))
        self.image_columns = slice(0, min(width, strip_width - left))
        self.is_empty = (
            self.inner_rows.stop <= self.inner_rows.start
            or self.inner_columns.stop <= self.inner_columns.start
        )

    def cut(self, x: np.ndarray) -> np.ndarray:
        """Copy the strip out of x (n, C, H, W), with zeros for the padding."""
        strip = memory.zeros((*self.shape, len(x)), x.dtype)
        if not self.is_empty:
            strip[:, self.inner_rows, self.inner_columns] = x[
                :, :, self.image_rows, self.image_columns
            ].transpose(1, 2, 3, 0)
        return strip

    def add_to(self, gx: np.ndarray, strip: np.ndarray) -> None:
        """Add a strip's gradient to that of the image, gx (n, C, H, W)."""
        if not self.is_empty:
            gx[:, :, self.image_rows, self.image_columns] += strip[
                :, self.inner_rows, self.inner_columns
            ].transpose(3, 0, 1, 2)

    def windows(self, strip: np.ndarray) -> np.ndarray:
        """View the strip as (C, KH, KW, P, Q, n): tap (i, j) of the window at (p, q)."""
        channel, row, column, image = strip.strides
        return as_strided(
            strip,
            (self.shape[0], *self.window, strip.shape[-1]),
            (
                channel,
                row * self.call.dilation[0],
                column * self.call.dilation[1],
                row * self.call.stride[0],
                column * self.call.stride[1],
                image,
            ),
        )

    def columns(self, strip: np.ndarray) -> np.ndarray:
        """im2col: the matrix (C*KH*KW, P*Q*n)."""
        kernel_height, kernel_width, rows, columns = self.window
        taps = self.shape[0] * kernel_height * kernel_width
        return self.windows(strip).reshape(taps, rows * columns * strip.shape[-1])

    def add_columns(self, strip: np.ndarray, matrix: np.ndarray) -> None:
        """col2im: add the matrix (C*KH*KW, P*Q*n) back onto the cells it was taken from."""
        windows = self.windows(strip)
        matrix = matrix.reshape(windows.shape)
        # One tap at a time: within a tap no cell occurs twice, but taps overlap.
        for i, j in np.ndindex(*self.window[:2]):
            windows[:, i, j] += matrix[:, i, j]


@functools.lru_cache(maxsize=1024)
def _strip(call: ConvCall, start: int, stop: int) -> _Strip:
    """The strip of output rows `start` to `stop`; cached, because the next step asks for the same."""
    return _Strip(call, slice(start, stop))


def _images_last(y: np.ndarray) -> np.ndarray:
    """Copy (n, O, P, Q) to (O, P*Q*n)."""
    n, outputs, rows, columns = y.shape
    return y.transpose(1, 2, 3, 0).reshape(outputs, rows * columns * n)


def _group(array: np.ndarray, index: int, call: ConvCall) -> np.ndarray:
    """The channels of one group: the part (n, C/G, H, W) of (n, C, H, W)."""
    size = array.shape[1] // call.groups
    return array[:, index * size : (index + 1) * size]


def _weight_matrices(weight: np.ndarray, call: ConvCall) -> np.ndarray:
    """The weights of each group as a matrix: (G, O/G, C/G*KH*KW)."""
    return weight.reshape(call.groups, call.group_outputs, call.taps)


@kernel(FORWARD, algo="im2col", rank=10, workspace=workspace)
def conv2d_forward(x, weight, bias, *, call):
    y = memory.empty(call.y_shape, x.dtype)  # (N, O, P, Q)
    matrix_weight = _weight_matrices(weight, call)
    for images, strip in _chunks(call):
        for group in range(call.groups):
            matrix = strip.columns(strip.cut(_group(x[images], group, call)))
            part = (matrix_weight[group] @ matrix).reshape(
                call.group_outputs, *strip.window[2:], images.stop - images.start
            )  # (O/G, P, Q, n)
            _group(y[images], group, call)[:, :, strip.rows] = part.transpose(3, 0, 1, 2)
            # Else these would still be held while the next chunk's are made.
            del matrix, part
    if bias is not None:
        y += bias.reshape(-1, 1, 1)
    return y


@kernel(INPUT_GRAD, algo="im2col", rank=10, workspace=workspace)
def conv2d_input_grad(g, weight, *, call):
    gx = memory.zeros(call.x_shape, g.dtype)  # (N, C, H, W)
    matrix_weight = _weight_matrices(weight, call)
    for images, strip in _chunks(call):
        for group in range(call.groups):
            g_matrix = _images_last(_group(g[images], group, call)[:, :, strip.rows])
            padded = memory.zeros((*strip.shape, images.stop - images.start), g.dtype)
            strip.add_columns(padded, matrix_weight[group].T @ g_matrix)
            strip.add_to(_group(gx[images], group, call), padded)
    return gx


@kernel(WEIGHT_GRAD, algo="im2col", rank=10, workspace=workspace)
def conv2d_weight_grad(g, x, *, call):
    gw = memory.zeros((call.groups, call.group_outputs, call.taps), g.dtype)
    for images, strip in _chunks(call):
        for group in range(call.groups):
            matrix = strip.columns(strip.cut(_group(x[images], group, call)))
            g_matrix = _images_last(_group(g[images], group, call)[:, :, strip.rows])
            gw[group] += g_matrix @ matrix.T
            del matrix, g_matrix
    return gw.reshape(call.weight_shape)
